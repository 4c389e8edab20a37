/**
 * Member tables of a cluster that has converged: all nodes know the same members. Each keeps only what differs
 * from the common table, so that 10,000 nodes with 10,000 members each fit one process.
 */
import { ArrayEntryStore, type EntryStore, type MemberEntry } from '../membership/entry-store.ts';

/** What all nodes know to begin with; never changed. */
export class Roll {
  readonly entries: readonly MemberEntry[];
  readonly slotOf: ReadonlyMap<string, number>;
  readonly idOfSession: ReadonlyMap<string, string>;

  constructor(entries: readonly MemberEntry[]) {
    this.entries = entries;
    this.slotOf = new Map(entries.map(({ id }, slot) => [id, slot]));
    this.idOfSession = new Map(entries.map(({ id, record }) => [record.session, id]));
  }
}

/** In place of the entry of one that was in the roll and is not here any more. */
const MISSING = null;

export class SharedEntryStore implements EntryStore {
  readonly #roll: Roll;
  /** By slot of the roll: another entry, or `MISSING`. */
  readonly #changed = new Map<number, MemberEntry | typeof MISSING>();
  readonly #added = new ArrayEntryStore();
  #missing = 0;

  constructor(roll: Roll) {
    this.#roll = roll;
  }

  get size(): number {
    return this.#roll.entries.length - this.#missing + this.#added.size;
  }

  get(id: string): MemberEntry | undefined {
    const slot = this.#roll.slotOf.get(id);
    if (slot === undefined) return this.#added.get(id);
    const changed = this.#changed.get(slot);
    if (changed === undefined) return this.#roll.entries[slot];
    return changed === MISSING ? this.#added.get(id) : changed;
  }

  at(slot: number): MemberEntry {
    const { entries } = this.#roll;
    if (slot >= entries.length) return this.#added.at(slot - entries.length);
    // Empty slots are never read.
    return (this.#changed.get(slot) as MemberEntry | undefined) ?? entries[slot]!;
  }

  slotOf(id: string): number | undefined {
    const slot = this.#roll.slotOf.get(id);
    if (slot !== undefined && this.#isHere(slot)) return slot;
    const added = this.#added.slotOf(id);
    return added === undefined ? undefined : added + this.#roll.entries.length;
  }

  idOfSession(session: string): string | undefined {
    return this.#roll.idOfSession.get(session) ?? this.#added.idOfSession(session);
  }

  add(entry: MemberEntry): number {
    return this.#added.add(entry) + this.#roll.entries.length;
  }

  replace(entry: MemberEntry): void {
    const slot = this.#roll.slotOf.get(entry.id);
    if (slot === undefined || !this.#isHere(slot)) this.#added.replace(entry);
    else if (entry.signed === this.#roll.entries[slot]!.signed && entry.status === 'alive')
      this.#changed.delete(slot);
    else this.#changed.set(slot, entry);
  }

  delete(id: string): void {
    const slot = this.#roll.slotOf.get(id);
    if (slot === undefined || !this.#isHere(slot)) this.#added.delete(id);
    else {
      this.#changed.set(slot, MISSING);
      this.#missing++;
    }
  }

  #isHere(slot: number): boolean {
    return this.#changed.get(slot) !== MISSING;
  }
}
