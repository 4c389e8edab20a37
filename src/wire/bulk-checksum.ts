/**
 * The Internet checksum's sum over payloads, as fast as JavaScript adds: for memory that WebAssembly does not reach,
 * or where it has no SIMD. Three properties of that sum make it
 * so (RFC 1071, section 2): it may be taken in 32-bit words, since 2^32 = 2^16 = 1 modulo 65535; in the machine's
 * own byte order, swapping the bytes of the result; and from an odd address, swapping them once more.
 *
 * Four accumulators keep the adder busy; each stays exact for 2^21 words.
 */
import { checksumFold } from './checksum.ts';
import type { PayloadChecksum } from './payload-checksum.ts';

export class BulkChecksum implements PayloadChecksum {
  readonly #bytes: Uint8Array;
  readonly #halves: Uint16Array;
  readonly #words: Uint32Array;

  constructor(buffer: ArrayBuffer) {
    this.#bytes = new Uint8Array(buffer);
    this.#halves = new Uint16Array(buffer, 0, buffer.byteLength >>> 1);
    this.#words = new Uint32Array(buffer, 0, buffer.byteLength >>> 2);
  }

  sum(offset: number, bytes: number): number {
    if (bytes === 0) return 0;
    if ((offset & 1) === 0) return swapped(checksumFold(this.#evenSum(offset, bytes)));
    // Every byte sits in the other half of its word: the native sum needs no swap.
    const first = this.#bytes[offset]!;
    return checksumFold((first << 8) + checksumFold(this.#evenSum(offset + 1, bytes - 1)));
  }

  /** The sum in native (little-endian) order from an even offset. */
  #evenSum(start: number, bytes: number): number {
    let at = start;
    const end = start + bytes;
    let sum0 = 0;
    if ((at & 2) !== 0 && end - at >= 2) {
      sum0 = this.#halves[at >>> 1]!;
      at += 2;
    }
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    let word = at >>> 2;
    const lastWord = (end >>> 2) - 4;
    if ((at & 3) === 0) {
      const words = this.#words;
      for (; word <= lastWord; word += 4) {
        sum0 += words[word]!;
        sum1 += words[word + 1]!;
        sum2 += words[word + 2]!;
        sum3 += words[word + 3]!;
      }
      at = word << 2;
    }
    for (; at + 2 <= end; at += 2) sum1 += this.#halves[at >>> 1]!;
    if (at < end) sum2 += this.#bytes[at]!;
    return sum0 + sum1 + sum2 + sum3;
  }
}

function swapped(half: number): number {
  return ((half & 0xff) << 8) | (half >>> 8);
}
