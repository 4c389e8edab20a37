/**
 * Accusations: that a member is suspect or dead, and this node's refutation when it is accused itself. A suspect has
 * time to refute, and is told that it is suspected before it is declared dead.
 */

import type { Clock, TimerGroup } from '../clock.ts';
import type { GossipCounters } from '../link/counters.ts';
import type { Logger } from '../log/logger.ts';
import type { Awareness } from './awareness.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import { type Accusation, encodeMessage } from './codec.ts';
import { entryState, isGone, type MemberEntry } from './entry-store.ts';
import type { MemberTable } from './member-table.ts';
import { deathIsNews, judgeSuspect } from './merge-rule.ts';
import type { SelfRecord } from './self.ts';
import { Suspicion, suspicionBounds } from './suspicion.ts';
import type { MembershipTiming } from './timing.ts';
import type { Tombstones } from './tombstones.ts';

export interface AccusationsOptions {
  readonly self: SelfRecord;
  readonly table: MemberTable;
  readonly broadcasts: BroadcastQueue;
  readonly awareness: Awareness;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly counters: GossipCounters;
  readonly logger: Logger;
  /** That node has an outdated record of this one. */
  readonly onStale: (accuserId: string) => void;
  /** A suspect is about to be declared dead. */
  readonly onLastCall: (entry: MemberEntry) => void;
  readonly tombstones: Tombstones;
  /** Changes a member of the table, and reports it. */
  readonly change: (id: string, change: Pick<Partial<MemberEntry>, 'status' | 'suspicion'>) => void;
  /** Tells everyone this node's renewed record. */
  readonly announceSelf: () => void;
}

/** How often a suspect is told before it is declared dead. */
const LAST_CALLS = 3;

export class Accusations {
  readonly #options: AccusationsOptions;

  constructor(options: AccusationsOptions) {
    this.#options = options;
  }

  /** Takes note of a suspicion of this node's own or of another's; one of this node itself is refuted. */
  suspect(accusation: Accusation): void {
    const { self, table, clock, timers, timing, counters, logger, change } = this.#options;
    const entry = table.get(accusation.member);
    if (!entry) return;
    if (entry.id === self.id) {
      this.#refute(accusation);
      return;
    }
    const verdict = judgeSuspect(entryState(entry), accusation.incarnation);
    if (verdict === 'confirm' && this.#isWitness(accusation) && entry.suspicion?.confirm(accusation.from)) {
      this.#broadcast(accusation);
    }
    if (verdict !== 'suspect') return;
    counters.add('suspicions');
    logger.debug({ node: entry.record.name, from: this.#nameOf(accusation.from) }, 'node is suspect');
    const bounds = suspicionBounds(timing, table.reachable);
    const suspicion = new Suspicion(accusation.from, bounds, clock, timers, () =>
      this.#lastCall({ ...accusation, kind: 'dead', from: self.id }, LAST_CALLS),
    );
    change(entry.id, { status: 'suspect', suspicion });
    this.#broadcast(accusation);
  }

  /** Only who is there can have seen it, and not the suspect itself. */
  #isWitness({ from, member }: Accusation): boolean {
    const witness = this.#options.table.get(from);
    return witness !== undefined && from !== member && !isGone(witness.status);
  }

  /** The same of a death. */
  declareDead(accusation: Accusation): void {
    const { self, table, counters, logger, change } = this.#options;
    const entry = table.get(accusation.member);
    if (!entry) return;
    if (entry.id === self.id) {
      this.#refute(accusation);
      return;
    }
    if (!deathIsNews(entryState(entry), accusation.incarnation)) return;
    counters.add('deaths');
    logger.warn({ node: entry.record.name, from: this.#nameOf(accusation.from) }, 'node is dead');
    change(entry.id, { status: 'dead' });
    this.#broadcast(accusation);
  }

  /**
   * Before a suspect is declared dead it is told so a last time, and more than once in case that gets lost: its
   * refutation may have passed this node by.
   */
  #lastCall(accusation: Accusation, calls: number): void {
    const { table, timers, timing, onLastCall } = this.#options;
    const entry = table.get(accusation.member);
    if (!entry || !deathIsNews(entryState(entry), accusation.incarnation)) return;
    if (calls === 0 || !timing.tellsSuspects) {
      this.declareDead(accusation);
      return;
    }
    onLastCall(entry);
    timers.after(timing.probeTimeoutMs / 2, () => this.#lastCall(accusation, calls - 1));
  }

  /** The message that tells a node that it is held for suspect or dead here; undefined if it is neither. */
  messageFor(id: string): Uint8Array | undefined {
    const { self, table, tombstones, timing } = this.#options;
    const entry = table.get(id);
    if (!entry) {
      const forget = tombstones.message(id);
      return forget && encodeMessage(forget);
    }
    if (entry.memory || (entry.status !== 'suspect' && entry.status !== 'dead')) return undefined;
    if (!timing.tellsSuspects) return undefined;
    return encodeMessage({
      kind: entry.status,
      member: entry.id,
      incarnation: entry.record.incarnation,
      from: self.id,
    });
  }

  #refute(accusation: Accusation): void {
    const { self, awareness, counters, logger, onStale, announceSelf } = this.#options;
    if (accusation.incarnation < self.record.incarnation) onStale(accusation.from);
    if (self.left || accusation.incarnation !== self.record.incarnation) return;
    counters.add('refutations');
    awareness.add(1);
    logger.debug(
      { from: this.#nameOf(accusation.from), claim: accusation.kind },
      'refuting what is said of this node',
    );
    self.renew();
    announceSelf();
  }

  #broadcast(accusation: Accusation): void {
    this.#options.broadcasts.put(accusation.member, encodeMessage(accusation));
  }

  #nameOf(id: string): string {
    return this.#options.table.get(id)?.record.name ?? id;
  }
}
