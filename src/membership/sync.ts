/**
 * Push-pull: two nodes exchange their member tables. A joining node sends its table at once; the periodic
 * exchange first compares digests, so that between nodes that agree it costs one small frame each way; a node
 * that claims a lease shows only its own state.
 */
import type { Endpoint } from '../ip/endpoint.ts';
import { prefixesOverlap } from '../ip/prefix.ts';
import type { Clock } from './clock.ts';
import { encodeMessage, type Message, type SyncMode, type SyncRequest } from './codec.ts';
import type { GossipCounters } from './counters.ts';
import type { Link, StreamReader } from './link.ts';
import { MAX_MEMBERS, type MemberEntry } from './member-table.ts';
import type { Roster, Spread } from './roster.ts';
import type { Exchange } from './transport.ts';
import type { LeaseClaim } from './types.ts';

export interface SyncOptions {
  readonly selfId: string;
  readonly link: Link;
  readonly roster: Roster;
  readonly clock: Clock;
  readonly counters: GossipCounters;
  /** There may be news to tell now. */
  readonly onMerged: () => void;
}

/** Called once: with the id of the node that answered, or with what went wrong. */
export type SyncDone = (result: { readonly peer: string } | { readonly error: Error }) => void;

export class Synchronizer {
  readonly #options: SyncOptions;

  constructor(options: SyncOptions) {
    this.#options = options;
  }

  /** Exchanges everything; what a join does. */
  full(to: Endpoint, done: SyncDone): Exchange {
    // The table of a node that knows only itself is no news to anyone: what it learns now is not passed on.
    const spread = this.#options.roster.table.size <= 1 ? 'quiet' : 'broadcast';
    return this.#request(to, 'full', spread, (result) => {
      done('error' in result ? result : { peer: result.peer });
    });
  }

  /** Exchanges tables if they differ; the periodic one. */
  compare(to: Endpoint, done: SyncDone): Exchange {
    let second: Exchange | undefined;
    const first = this.#request(to, 'compare', 'broadcast', (result) => {
      if ('error' in result || result.same) {
        if (!('error' in result)) this.#options.counters.add('pushPullsSame');
        done(result);
        return;
      }
      // We have its table now; it gets ours, if ours still has something else in it.
      second = this.#request(to, 'push', 'broadcast', done);
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
  claim(to: Endpoint, done: SyncDone): Exchange {
    return this.#request(to, 'claim', 'broadcast', done);
  }

  /** The receiving side of a push-pull whose first message was `request`. */
  serve(request: SyncRequest): StreamReader {
    const { roster, selfId } = this.#options;
    const { high, low } = roster.table.digest;
    const same = request.mode === 'compare' && request.digest.high === high && request.digest.low === low;
    let states = 0;
    return {
      message: (message) => {
        if (++states <= MAX_MEMBERS) this.#merge(message, 'broadcast');
      },
      end: () => {
        this.#options.onMerged();
        const answer = encodeMessage({ kind: 'syncResponse', source: selfId, same });
        return same ? [answer] : [answer, ...this.#answerStates(request)];
      },
    };
  }

  #request(
    to: Endpoint,
    mode: SyncMode,
    spread: Spread,
    done: (result: { readonly peer: string; readonly same: boolean } | { readonly error: Error }) => void,
  ): Exchange {
    const { link, roster, selfId, counters } = this.#options;
    counters.add('pushPulls');
    const request = encodeMessage({
      kind: 'syncRequest',
      source: selfId,
      digest: roster.table.digest,
      mode,
    });
    let answer: { peer: string; same: boolean } | undefined;
    let states = 0;
    return link.exchange(
      to,
      [request, ...this.#requestStates(mode)],
      (message) => {
        if (message.kind === 'syncResponse') answer = { peer: message.source, same: message.same };
        else if (answer && ++states <= MAX_MEMBERS) this.#merge(message, spread);
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
    const { roster, counters } = this.#options;
    if (message.kind === 'memberState') roster.mergeState(message, spread);
    else counters.add('refusedUnexpected');
  }

  #requestStates(mode: SyncMode): Uint8Array[] {
    const { roster, selfId } = this.#options;
    if (mode === 'compare') return [];
    return this.#encode(mode === 'claim' ? [roster.table.get(selfId)!] : roster.table.order);
  }

  #answerStates(request: SyncRequest): Uint8Array[] {
    const { table } = this.#options.roster;
    if (request.mode === 'push') return [];
    if (request.mode !== 'claim') return this.#encode(table.order);
    const lease = table.get(request.source)?.record.lease;
    return this.#encode(lease ? table.order.filter((entry) => leasesOverlap(lease, entry.record.lease)) : []);
  }

  #encode(entries: readonly MemberEntry[]): Uint8Array[] {
    const now = this.#options.clock.now();
    return entries.map((entry) =>
      encodeMessage({
        kind: 'memberState',
        signed: entry.signed,
        status: entry.status,
        statusAgeSeconds: Math.max(0, Math.floor((now - entry.statusSinceMs) / 1000)),
      }),
    );
  }
}

function leasesOverlap(a: LeaseClaim, b: LeaseClaim | undefined): boolean {
  return b?.prefixes.some((prefix) => a.prefixes.some((other) => prefixesOverlap(prefix, other))) ?? false;
}
