/**
 * The Internet checksum's sum over payloads, as fast as this process can take it. Nanoseconds on a 2-core x86-64 virtual
 * machine with Node 20, the least of 600 short batches, of what `npm run bench:micro` runs:
 *
 *     |                                           | WebAssembly SIMD | JavaScript |
 *     | payload of 1412 bytes                     |               30 |        153 |
 *     | payload of 64,000 bytes                   |             1240 |       5700 |
 *     | segment, IPv6 TCP, 1400 bytes, whole sum  |               90 |        211 |
 *     | coalesce, IPv6 TCP, 1400 bytes, verified  |              104 |        216 |
 *
 * Everything else is as fast on a WebAssembly memory as on an ArrayBuffer of its own: with partial checksums the last
 * two take 36 and 51 on either.
 */
import { BulkChecksum } from './bulk-checksum.ts';
import { simdChecksum } from './simd-checksum.ts';

export interface PayloadChecksum {
  /** The sum of `bytes` bytes at `offset`, folded to 16 bits; an odd last byte is padded with zero. */
  sum(offset: number, bytes: number): number;
}

/** Sums over a WebAssembly memory by SIMD where there is any; over anything else in JavaScript. */
export function payloadChecksum(on: WebAssembly.Memory | ArrayBuffer): PayloadChecksum {
  if (on instanceof ArrayBuffer) return new BulkChecksum(on);
  return simdChecksum(on) ?? new BulkChecksum(on.buffer);
}
