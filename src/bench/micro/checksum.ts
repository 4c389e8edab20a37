/** The Internet checksum: over a header, over a packet's payload, over a superpacket's. */
import { Arena } from '../../sys/arena.ts';
import { BulkChecksum } from '../../wire/bulk-checksum.ts';
import { checksum } from '../../wire/checksum.ts';
import { type MicroBenchmark, seededRandom } from './harness.ts';

const BYTES = 65_536;
const PAYLOAD_BYTES = 1412;
/** As large as four superpackets: what was read from the TUN is in the second-level cache. */
const PLACES = 4;

export function benchmarks(): MicroBenchmark[] {
  const arena = new Arena(PLACES * BYTES);
  const random = seededRandom(1);
  for (let at = 0; at < PLACES * BYTES; at += 4) arena.view.setUint32(at, random());
  const sums = new BulkChecksum(arena.buffer);
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
    ...[PAYLOAD_BYTES, 64_000].map(
      (bytes): MicroBenchmark => ({
        name: `checksum, payload of ${bytes} bytes`,
        unit: 'KB',
        operations: (PLACES * bytes) / 1000,
        run(iterations) {
          let sum = 0;
          for (let n = 0; n < iterations; n++) {
            for (let i = 0; i < PLACES; i++) sum += sums.sum(i * BYTES + 52, bytes);
          }
          return sum;
        },
      }),
    ),
  ];
}
