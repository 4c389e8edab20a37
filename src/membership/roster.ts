/**
 * The member table and everything that may change it: records, accusations, push-pull states, time. All news
 * that changes it is passed on through the broadcast queue and reported to `onChange`.
 */
import type { Logger } from '../log/logger.ts';
import type { Awareness } from './awareness.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import type { Clock, TimerGroup } from './clock.ts';
import { type Accusation, encodeMessage, type MemberState } from './codec.ts';
import { type GossipCounters, MESSAGE_COUNTER } from './counters.ts';
import { MAX_MEMBERS, type MemberEntry, type MemberTable } from './member-table.ts';
import { deathIsNews, judgeRemoteStatus, judgeSuspect, recordIsNews } from './merge-rule.ts';
import { decodeRecord, sameSignedRecord } from './record.ts';
import type { SelfRecord } from './self.ts';
import { Suspicion, suspicionBounds } from './suspicion.ts';
import type { MembershipTiming } from './timing.ts';
import type { Member, MemberStatus, NodeRecord, SignedRecord } from './types.ts';

export interface RosterOptions {
  readonly self: SelfRecord;
  readonly table: MemberTable;
  readonly broadcasts: BroadcastQueue;
  readonly awareness: Awareness;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly counters: GossipCounters;
  readonly logger: Logger;
  /** Ed25519; a simulator may remember what it has verified. */
  readonly verify: (record: NodeRecord, signed: SignedRecord) => boolean;
  readonly onChange: (member: Member, previous: Member | undefined) => void;
  readonly onRemoved: (member: Member) => void;
  /** That node believes something out of date about this one. */
  readonly onStale: (accuserId: string) => void;
  /** Another agent, alive at the same time, uses this node's key. */
  readonly onTwin: (record: NodeRecord) => void;
}

/** How a record came: `quiet` ones are not passed on, since everyone but this node knows them. */
export type Spread = 'broadcast' | 'quiet';

export class Roster {
  readonly #options: RosterOptions;
  readonly table: MemberTable;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.table = options.table;
    const { self, clock } = options;
    this.table.add({
      id: self.id,
      record: self.record,
      signed: self.signed,
      status: 'alive',
      statusSinceMs: clock.now(),
      suspicion: undefined,
    });
  }

  member(entry: MemberEntry): Member {
    const { record } = entry;
    return {
      id: entry.id,
      name: record.name,
      status: entry.status,
      incarnation: record.incarnation,
      gossip: record.gossip,
      vtep: record.vtep,
      encapsulation: record.encapsulation,
      lease: record.lease,
      statusAgeMs: Math.max(0, this.#options.clock.now() - entry.statusSinceMs),
    };
  }

  /** Puts this node's own, renewed record into the table and tells everyone. */
  announceSelf(): void {
    const { self } = this.#options;
    const entry = this.table.get(self.id)!;
    this.#update(entry, {
      record: self.record,
      signed: self.signed,
      status: self.left ? 'left' : 'alive',
    });
    this.#broadcastRecord(entry);
  }

  /** Takes over a record if it is news. */
  mergeRecord(signed: SignedRecord, spread: Spread): void {
    const record = this.#decode(signed);
    if (!record) return;
    const entry = this.#merge(record, signed, { status: 'alive', ageMs: 0 });
    // The very object: it was taken over just now.
    if (entry?.signed === signed && spread === 'broadcast') this.#broadcastRecord(entry);
  }

  /** One member of another node's table. */
  mergeState(state: MemberState, spread: Spread): void {
    const { self, timing } = this.#options;
    const record = this.#decode(state.signed);
    if (!record) return;
    const isGone = state.status === 'dead' || state.status === 'left';
    const ageMs = isGone ? state.statusAgeSeconds * 1000 : 0;
    const isKnown = this.table.get(record.id) !== undefined;
    // Long gone: the other node is about to forget it.
    if (!isKnown && ageMs >= timing.deadRetentionMs) return;
    const entry = this.#merge(record, state.signed, { status: isGone ? 'dead' : 'alive', ageMs });
    if (entry?.record.incarnation !== record.incarnation) return;
    // A newcomer learns of the dead, for their leases; nobody else needs to hear of it.
    if (entry.signed === state.signed && spread === 'broadcast' && !isGone) this.#broadcastRecord(entry);
    if (judgeRemoteStatus(state.status) === 'suspect') {
      this.suspect({
        kind: 'suspect',
        member: entry.id,
        incarnation: record.incarnation,
        from: self.id,
      });
    }
  }

  suspect(accusation: Accusation): void {
    const { self, clock, timers, timing, counters, logger } = this.#options;
    const entry = this.table.get(accusation.member);
    if (!entry) return;
    if (entry.id === self.id) {
      this.#refute(accusation);
      return;
    }
    const verdict = judgeSuspect(knownState(entry), accusation.incarnation);
    if (verdict === 'confirm' && entry.suspicion?.confirm(accusation.from)) this.#broadcast(accusation);
    if (verdict !== 'suspect') return;
    counters.add('suspicions');
    logger.debug({ node: entry.record.name, from: this.#nameOf(accusation.from) }, 'node is suspect');
    const bounds = suspicionBounds(timing, this.table.reachable);
    const suspicion = new Suspicion(accusation.from, bounds, clock, timers, () =>
      this.declareDead({ ...accusation, kind: 'dead', from: self.id }),
    );
    this.#update(entry, { status: 'suspect', suspicion });
    this.#broadcast(accusation);
  }

  declareDead(accusation: Accusation): void {
    const { self, counters, logger } = this.#options;
    const entry = this.table.get(accusation.member);
    if (!entry) return;
    if (entry.id === self.id) {
      this.#refute(accusation);
      return;
    }
    if (!deathIsNews(knownState(entry), accusation.incarnation)) return;
    counters.add('deaths');
    logger.warn({ node: entry.record.name, from: this.#nameOf(accusation.from) }, 'node is dead');
    this.#update(entry, { status: 'dead' });
    this.#broadcast(accusation);
  }

  /** Forgets those who have been dead or gone for longer than they are remembered. */
  reap(): void {
    const { clock, timing, broadcasts } = this.#options;
    const before = clock.now() - timing.deadRetentionMs;
    for (const entry of [...this.table.order]) {
      if ((entry.status === 'dead' || entry.status === 'left') && entry.statusSinceMs <= before) {
        if (entry.id === this.#options.self.id) continue;
        this.table.remove(entry);
        broadcasts.remove(entry.id);
        this.#options.onRemoved(this.member(entry));
      }
    }
  }

  /** The message that tells a member what is wrongly believed of it, if anything. */
  accusationOf(entry: MemberEntry): Uint8Array | undefined {
    if (entry.status !== 'suspect' && entry.status !== 'dead') return undefined;
    return encodeMessage({
      kind: entry.status,
      member: entry.id,
      incarnation: entry.record.incarnation,
      from: this.#options.self.id,
    });
  }

  /**
   * A record of this very node. A higher incarnation, or other content under the same one, is left from an
   * earlier run whose state was lost in part: go above it. While running it can only be another agent.
   */
  #hearOfSelf(record: NodeRecord, signed: SignedRecord): void {
    const { self, verify, counters } = this.#options;
    if (record.incarnation < self.record.incarnation) return;
    if (record.incarnation === self.record.incarnation && sameSignedRecord(signed, self.signed)) return;
    if (!verify(record, signed)) {
      counters.add('refusedSignature');
      return;
    }
    this.#options.onTwin(record);
    self.renew(record.incarnation);
    this.announceSelf();
  }

  #refute(accusation: Accusation): void {
    const { self, awareness, counters, logger } = this.#options;
    if (accusation.incarnation < self.record.incarnation) this.#options.onStale(accusation.from);
    if (self.left || accusation.incarnation !== self.record.incarnation) return;
    counters.add('refutations');
    awareness.add(1);
    logger.debug(
      { from: this.#nameOf(accusation.from), claim: accusation.kind },
      'refuting what is said of this node',
    );
    self.renew();
    this.announceSelf();
  }

  #decode(signed: SignedRecord): NodeRecord | undefined {
    const decoded = decodeRecord(signed.bytes);
    if (decoded.ok) return decoded.value;
    this.#options.counters.add(MESSAGE_COUNTER[decoded.reason]);
    return undefined;
  }

  /** The entry of the record's node afterwards; undefined where the record was refused. */
  #merge(
    record: NodeRecord,
    signed: SignedRecord,
    ifUnknown: { readonly status: MemberStatus; readonly ageMs: number },
  ): MemberEntry | undefined {
    const { self, counters, verify, clock } = this.#options;
    const entry = this.table.get(record.id);
    if (record.id === self.id) {
      this.#hearOfSelf(record, signed);
      return entry;
    }
    if (!recordIsNews(entry && knownState(entry), record.incarnation)) return entry;
    if (!entry && this.table.size >= MAX_MEMBERS) {
      counters.add('refusedFull');
      return undefined;
    }
    if (!verify(record, signed)) {
      counters.add('refusedSignature');
      return undefined;
    }
    if (entry) {
      this.#update(entry, { record, signed, status: record.left ? 'left' : 'alive' });
      return entry;
    }
    const added: MemberEntry = {
      id: record.id,
      record,
      signed,
      status: record.left ? 'left' : ifUnknown.status,
      statusSinceMs: clock.now() - ifUnknown.ageMs,
      suspicion: undefined,
    };
    this.table.add(added);
    this.#options.onChange(this.member(added), undefined);
    return added;
  }

  #update(entry: MemberEntry, change: Partial<Omit<MemberEntry, 'id'>>): void {
    const previous = this.member(entry);
    const status = change.status ?? entry.status;
    if (status !== 'suspect') {
      entry.suspicion?.cancel();
      entry.suspicion = undefined;
    }
    const statusSinceMs = status === entry.status ? entry.statusSinceMs : this.#options.clock.now();
    this.table.change(entry, { statusSinceMs, ...change });
    this.#options.onChange(this.member(entry), previous);
  }

  #broadcastRecord(entry: MemberEntry): void {
    this.#options.broadcasts.put(entry.id, encodeMessage({ kind: 'record', signed: entry.signed }), entry.id);
  }

  #broadcast(accusation: Accusation): void {
    this.#options.broadcasts.put(accusation.member, encodeMessage(accusation));
  }

  #nameOf(id: string): string {
    return this.table.get(id)?.record.name ?? id;
  }
}

function knownState(entry: MemberEntry) {
  return { incarnation: entry.record.incarnation, status: entry.status };
}
