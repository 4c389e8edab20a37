/**
 * The Internet checksum: over a header; over a packet's payload and a superpacket's, in WebAssembly and in
 * JavaScript.
 */
import { Arena } from '../../sys/arena.ts';
import { BulkChecksum } from '../../wire/bulk-checksum.ts';
import { checksum } from '../../wire/checksum.ts';
import type { PayloadChecksum } from '../../wire/payload-checksum.ts';
import { simdChecksum } from '../../wire/simd-checksum.ts';
import { type MicroBenchmark, seededRandom } from './harness.ts';

const BYTES = 65_536;
const PAYLOAD_BYTES = [1412, 64_000];
/** As large as four superpackets: what was read from the TUN is in the second-level cache. */
const PLACES = 4;

export function benchmarks(): MicroBenchmark[] {
  const arena = new Arena(PLACES * BYTES, 'wasm');
  const random = seededRandom(1);
  for (let at = 0; at < PLACES * BYTES; at += 4) arena.view.setUint32(at, random());
  const simd = arena.memory === undefined ? undefined : simdChecksum(arena.memory);
  const plain = new BulkChecksum(arena.buffer);
  return [
    {
      name: 'checksum, IPv4 header (20 bytes)',
      unit: 'header',
      operations: 1024,
      run(iterations) {
        let sum = 0;
        for (let n = 0; n < iterations; n++) {
          for (let i = 0; i < 1024; i++) sum += checksum(arena.view, i * 64, 20);
        }
        return sum;
      },
    },
    ...PAYLOAD_BYTES.flatMap((bytes) => [
      ...(simd === undefined ? [] : [payload('WebAssembly SIMD', simd, bytes)]),
      payload('JavaScript', plain, bytes),
    ]),
  ];
}

function payload(language: string, sums: PayloadChecksum, bytes: number): MicroBenchmark {
  return {
    name: `checksum, payload of ${bytes} bytes, ${language}`,
    unit: 'payload',
    operations: PLACES,
    run(iterations) {
      let sum = 0;
      for (let n = 0; n < iterations; n++) {
        for (let i = 0; i < PLACES; i++) sum += sums.sum(i * BYTES + 52, bytes);
      }
      return sum;
    },
  };
}
