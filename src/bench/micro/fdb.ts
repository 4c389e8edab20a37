/**
 * FDB look-up: the longest match among 10 and 100,000 prefixes, in both families. Keys are random and lie in typed
 * arrays; seven of eight are in some prefix.
 */
import { Fdb } from '../../fdb/fdb.ts';
import { buildFdbSnapshot, type FdbEntry } from '../../fdb/snapshot.ts';
import { type MicroBenchmark, seededRandom } from './harness.ts';

/** A power of two; 256 KB of IPv4 keys, 1 MB of IPv6 keys. */
const KEYS = 1 << 16;
const SIZES = [10, 100_000];

/** 10.0.0.0/8, and fd42::/32. */
const IPV4_RANGE = 10 << 24;
const IPV6_RANGE = 0xfd420000 | 0;

export function benchmarks(): MicroBenchmark[] {
  return SIZES.flatMap((size) => [ipv4(size), ipv6(size)]);
}

function ipv4(size: number): MicroBenchmark {
  const random = seededRandom(size);
  const entries = distinct(size, () => {
    const length = 20 + (random() % 9);
    const address = (IPV4_RANGE | (random() & 0xffffff)) & (-1 << (32 - length));
    return { words: Int32Array.of(address), length };
  });
  const fdb = new Fdb(buildFdbSnapshot(entries));
  const keys = new Int32Array(KEYS);
  for (let i = 0; i < KEYS; i++) {
    const { words, length } = entries[random() % size]!;
    keys[i] =
      (i & 7) === 0 ? IPV4_RANGE | (random() & 0xffffff) : words[0]! | (random() & ~(-1 << (32 - length)));
  }
  return {
    name: `FDB look-up, IPv4, ${size.toLocaleString('en')} prefixes`,
    unit: 'look-up',
    operations: KEYS,
    run(iterations) {
      let sum = 0;
      for (let n = 0; n < iterations; n++) {
        for (let i = 0; i < KEYS; i++) sum = (sum + fdb.lookup4(keys[i]!)) | 0;
      }
      return sum;
    },
  };
}

function ipv6(size: number): MicroBenchmark {
  const random = seededRandom(size);
  const entries = distinct(size, () => {
    const length = 56 + (random() % 9);
    const words = Int32Array.of(IPV6_RANGE, random() & (-1 << (64 - length)), 0, 0);
    return { words, length };
  });
  const fdb = new Fdb(buildFdbSnapshot(entries));
  const keys = new Int32Array(4 * KEYS);
  for (let i = 0; i < KEYS; i++) {
    const { words, length } = entries[random() % size]!;
    const subnet = (i & 7) === 0 ? random() : words[1]! | (random() & ~(-1 << (64 - length)));
    keys.set([IPV6_RANGE, subnet, random(), random()], 4 * i);
  }
  return {
    name: `FDB look-up, IPv6, ${size.toLocaleString('en')} prefixes`,
    unit: 'look-up',
    operations: KEYS,
    run(iterations) {
      let sum = 0;
      for (let n = 0; n < iterations; n++) {
        for (let i = 0; i < 4 * KEYS; i += 4)
          sum = (sum + fdb.lookup6(keys[i]!, keys[i + 1]!, keys[i + 2]!, keys[i + 3]!)) | 0;
      }
      return sum;
    },
  };
}

/** `size` different prefixes, numbered. */
function distinct(size: number, make: () => Omit<FdbEntry, 'value'>): FdbEntry[] {
  const found = new Map<string, FdbEntry>();
  while (found.size < size) {
    const entry = make();
    found.set(`${entry.words.join()}/${entry.length}`, { ...entry, value: found.size });
  }
  return [...found.values()];
}
