/**
 * FDB look-up: the longest match among 10 and 100,000 prefixes, in both families. Keys are random and lie in typed
 * arrays; seven of eight are in some prefix. Every batch's answers are summed up and compared with those of a plain
 * search, made once: an FDB that is fast and wrong measures nothing.
 */
import { Fdb } from '../../fdb/fdb.ts';
import { buildFdbSnapshot, FDB_MISS, type FdbEntry } from '../../fdb/snapshot.ts';
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
  const find = plainSearch(entries, 0);
  const expected = keys.reduce((sum, key) => (sum + find(key)) | 0, 0);
  return {
    name: `FDB look-up, IPv4, ${size.toLocaleString('en')} prefixes`,
    unit: 'look-up',
    operations: KEYS,
    run(iterations) {
      let sum = 0;
      for (let n = 0; n < iterations; n++) {
        for (let i = 0; i < KEYS; i++) sum = (sum + fdb.lookup4(keys[i]!)) | 0;
      }
      return checked(sum, expected, iterations);
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
  // The first word is the same everywhere, and no prefix reaches beyond the second.
  const find = plainSearch(entries, 1);
  let expected = 0;
  for (let i = 0; i < 4 * KEYS; i += 4) expected = (expected + find(keys[i + 1]!)) | 0;
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
      return checked(sum, expected, iterations);
    },
  };
}

/** Longest match by one table for each prefix length, longest first, in the address word in which prefixes end. */
function plainSearch(entries: readonly FdbEntry[], word: number): (key: number) => number {
  const mask = (length: number): number => -1 << (32 * (word + 1) - length);
  const lengths = [...new Set(entries.map(({ length }) => length))].toSorted((a, b) => b - a);
  const tables = lengths.map((length) => {
    const ofLength = entries.filter((entry) => entry.length === length);
    return new Map(ofLength.map(({ words, value }) => [words[word]! & mask(length), value]));
  });
  return (key) => {
    for (const [i, length] of lengths.entries()) {
      const found = tables[i]!.get(key & mask(length));
      if (found !== undefined) return found;
    }
    return FDB_MISS;
  };
}

/** Sums wrap around at 32 bits, as do their multiples. */
function checked(sum: number, expected: number, iterations: number): number {
  if (sum !== Math.imul(expected, iterations)) throw new Error('the FDB does not find what is in it');
  return sum;
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
