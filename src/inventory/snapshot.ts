/** One version of a node's inventory. Never changed in place: what is being read or sent stays as it is. */
import { EMPTY_HASH, inventoryHash, MAX_ENTRIES, MAX_INVENTORY_BYTES, type StoredEntry } from './entry.ts';

export interface Snapshot {
  readonly version: number;
  /** entry.ts, inventoryHash. */
  readonly hash: string;
  /** By id. */
  readonly entries: ReadonlyMap<string, StoredEntry>;
  /** All entries, serialized. */
  readonly bytes: number;
}

/** What changed, as the entries are afterwards. */
export interface Difference {
  readonly set: readonly StoredEntry[];
  readonly deleted: readonly string[];
}

export function emptySnapshot(version: number): Snapshot {
  return { version, hash: EMPTY_HASH, entries: new Map(), bytes: 0 };
}

/** `base` with the difference applied, as `version`. */
export function applied(base: Snapshot, { set, deleted }: Difference, version: number): Snapshot {
  const entries = new Map(base.entries);
  let { bytes } = base;
  const remove = (id: string) => {
    bytes -= entries.get(id)?.bytes.length ?? 0;
    entries.delete(id);
  };
  for (const id of deleted) remove(id);
  for (const stored of set) {
    remove(stored.entry.id);
    entries.set(stored.entry.id, stored);
    bytes += stored.bytes.length;
  }
  return { version, hash: inventoryHash(entries.values()), entries, bytes };
}

export function isWithinBounds({ entries, bytes }: Snapshot): boolean {
  return entries.size <= MAX_ENTRIES && bytes <= MAX_INVENTORY_BYTES;
}

/** What a reader that knew `before` has to hear. */
export function differenceOf(before: Snapshot | undefined, after: Snapshot | undefined): Difference {
  const set: StoredEntry[] = [];
  const deleted: string[] = [];
  for (const [id, stored] of after?.entries ?? []) {
    if (before?.entries.get(id)?.hash !== stored.hash) set.push(stored);
  }
  for (const id of before?.entries.keys() ?? []) if (!after?.entries.has(id)) deleted.push(id);
  return { set, deleted };
}
