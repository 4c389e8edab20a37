/**
 * The counters of what is sent with one key. A counter that is used twice gives the key away, so whoever seals takes as many
 * as it needs by one atomic addition, and several threads may seal with one key without asking each other.
 */
import { REJECT_AFTER_MESSAGES } from './constants.ts';

export const NONCE_BYTES = BigUint64Array.BYTES_PER_ELEMENT;

export class Nonces {
  readonly #next: BigUint64Array;

  /** `shared`: 8 bytes at `at` that are zero when the key is new, and of all threads that seal with it. */
  constructor(shared: SharedArrayBuffer = new SharedArrayBuffer(NONCE_BYTES), at = 0) {
    this.#next = new BigUint64Array(shared, at, 1);
  }

  /** The first of `count` counters that are the caller's alone; -1: the key has none left for them. */
  take(count: number): number {
    const first = Number(Atomics.add(this.#next, 0, BigInt(count)));
    return first + count <= REJECT_AFTER_MESSAGES ? first : -1;
  }

  /** How many were taken. Rounded above 2^53, where none are given any more. */
  get taken(): number {
    return Number(Atomics.load(this.#next, 0));
  }
}
