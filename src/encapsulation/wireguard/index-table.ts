/**
 * What this node's receiver indexes name: handshakes under way and sessions. Indexes are random, so that they tell nobody
 * how many there are, and one that is free again is not soon given out anew.
 *
 * Bounded by the peers: each has at most one handshake and three sessions.
 */
import { randomBytes } from 'node:crypto';

const INDEX_BYTES = 4;

export class IndexTable<T> {
  readonly #entries = new Map<number, T>();
  readonly #random: () => number;

  /** `random`: 32 bits, other than those of node:crypto in tests. */
  constructor(random: () => number = () => randomBytes(INDEX_BYTES).readUInt32LE()) {
    this.#random = random;
  }

  add(entry: T): number {
    for (;;) {
      const index = this.#random();
      if (this.#entries.has(index)) continue;
      this.#entries.set(index, entry);
      return index;
    }
  }

  get(index: number): T | undefined {
    return this.#entries.get(index);
  }

  /** The entry of an index that is in use becomes another. */
  replace(index: number, entry: T): void {
    this.#entries.set(index, entry);
  }

  delete(index: number): void {
    this.#entries.delete(index);
  }

  get size(): number {
    return this.#entries.size;
  }
}
