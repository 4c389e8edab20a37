/**
 * Which peer which addresses belong to: to whom a packet for them goes, and from whom one of theirs may come. A prefix has one
 * peer, whoever asked for it last; of the prefixes that hold an address the longest counts. The packet path works on a
 * snapshot (src/fdb), which has the answer for every address.
 */
import { buildFdbSnapshot, type FdbEntry, type FdbSnapshot } from '../fdb/snapshot.ts';
import { addressWords } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';

interface Owned<T> {
  readonly prefix: Prefix;
  readonly owner: T;
}

/** Bounded by what whoever configures the device asks for. */
export class AllowedIps<T> {
  readonly #owners = new Map<string, Owned<T>>();
  readonly #prefixes = new Map<T, Map<string, Prefix>>();

  /** `prefix` is `owner`'s from now on, and nobody else's. */
  add(prefix: Prefix, owner: T): void {
    const key = keyOf(prefix);
    const before = this.#owners.get(key);
    if (before !== undefined) this.#prefixes.get(before.owner)?.delete(key);
    this.#owners.set(key, { prefix, owner });
    let own = this.#prefixes.get(owner);
    if (own === undefined) {
      own = new Map();
      this.#prefixes.set(owner, own);
    }
    own.set(key, prefix);
  }

  /** Nothing happens where it is another's. */
  remove(prefix: Prefix, owner: T): void {
    const key = keyOf(prefix);
    if (this.#owners.get(key)?.owner !== owner) return;
    this.#owners.delete(key);
    this.#prefixes.get(owner)?.delete(key);
  }

  /** Nothing is `owner`'s any more. */
  removeAll(owner: T): void {
    for (const key of this.#prefixes.get(owner)?.keys() ?? []) this.#owners.delete(key);
    this.#prefixes.delete(owner);
  }

  /** In the order in which they came to the peer. */
  of(owner: T): Iterable<Prefix> {
    return this.#prefixes.get(owner)?.values() ?? [];
  }

  snapshot(slotOf: (owner: T) => number): FdbSnapshot {
    const entries: FdbEntry[] = [];
    for (const { prefix, owner } of this.#owners.values())
      entries.push({ words: addressWords(prefix), length: prefix.length, value: slotOf(owner) });
    return buildFdbSnapshot(entries);
  }
}

function keyOf({ family, value, length }: Prefix): string {
  return `${family} ${value.toString(36)} ${length}`;
}
