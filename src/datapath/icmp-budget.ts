/**
 * How many ICMP errors may go out: a token bucket for each kind of error and each inner source, so that a pod which
 * floods one destination takes from nobody else the "too big" that its connections need.
 *
 * A bucket is one number: the time at which it will be full again (the "theoretical arrival time" of the generic cell
 * rate algorithm, ITU-T I.371). Sets of WAYS slots are chosen by a hash; a bucket that finds no slot takes that of the
 * one that is the fullest, mostly a full one, of which nothing is lost. Nothing is allocated.
 */
import { hashAddress } from './hash-address.ts';

export const ICMP_NO_ROUTE = 1;
export const ICMP_TOO_BIG = 2;
export type IcmpKind = typeof ICMP_NO_ROUTE | typeof ICMP_TOO_BIG;

/** Errors that may go out at once, and how many come back per second. */
const BURST = 200;
const PER_SECOND = 200;
const INTERVAL_MS = 1000 / PER_SECOND;

/** More than a node has pods, with both kinds of errors in both families. */
const SETS = 512;
const WAYS = 4;
/** Of a slot's key: the address, IPv4-mapped, and the kind; 0 marks a slot that is free. */
const KEY_WORDS = 5;

export class IcmpBudget {
  readonly #keys = new Int32Array(SETS * WAYS * KEY_WORDS);
  readonly #fullAtMs = new Float64Array(SETS * WAYS).fill(Number.NEGATIVE_INFINITY);

  /** Whether an error may go out to that source (IPv4 as mapped words) now; then it counts. */
  take(kind: IcmpKind, word0: number, word1: number, word2: number, word3: number, nowMs: number): boolean {
    const slot = this.#slot(kind, word0, word1, word2, word3);
    const fullAtMs = Math.max(this.#fullAtMs[slot]!, nowMs);
    if (fullAtMs - nowMs > (BURST - 1) * INTERVAL_MS) return false;
    this.#fullAtMs[slot] = fullAtMs + INTERVAL_MS;
    return true;
  }

  /** The slot of that key, which is its own from now on. */
  #slot(kind: IcmpKind, word0: number, word1: number, word2: number, word3: number): number {
    const first = ((hashAddress(word0, word1, word2, word3) + kind) & (SETS - 1)) * WAYS;
    let fullest = first;
    for (let slot = first; slot < first + WAYS; slot++) {
      const at = slot * KEY_WORDS;
      if (
        this.#keys[at + 3] === word3 &&
        this.#keys[at + 4] === kind &&
        this.#keys[at + 2] === word2 &&
        this.#keys[at + 1] === word1 &&
        this.#keys[at] === word0
      ) {
        return slot;
      }
      if (this.#fullAtMs[slot]! < this.#fullAtMs[fullest]!) fullest = slot;
    }
    const at = fullest * KEY_WORDS;
    this.#keys[at] = word0;
    this.#keys[at + 1] = word1;
    this.#keys[at + 2] = word2;
    this.#keys[at + 3] = word3;
    this.#keys[at + 4] = kind;
    this.#fullAtMs[fullest] = Number.NEGATIVE_INFINITY;
    return fullest;
  }
}
