/**
 * The member table and everything that may change it: records, push-pull states, tombstones, time, and accusations
 * (accusations.ts). All news that changes it is passed on through the broadcast queue and reported
 * to `onChange`.
 */

import { MESSAGE_COUNTER } from '../link/counters.ts';
import { Accusations, type AccusationsOptions } from './accusations.ts';
import { encodeMessage, type Forget, type MemberState } from './codec.ts';
import { entryState, isGone, type MemberEntry } from './entry-store.ts';
import { MAX_MEMBERS, type MemberTable } from './member-table.ts';
import { judgeRemoteStatus, recordIsNews } from './merge-rule.ts';
import { sameSignedRecord } from './record.ts';
import type { RecordReader } from './record-reader.ts';
import { leaseKeptMs, memoryMs, SAME_TIME_MS } from './timing.ts';
import { Tombstones } from './tombstones.ts';
import { TwinQuarantine } from './twins.ts';
import type { Member, MemberStatus, NodeRecord, SignedRecord } from './types.ts';

export interface RosterOptions extends Omit<AccusationsOptions, 'tombstones' | 'change' | 'announceSelf'> {
  readonly records: RecordReader;
  readonly onChange: (member: Member, previous: Member | undefined) => void;
  readonly onRemoved: (member: Member) => void;
  /** A node says something that is void since it was forgotten. */
  readonly onForgotten: (record: NodeRecord) => void;
  /** There is one more to remember. */
  readonly onTombstone: () => void;
  /** This node has been forgotten; it has taken up its next generation, without a lease. */
  readonly onSelfForgotten: () => void;
  /** Another agent, alive at the same time, uses this node's key. */
  readonly onTwin: (record: NodeRecord) => void;
}

/** How a record came: `quiet` ones are not passed on, since everyone but this node knows them. */
export type Spread = 'broadcast' | 'quiet';

export class Roster {
  readonly #options: RosterOptions;
  readonly table: MemberTable;
  readonly tombstones: Tombstones;
  readonly accusations: Accusations;
  readonly twins: TwinQuarantine;
  /** While a record is merged: the member that sent it, where that is known. */
  #teller: string | undefined;

  constructor(options: RosterOptions) {
    this.#options = options;
    this.table = options.table;
    const { self, clock, timing } = options;
    this.tombstones = new Tombstones(this.table.digest, clock, memoryMs(timing));
    this.twins = new TwinQuarantine(options);
    this.accusations = new Accusations({
      ...options,
      tombstones: this.tombstones,
      change: (id, change) => this.#update(id, change),
      announceSelf: () => this.announceSelf(),
    });
    if (this.table.get(self.id)) {
      this.table.change(self.id, { record: self.record, signed: self.signed });
      return;
    }
    this.table.add({
      id: self.id,
      record: self.record,
      signed: self.signed,
      status: 'alive',
      statusSinceMs: clock.now(),
      suspicion: undefined,
      memory: undefined,
    });
  }

  /** What this node knew of a member `ageMs` ago, before it started. */
  restore(received: SignedRecord, ageMs: number): void {
    const { self, records, timing } = this.#options;
    const { decoded, signed } = records.read(received);
    if (!decoded.ok || !records.verify(signed) || ageMs >= memoryMs(timing)) return;
    const { id, generation, left } = decoded.value;
    const isKnown =
      id === self.id || this.table.get(id) !== undefined || this.tombstones.voids(id, generation);
    if (isKnown || this.table.length >= MAX_MEMBERS) return;
    this.#add(decoded.value, signed, left ? 'left' : 'dead', ageMs, 'restored');
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
      mtu: record.mtu,
      inventory: record.inventory,
      ...(record.postQuantum && { postQuantum: record.postQuantum }),
      ...(record.policyHash !== undefined && { policyHash: record.policyHash }),
      session: record.session,
      statusAgeMs: Math.max(0, this.#options.clock.now() - entry.statusSinceMs),
    };
  }

  /** Puts this node's own, renewed record into the table and tells everyone. */
  announceSelf(): void {
    const { self } = this.#options;
    const status = self.left ? 'left' : 'alive';
    this.#broadcastRecord(this.#update(self.id, { record: self.record, signed: self.signed, status }));
  }

  /** During `onChange`: the member that told of the change, where that is known. */
  get teller(): string | undefined {
    return this.#teller;
  }

  /** Takes over a record if it is news. `teller`: the member that sent it. */
  mergeRecord(signed: SignedRecord, spread: Spread, teller?: string): void {
    this.#teller = teller;
    try {
      const news = this.#merge(signed, { status: 'alive', ageMs: 0 });
      if (news?.isTaken && spread === 'broadcast') this.#broadcastRecord(news.entry);
    } finally {
      this.#teller = undefined;
    }
  }

  /**
   * What is known of the member that says this of itself, where that is not older and of another run: its run before, or
   * another agent with its key. It is to hear of it at once, and not when it next exchanges tables.
   */
  newerRun(received: SignedRecord, senderSession: string): SignedRecord | undefined {
    const { decoded } = this.#options.records.read(received);
    if (!decoded.ok || decoded.value.session !== senderSession) return undefined;
    const entry = this.table.get(decoded.value.id);
    const isOther = entry && entry.id !== this.#options.self.id && entry.record.session !== senderSession;
    return isOther && entry.record.incarnation >= decoded.value.incarnation ? entry.signed : undefined;
  }

  /** One member of another node's table. */
  mergeState(state: MemberState, spread: Spread): void {
    const { self, timing, clock } = this.#options;
    const isThere = state.status === 'alive' || state.status === 'suspect';
    const ageMs = isThere ? 0 : state.statusAgeSeconds * 1000;
    // Long gone: the other node is about to forget it.
    if (ageMs >= memoryMs(timing) && !this.#isKnown(state.signed)) return;
    const news = this.#merge(state.signed, { status: isThere ? 'alive' : 'dead', ageMs });
    if (!news?.isSame) return;
    const { entry } = news;
    // A joining node learns of dead members because of their leases; that is not passed on.
    if (news.isTaken && spread === 'broadcast' && isThere) this.#broadcastRecord(entry);
    if (!news.isTaken && !isThere) this.#goneSince(entry, clock.now() - ageMs);
    if (judgeRemoteStatus(state.status) === 'suspect') {
      this.accusations.suspect({
        kind: 'suspect',
        member: entry.id,
        incarnation: entry.record.incarnation,
        from: self.id,
      });
    }
  }

  /**
   * Another node has missed this one for less time than we have: we were cut off from it before it was gone. Its
   * lease is kept from then on.
   */
  #goneSince(entry: MemberEntry, sinceMs: number): void {
    const { timing, clock } = this.#options;
    if (!isGone(entry.status) || sinceMs - entry.statusSinceMs < SAME_TIME_MS) return;
    const isShown = entry.memory !== 'expired';
    const isKept = clock.now() - sinceMs < leaseKeptMs(timing);
    this.table.change(entry.id, {
      statusSinceMs: sinceMs,
      ...(!isShown && isKept ? { memory: 'restored' as const } : {}),
    });
    if (!isShown && isKept) this.#options.onChange(this.member(this.table.get(entry.id)!), undefined);
  }

  /** A tombstone: what its node has said so far is void. True if that is news. */
  forgotten(forget: Forget): boolean {
    const { self, broadcasts } = this.#options;
    const { member: id, generation, ageSeconds } = forget;
    if (id === self.id) {
      if (generation < self.record.generation) return false;
      self.forgotten(generation);
      self.renew();
      this.announceSelf();
      this.#options.onSelfForgotten();
      return true;
    }
    const entry = this.table.get(id);
    // A tombstone cannot void a record that a living node has yet to send; a dead one may have sent it to others.
    if (entry && !isGone(entry.status) && generation > entry.record.generation) return false;
    if (!this.tombstones.add(id, generation, ageSeconds * 1000)) return false;
    if (entry && entry.record.generation <= generation) {
      this.#remove(entry);
      // Forgotten on the other side of a partition, and here all the time: the sooner it knows, the better.
      if (entry.status === 'alive' || entry.status === 'suspect') this.#options.onForgotten(entry.record);
    }
    broadcasts.put(id, encodeMessage(this.tombstones.message(id)!));
    this.#options.onTombstone();
    return true;
  }

  /** Shows those no more whose leases have run out, and later forgets them. */
  reap(): void {
    const { clock, timing, self, broadcasts, onRemoved } = this.#options;
    this.tombstones.reap();
    if (this.table.reachable === this.table.length) return;
    for (const entry of [...this.table]) {
      const ageMs = clock.now() - entry.statusSinceMs;
      if (!isGone(entry.status) || entry.id === self.id || ageMs < leaseKeptMs(timing)) continue;
      if (ageMs >= memoryMs(timing)) this.#remove(entry);
      else if (entry.memory !== 'expired') {
        broadcasts.remove(entry.id);
        this.table.change(entry.id, { memory: 'expired' });
        onRemoved(this.member(entry));
      }
    }
  }

  /**
   * A record of this very node. A higher incarnation, or other content under the same one, is left from an
   * earlier run whose state was lost in part: go above it. While running it can only be another agent.
   */
  #hearOfSelf(record: NodeRecord, signed: SignedRecord): void {
    const { self, records, counters } = this.#options;
    if (record.incarnation < self.record.incarnation) return;
    if (record.incarnation === self.record.incarnation && sameSignedRecord(signed, self.signed)) return;
    if (!records.verify(signed)) {
      counters.add('refusedSignature');
      return;
    }
    this.#options.onTwin(record);
    self.renew(record.incarnation);
    this.announceSelf();
  }

  #isKnown(signed: SignedRecord): boolean {
    const { decoded } = this.#options.records.read(signed);
    return decoded.ok && this.table.get(decoded.value.id) !== undefined;
  }

  /** What is known of the record's node afterwards; undefined where the record was refused. */
  #merge(
    received: SignedRecord,
    ifUnknown: { readonly status: MemberStatus; readonly ageMs: number },
  ): Merged | undefined {
    const { self, counters, records } = this.#options;
    const { decoded, signed } = records.read(received);
    if (!decoded.ok) {
      counters.add(MESSAGE_COUNTER[decoded.reason]);
      return undefined;
    }
    const record = decoded.value;
    const entry = this.table.get(record.id);
    if (record.id === self.id) {
      this.#hearOfSelf(record, signed);
      return {
        entry: this.table.get(self.id)!,
        isTaken: false,
        isSame: record.incarnation === self.record.incarnation,
      };
    }
    if (entry && !recordIsNews(entryState(entry), record.incarnation)) {
      const isSame = entry.record.incarnation === record.incarnation;
      if (!isSame || !entry.memory || ifUnknown.status !== 'alive' || entry.record.left) {
        return { entry, isTaken: false, isSame };
      }
      return { entry: this.#update(entry.id, { status: 'alive' }), isTaken: true, isSame };
    }
    if (!entry && this.table.length >= MAX_MEMBERS && !this.#makeRoom()) {
      counters.add('refusedFull');
      return undefined;
    }
    if (!records.verify(signed)) {
      counters.add('refusedSignature');
      return undefined;
    }
    if (this.tombstones.voids(record.id, record.generation)) {
      counters.add('refusedForgotten');
      // Only one that is there can say it for itself.
      if (ifUnknown.status === 'alive') this.#options.onForgotten(record);
      return undefined;
    }
    if (entry && !this.twins.admits(entry.record, record, isGone(entry.status))) {
      counters.add('refusedTwin');
      return undefined;
    }
    if (entry) {
      const status = record.left ? 'left' : 'alive';
      return { entry: this.#update(entry.id, { record, signed, status }), isTaken: true, isSame: true };
    }
    const added = this.#add(record, signed, record.left ? 'left' : ifUnknown.status, ifUnknown.ageMs);
    if (added.memory !== 'expired') this.#options.onChange(this.member(added), undefined);
    return { entry: added, isTaken: true, isSame: true };
  }

  #add(
    record: NodeRecord,
    signed: SignedRecord,
    status: MemberStatus,
    ageMs: number,
    memory?: 'restored',
  ): MemberEntry {
    const { clock, timing } = this.#options;
    const entry: MemberEntry = {
      id: record.id,
      record,
      signed,
      status,
      statusSinceMs: clock.now() - ageMs,
      suspicion: undefined,
      memory: isGone(status) && ageMs >= leaseKeptMs(timing) ? 'expired' : memory,
    };
    this.table.add(entry);
    return entry;
  }

  /** A newcomer counts more than a node that is long gone. */
  #makeRoom(): boolean {
    let oldest: MemberEntry | undefined;
    for (const entry of this.table) {
      const isOlder = !oldest || entry.statusSinceMs < oldest.statusSinceMs;
      if (entry.memory === 'expired' && isOlder) oldest = entry;
    }
    if (oldest) this.#remove(oldest);
    return oldest !== undefined;
  }

  #update(id: string, change: Partial<Omit<MemberEntry, 'id'>>): MemberEntry {
    const before = this.table.get(id)!;
    const status = change.status ?? before.status;
    const isSuspect = status === 'suspect';
    if (!isSuspect) before.suspicion?.cancel();
    // What is not shown is new to everyone when it is there again.
    const previous = before.memory === 'expired' ? undefined : this.member(before);
    const isSame = status === before.status && before.memory === undefined;
    const entry = this.table.change(id, {
      statusSinceMs: isSame ? before.statusSinceMs : this.#options.clock.now(),
      ...(isSuspect ? {} : { suspicion: undefined }),
      memory: undefined,
      ...change,
    });
    this.#options.onChange(this.member(entry), previous);
    return entry;
  }

  #remove(entry: MemberEntry): void {
    entry.suspicion?.cancel();
    this.table.remove(entry.id);
    this.#options.broadcasts.remove(entry.id);
    if (entry.memory !== 'expired') this.#options.onRemoved(this.member(entry));
  }

  #broadcastRecord(entry: MemberEntry): void {
    this.#options.broadcasts.put(entry.id, encodeMessage({ kind: 'record', signed: entry.signed }), entry.id);
  }
}

interface Merged {
  readonly entry: MemberEntry;
  /** The record was news and has been taken over. */
  readonly isTaken: boolean;
  /** What is known is what the record says. */
  readonly isSame: boolean;
}
