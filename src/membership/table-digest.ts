/**
 * A digest of what a node knows, kept up to date as it changes. Two nodes with equal digests have, almost
 * certainly, nothing to tell each other; where they differ, the 256 parts of the digest (by the last byte of a
 * node's id) say in which parts of their tables, so that only those travel.
 */
import type { Digest } from './codec.ts';

export const BUCKETS = 256;
/** All parts in a row, high and low word of each. */
export const BUCKET_DIGEST_BYTES = BUCKETS * 8;
/** One bit per bucket. */
export const BUCKET_MASK_BYTES = BUCKETS / 8;

export class TableDigest {
  readonly #words = new Int32Array(2 * BUCKETS);
  #high = 0;
  #low = 0;

  get total(): Digest {
    return { high: this.#high >>> 0, low: this.#low >>> 0 };
  }

  /** Puts `state` of the node `id` in, or takes it out again: exclusive-or makes both the same operation. */
  toggle(id: string, state: number): void {
    // Ids are hashes already.
    const high = mix(Number.parseInt(id.slice(0, 8), 16) ^ mix(state));
    const low = mix(Number.parseInt(id.slice(8, 16), 16) ^ mix(state + 0x5bd1e995));
    const bucket = bucketOf(id);
    this.#words[2 * bucket]! ^= high;
    this.#words[2 * bucket + 1]! ^= low;
    this.#high ^= high;
    this.#low ^= low;
  }

  /** `BUCKET_DIGEST_BYTES` bytes, network byte order. */
  parts(): Uint8Array {
    const bytes = Buffer.alloc(BUCKET_DIGEST_BYTES);
    for (const [i, word] of this.#words.entries()) bytes.writeInt32BE(word, 4 * i);
    return bytes;
  }

  /** The buckets in which another node's `parts` differ from ours, as a mask. */
  differing(parts: Uint8Array): Uint8Array {
    const own = this.parts();
    const mask = new Uint8Array(BUCKET_MASK_BYTES);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const at = 8 * bucket;
      if (Buffer.compare(own.subarray(at, at + 8), parts.subarray(at, at + 8)) !== 0) {
        mask[bucket >> 3]! |= 1 << (bucket & 7);
      }
    }
    return mask;
  }

  copyFrom(other: TableDigest): void {
    this.#words.set(other.#words);
    this.#high = other.#high;
    this.#low = other.#low;
  }
}

export function bucketOf(id: string): number {
  return Number.parseInt(id.slice(-2), 16);
}

export function inMask(mask: Uint8Array, id: string): boolean {
  const bucket = bucketOf(id);
  return (mask[bucket >> 3]! & (1 << (bucket & 7))) !== 0;
}

/** A bijection of 32-bit integers that spreads every bit (the finalizer of MurmurHash3). */
export function mix(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
