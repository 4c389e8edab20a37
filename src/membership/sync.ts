/**
 * Push-pull: two nodes exchange what they know. A joining node sends its table at once. The periodic exchange
 * first compares digests, so that between nodes that agree it costs one small frame each way; where they
 * differ, only the parts of the tables that differ travel (table-digest.ts). A node that claims a lease shows
 * only its own state.
 */

import { MAX_APPROVERS, MAX_STATEMENTS_PER_APPROVER } from '../admission/statements.ts';
import type { Clock, TimerGroup } from '../clock.ts';
import { prefixesOverlap } from '../ip/prefix.ts';
import type { GossipCounters } from '../link/counters.ts';
import type { KeyRingState } from '../link/key-ring-state.ts';
import type { Peer } from '../link/link.ts';
import type { Cancellable } from '../link/transport.ts';
import type { AdmissionNews } from './admission-news.ts';
import { encodeMessage, type Message, type SyncMode, type SyncRequest, type SyncResponse } from './codec.ts';
import { MAX_MEMBERS, type MemberEntry } from './member-table.ts';
import type { MessageReader, Messenger } from './messenger.ts';
import { type Random, sample } from './random.ts';
import type { Roster, Spread } from './roster.ts';
import { inMask } from './table-digest.ts';
import { type MembershipTiming, pushPullDelayMs } from './timing.ts';
import { MAX_TOMBSTONES } from './tombstones.ts';
import type { LeaseClaim } from './types.ts';

export interface SyncOptions {
  readonly selfId: string;
  readonly link: Messenger;
  readonly roster: Roster;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly random: Random;
  readonly counters: GossipCounters;
  /** What commands have done to the cluster's keys; undefined without keys. */
  readonly keyRing: () => KeyRingState | undefined;
  readonly onKeyRing: (ring: KeyRingState) => void;
  readonly admissionNews: AdmissionNews;
  /** There may be news to tell now. */
  readonly onMerged: () => void;
}

/** Called once: with the id of the node that answered, or with what went wrong. */
export type SyncDone = (result: { readonly peer: string } | { readonly error: Error }) => void;

/** States, tombstones, a key ring and approvers' statements: more messages than this are not read. */
const MAX_MESSAGES = MAX_MEMBERS + MAX_TOMBSTONES + 1 + MAX_APPROVERS * MAX_STATEMENTS_PER_APPROVER;

export class Synchronizer {
  readonly #options: SyncOptions;

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Compares with a random other one, now and then, for as long as the timers run. */
  start(): void {
    const { roster, timers, timing, random, selfId } = this.#options;
    const delayMs = pushPullDelayMs(timing, roster.table.reachable);
    timers.after(delayMs * (0.5 + random()), () => {
      const [other] = sample(
        random,
        roster.table,
        1,
        (entry) => entry.status === 'alive' && entry.id !== selfId,
      );
      if (other) this.compare(other.record, () => {});
      this.start();
    });
  }

  /** Exchanges everything; what a join does. */
  full(to: Peer, done: SyncDone): Cancellable {
    // This node knows no other member yet, so what it learns now need not be broadcast.
    const spread = this.#options.roster.table.reachable <= 1 ? 'quiet' : 'broadcast';
    return this.#request(to, 'full', undefined, spread, (result) => {
      done('error' in result ? result : { peer: result.source });
    });
  }

  /** Exchanges the parts of the tables that differ; the periodic one. */
  compare(to: Peer, done: SyncDone): Cancellable {
    const { counters, roster } = this.#options;
    let second: Cancellable | undefined;
    const first = this.#request(to, 'compare', undefined, 'broadcast', (result) => {
      if ('error' in result) done(result);
      else if (result.same || !result.bucketDigests) {
        counters.add('pushPullsSame');
        done({ peer: result.source });
      } else {
        const mask = roster.table.digest.differing(result.bucketDigests);
        second = this.#request(to, 'buckets', mask, 'broadcast', (answer) => {
          done('error' in answer ? answer : { peer: answer.source });
        });
      }
    });
    return {
      cancel: () => {
        first.cancel();
        second?.cancel();
      },
    };
  }

  /**
   * Shows this node's own state, with the lease it claims, and learns whose lease overlaps it. Of two nodes
   * that claim the same and ask the same third, the second to ask always hears of the first.
   */
  claim(to: Peer, done: SyncDone): Cancellable {
    return this.#request(to, 'claim', undefined, 'broadcast', (result) => {
      done('error' in result ? result : { peer: result.source });
    });
  }

  /** The receiving side of a push-pull whose first message was `request`. */
  serve(request: SyncRequest): MessageReader {
    const { roster, selfId } = this.#options;
    const { high, low } = roster.table.digest.total;
    const isCompare = request.mode === 'compare';
    const same = isCompare && request.digest.high === high && request.digest.low === low;
    let messages = 0;
    return {
      message: (message) => {
        if (++messages <= MAX_MESSAGES) this.#merge(message, 'broadcast');
      },
      end: () => {
        this.#options.onMerged();
        const bucketDigests = isCompare && !same ? roster.table.digest.parts() : undefined;
        const answer = encodeMessage({ kind: 'syncResponse', source: selfId, same, bucketDigests });
        return isCompare ? [answer] : [answer, ...this.#answer(request)];
      },
    };
  }

  #request(
    to: Peer,
    mode: SyncMode,
    buckets: Uint8Array | undefined,
    spread: Spread,
    done: (result: SyncResponse | { readonly error: Error }) => void,
  ): Cancellable {
    const { link, roster, selfId, counters } = this.#options;
    counters.add('pushPulls');
    const digest = roster.table.digest.total;
    const request = encodeMessage({ kind: 'syncRequest', source: selfId, digest, mode, buckets });
    let answer: SyncResponse | undefined;
    let messages = 0;
    return link.exchange(
      to,
      [request, ...this.#knowledge(mode, buckets)],
      (message) => {
        if (message.kind === 'syncResponse') answer = message;
        else if (answer && ++messages <= MAX_MESSAGES) this.#merge(message, spread);
      },
      (error) => {
        this.#options.onMerged();
        if (answer && !error) {
          done(answer);
          return;
        }
        counters.add('pushPullsFailed');
        done({ error: error ?? new Error('the answer was no push-pull') });
      },
    );
  }

  #merge(message: Message, spread: Spread): void {
    const { roster, counters, onKeyRing, admissionNews } = this.#options;
    if (message.kind === 'memberState') roster.mergeState(message, spread);
    else if (message.kind === 'forget') roster.forgotten(message);
    else if (message.kind === 'keyRing') onKeyRing(message.ring);
    else if (message.kind === 'admission') admissionNews.merge(message.signed, spread);
    else counters.add('refusedUnexpected');
  }

  #answer(request: SyncRequest): Uint8Array[] {
    if (request.mode !== 'claim') return this.#knowledge(request.mode, request.buckets);
    const { table } = this.#options.roster;
    const lease = table.get(request.source)?.record.lease;
    if (!lease) return [];
    const overlapping: MemberEntry[] = [];
    for (const entry of table) if (leasesOverlap(lease, entry.record.lease)) overlapping.push(entry);
    return overlapping.map((entry) => this.#encode(entry));
  }

  /** What this node knows, as far as the mode has it: tombstones first, for what follows to be judged by. */
  #knowledge(mode: SyncMode, buckets: Uint8Array | undefined): Uint8Array[] {
    const { roster, selfId, keyRing, admissionNews } = this.#options;
    if (mode === 'compare') return [];
    if (mode === 'claim') return [this.#encode(roster.table.get(selfId)!)];
    const isAsked = (id: string) => buckets === undefined || inMask(buckets, id);
    const messages: Uint8Array[] = [];
    const ring = keyRing();
    if (ring) messages.push(encodeMessage({ kind: 'keyRing', ring }));
    // Before the members, so that the lease of one that is revoked is not believed for a moment.
    messages.push(...admissionNews.messages(isAsked));
    for (const { id } of roster.tombstones) {
      if (isAsked(id)) messages.push(encodeMessage(roster.tombstones.message(id)!));
    }
    for (const entry of roster.table) if (isAsked(entry.id)) messages.push(this.#encode(entry));
    return messages;
  }

  #encode(entry: MemberEntry): Uint8Array {
    const ageMs = this.#options.clock.now() - entry.statusSinceMs;
    return encodeMessage({
      kind: 'memberState',
      signed: entry.signed,
      status: entry.memory ? 'remembered' : entry.status,
      // Rounded up: told from node to node, an age must not shrink.
      statusAgeSeconds: Math.max(0, Math.ceil(ageMs / 1000)),
    });
  }
}

function leasesOverlap(a: LeaseClaim, b: LeaseClaim | undefined): boolean {
  return b?.prefixes.some((prefix) => a.prefixes.some((other) => prefixesOverlap(prefix, other))) ?? false;
}
