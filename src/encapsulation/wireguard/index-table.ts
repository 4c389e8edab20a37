/**
 * What this node's receiver indexes name: handshakes under way and sessions. Indexes are random, so that they tell nobody
 * how many there are, and one that is free again is not soon given out anew.
 *
 * Bounded by the peers: each has at most one handshake and three sessions.
 */
import { randomBytes } from 'node:crypto';

const INDEX_BYTES = 4;

/** Where indexes come from. */
export interface IndexSource<T> {
  /** 32 bits for an entry; asked again if they are in use. Throws if there are none. */
  propose(entry: T): number;
  /** It is in use no more. */
  release(index: number): void;
}

const RANDOM: IndexSource<unknown> = {
  propose: () => randomBytes(INDEX_BYTES).readUInt32LE(),
  release: () => {},
};

export class IndexTable<T> {
  readonly #entries = new Map<number, T>();
  readonly #source: IndexSource<T>;

  constructor(source: IndexSource<T> = RANDOM) {
    this.#source = source;
  }

  add(entry: T): number {
    for (;;) {
      const index = this.#source.propose(entry);
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
    if (this.#entries.delete(index)) this.#source.release(index);
  }

  get size(): number {
    return this.#entries.size;
  }
}
