import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fdb } from '../../../src/fdb/fdb.ts';
import { buildFdbSnapshot, FDB_LOCAL, FDB_MISS, type FdbEntry } from '../../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../../src/ip/address.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';

function entry(prefix: string, value: number): FdbEntry {
  const parsed = parsePrefix(prefix);
  return { words: addressWords(parsed), length: parsed.length, value };
}

function lookup(fdb: Fdb, address: string): number {
  const words = addressWords(parseAddress(address));
  return words.length === 1
    ? fdb.lookup4(words[0]!)
    : fdb.lookup6(words[0]!, words[1]!, words[2]!, words[3]!);
}

/** Longest match the slow and obvious way. */
function naive(entries: readonly FdbEntry[], address: bigint, bits: number): number {
  let best = FDB_MISS;
  let bestLength = -1;
  for (const { words, length, value } of entries) {
    let prefix = 0n;
    for (const word of words) prefix = (prefix << 32n) | BigInt(word >>> 0);
    if (length >= bestLength && (address ^ prefix) >> BigInt(bits - length) === 0n) {
      best = value;
      bestLength = length;
    }
  }
  return best;
}

/** Prefixes that nest and touch often: few distinct leading bits, any length. */
function clusteredPrefix(bits: 32 | 128): fc.Arbitrary<FdbEntry> {
  return fc
    .record({
      address: fc.oneof(
        fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n }),
        fc.bigInt({ min: 0n, max: 0xfffn }).map((low) => (0xfd42n << BigInt(bits - 16)) | low),
        fc.nat(7).map((high) => BigInt(high) << BigInt(bits - 3)),
      ),
      length: fc.integer({ min: 0, max: bits }),
      value: fc.integer({ min: FDB_LOCAL + 2, max: 100 }),
    })
    .map(({ address, length, value }) => {
      const host = BigInt(bits - length);
      const family = bits === 32 ? 4 : 6;
      return { words: addressWords({ family, value: (address >> host) << host }), length, value };
    });
}

describe('longest match', () => {
  const fdb = new Fdb(
    buildFdbSnapshot([
      entry('10.42.0.0/24', FDB_LOCAL),
      entry('10.42.1.0/24', 1),
      entry('10.42.1.128/25', 2),
      entry('10.42.1.200/32', 3),
      entry('fd42::/64', FDB_LOCAL),
      entry('fd42:0:0:1::/64', 1),
      entry('fd42:0:0:1::8/125', 2),
    ]),
  );

  it.each([
    ['10.42.0.7', FDB_LOCAL],
    ['10.42.1.127', 1],
    ['10.42.1.128', 2],
    ['10.42.1.200', 3],
    ['10.42.1.201', 2],
    ['10.42.2.0', FDB_MISS],
    ['10.41.255.255', FDB_MISS],
    ['0.0.0.0', FDB_MISS],
    ['255.255.255.255', FDB_MISS],
    ['fd42::ffff:ffff:ffff:ffff', FDB_LOCAL],
    ['fd42:0:0:1::7', 1],
    ['fd42:0:0:1::8', 2],
    ['fd42:0:0:1::10', 1],
    ['fd42:0:0:2::', FDB_MISS],
    ['::', FDB_MISS],
  ])('%s -> %i', (address, value) => {
    expect(lookup(fdb, address)).toBe(value);
  });

  it('finds nothing in an empty FDB', () => {
    expect(lookup(new Fdb(), '10.42.0.1')).toBe(FDB_MISS);
    expect(lookup(new Fdb(), 'fd42::1')).toBe(FDB_MISS);
  });

  it('finds a default route everywhere, and the whole end of the address space', () => {
    const all = new Fdb(
      buildFdbSnapshot([entry('0.0.0.0/0', 5), entry('255.255.255.255/32', 6), entry('::/0', 7)]),
    );
    expect(lookup(all, '0.0.0.0')).toBe(5);
    expect(lookup(all, '255.255.255.254')).toBe(5);
    expect(lookup(all, '255.255.255.255')).toBe(6);
    expect(lookup(all, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff')).toBe(7);
  });

  it('serves a new snapshot after load', () => {
    const changing = new Fdb(buildFdbSnapshot([entry('10.42.1.0/24', 1)]));
    changing.load(buildFdbSnapshot([entry('10.42.1.0/24', 9)]));
    expect(lookup(changing, '10.42.1.1')).toBe(9);
  });
});

describe.each([32, 128] as const)('against a naive oracle, %i-bit addresses', (bits) => {
  it('agrees on every boundary and on random addresses', () => {
    fc.assert(
      fc.property(
        fc.array(clusteredPrefix(bits), { maxLength: 40 }),
        fc.array(fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n }), { maxLength: 20 }),
        (entries, randomAddresses) => {
          const fdb = new Fdb(buildFdbSnapshot(entries));
          const probes = new Set(randomAddresses);
          for (const { words, length } of entries) {
            let first = 0n;
            for (const word of words) first = (first << 32n) | BigInt(word >>> 0);
            const end = first + (1n << BigInt(bits - length));
            for (const probe of [first - 1n, first, end - 1n, end]) {
              if (probe >= 0n && probe < 1n << BigInt(bits)) probes.add(probe);
            }
          }
          for (const probe of probes) {
            const words = addressWords({ family: bits === 32 ? 4 : 6, value: probe });
            const found =
              bits === 32 ? fdb.lookup4(words[0]!) : fdb.lookup6(words[0]!, words[1]!, words[2]!, words[3]!);
            expect(found).toBe(naive(entries, probe, bits));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
