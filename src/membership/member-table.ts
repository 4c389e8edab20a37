/** Every member this node knows, itself included, in probing order. Bounded by `MAX_MEMBERS`. */

import { ArrayEntryStore, type EntryStore, isGone, type MemberEntry } from './entry-store.ts';
import { type Random, randomIndex } from './random.ts';
import { TableDigest } from './table-digest.ts';
import type { MemberStatus } from './types.ts';

export type { MemberEntry } from './entry-store.ts';

/** Slots are 16-bit numbers. */
export const MAX_MEMBERS = 16_384;

export class MemberTable {
  readonly #store: EntryStore;
  readonly #random: Random;
  /** Slots in probing order: shuffled, newcomers at a random place. */
  #order = new Uint16Array(16);
  #length = 0;
  readonly #counts: Record<MemberStatus, number> = { alive: 0, suspect: 0, dead: 0, left: 0 };
  readonly #expired: Record<MemberStatus, number> = { alive: 0, suspect: 0, dead: 0, left: 0 };
  /** Equal on two nodes that know the same members at the same incarnations, and which of them are gone. */
  readonly digest = new TableDigest();

  constructor(random: Random, store: EntryStore = new ArrayEntryStore()) {
    this.#random = random;
    this.#store = store;
  }

  /**
   * A table with the members of `other`, in another order. `store` must hold them already; the simulator has
   * one that shares what it holds, so that thousands of nodes with thousands of members fit one process.
   */
  static copyOf(other: MemberTable, random: Random, store: EntryStore): MemberTable {
    const table = new MemberTable(random, store);
    table.#order = other.#order.slice();
    table.#length = other.#length;
    Object.assign(table.#counts, other.#counts);
    Object.assign(table.#expired, other.#expired);
    table.digest.copyFrom(other.digest);
    table.reshuffle();
    return table;
  }

  get length(): number {
    return this.#length;
  }

  /** Alive or suspect, this node included. */
  get reachable(): number {
    return this.#counts.alive + this.#counts.suspect;
  }

  count(status: MemberStatus): number {
    return this.#counts[status];
  }

  /** The same without those that are remembered only. */
  countShown(status: MemberStatus): number {
    return this.#counts[status] - this.#expired[status];
  }

  get(id: string): MemberEntry | undefined {
    return this.#store.get(id);
  }

  /** By position in probing order, 0 to `length` - 1. */
  at(position: number): MemberEntry | undefined {
    return position < this.#length ? this.#store.at(this.#order[position]!) : undefined;
  }

  /** In probing order; the table must not gain or lose members meanwhile. */
  *[Symbol.iterator](): IterableIterator<MemberEntry> {
    for (let position = 0; position < this.#length; position++) yield this.at(position)!;
  }

  /** The id of the member that runs under this session now (hexadecimal). */
  idOfSession(session: string): string | undefined {
    return this.#store.idOfSession(session);
  }

  add(entry: MemberEntry): void {
    if (this.#length === this.#order.length) {
      const larger = new Uint16Array(2 * this.#length);
      larger.set(this.#order);
      this.#order = larger;
    }
    const place = randomIndex(this.#random, this.#length + 1);
    this.#order[this.#length] = this.#order[place]!;
    this.#order[place] = this.#store.add(entry);
    this.#length++;
    this.#count(entry, 1);
  }

  /** Applies `change` to a member and returns its new entry. */
  change(id: string, change: Partial<Omit<MemberEntry, 'id'>>): MemberEntry {
    const before = this.#store.get(id)!;
    const entry: MemberEntry = { ...before, ...change };
    this.#store.replace(entry);
    const isSameState = stateOf(before) === stateOf(entry) && before.memory === entry.memory;
    if (before.status === entry.status && isSameState) return entry;
    this.#count(before, -1);
    this.#count(entry, 1);
    return entry;
  }

  remove(id: string): void {
    const slot = this.#store.slotOf(id);
    if (slot === undefined) return;
    this.#count(this.#store.at(slot), -1);
    const place = this.#order.subarray(0, this.#length).indexOf(slot);
    this.#order.copyWithin(place, place + 1, this.#length);
    this.#length--;
    this.#store.delete(id);
  }

  /** Fisher-Yates. */
  reshuffle(): void {
    const order = this.#order;
    for (let i = this.#length - 1; i > 0; i--) {
      const j = randomIndex(this.#random, i + 1);
      const slot = order[i]!;
      order[i] = order[j]!;
      order[j] = slot;
    }
  }

  #count(entry: MemberEntry, by: 1 | -1): void {
    this.#counts[entry.status] += by;
    if (entry.memory === 'expired') this.#expired[entry.status] += by;
    this.digest.toggle(entry.id, stateOf(entry));
  }
}

/** A suspect counts as alive: suspicions come and go, and are not worth an exchange of tables. */
function stateOf(entry: MemberEntry): number {
  return Math.imul(entry.record.incarnation, 2) + (isGone(entry.status) ? 1 : 0);
}
