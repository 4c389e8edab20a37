/**
 * Where a member table keeps its entries: each has a small number, its slot, for as long as it is there.
 * Entries are never changed in place; a change is a new entry in the same slot, so that tables may share them.
 */

import type { KnownState } from './merge-rule.ts';
import type { Suspicion } from './suspicion.ts';
import type { MemberStatus, NodeRecord, SignedRecord } from './types.ts';

export interface MemberEntry {
  readonly id: string;
  readonly record: NodeRecord;
  readonly signed: SignedRecord;
  readonly status: MemberStatus;
  /** On this node's clock. */
  readonly statusSinceMs: number;
  /** Set while the status is `suspect`. */
  readonly suspicion: Suspicion | undefined;
  /**
   * Set while the entry is only a memory of a node that is gone, kept for its lease. News that the node is there makes
   * it alive at once, and that it is gone is not broadcast.
   */
  readonly memory: Memory | undefined;
}

/**
 * `restored`: from before this node started, and not heard of since (persistence.ts). `expired`: gone for longer
 * than its lease is kept; not shown any more, and remembered for what its lease was (lease/conflict-rule.ts).
 */
export type Memory = 'restored' | 'expired';

export function isGone(status: MemberStatus): boolean {
  return status === 'dead' || status === 'left';
}

/** Whether the rest of the agent sees it. */
export function isShown({ memory }: MemberEntry): boolean {
  return memory !== 'expired';
}

/** What news of the member is judged by. */
export function entryState({ record, status }: MemberEntry): KnownState {
  return { incarnation: record.incarnation, status };
}

export interface EntryStore {
  readonly size: number;
  get(id: string): MemberEntry | undefined;
  /** The entry in a slot that is taken. */
  at(slot: number): MemberEntry;
  slotOf(id: string): number | undefined;
  /** The id of the member whose record names this session (hexadecimal). */
  idOfSession(session: string): string | undefined;
  /** A new member; the slot it has now. */
  add(entry: MemberEntry): number;
  /** Another entry for a member that is there. */
  replace(entry: MemberEntry): void;
  delete(id: string): void;
}

/** Bounded by its user, the member table. */
export class ArrayEntryStore implements EntryStore {
  readonly #slots: (MemberEntry | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #slotOf = new Map<string, number>();
  readonly #sessions = new Map<string, string>();

  get size(): number {
    return this.#slotOf.size;
  }

  get(id: string): MemberEntry | undefined {
    const slot = this.#slotOf.get(id);
    return slot === undefined ? undefined : this.#slots[slot];
  }

  at(slot: number): MemberEntry {
    return this.#slots[slot]!;
  }

  slotOf(id: string): number | undefined {
    return this.#slotOf.get(id);
  }

  idOfSession(session: string): string | undefined {
    return this.#sessions.get(session);
  }

  add(entry: MemberEntry): number {
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[slot] = entry;
    this.#slotOf.set(entry.id, slot);
    this.#sessions.set(entry.record.session, entry.id);
    return slot;
  }

  replace(entry: MemberEntry): void {
    const slot = this.#slotOf.get(entry.id)!;
    const before = this.#slots[slot]!;
    this.#slots[slot] = entry;
    if (before.record.session === entry.record.session) return;
    if (this.#sessions.get(before.record.session) === entry.id) this.#sessions.delete(before.record.session);
    this.#sessions.set(entry.record.session, entry.id);
  }

  delete(id: string): void {
    const slot = this.#slotOf.get(id);
    if (slot === undefined) return;
    const { session } = this.#slots[slot]!.record;
    if (this.#sessions.get(session) === id) this.#sessions.delete(session);
    this.#slots[slot] = undefined;
    this.#slotOf.delete(id);
    this.#free.push(slot);
  }
}
