/**
 * Builds the FDB's tables: from a list of prefixes to sorted, disjoint address intervals.
 *
 * Prefixes nest, so a longest match has to look at several. But they cut the address space into at most
 * 2n + 1 intervals in which the answer is one and the same. The control thread sorts that out once per change
 * (milliseconds for 100,000 prefixes); the packet path only has to find the interval that holds an address:
 *
 *        10.42.0.0/16 -> A          A A A A B B A A A A            starts:  0    10.42.0.0  10.42.4.0 ...
 *          10.42.4.0/23 -> B    ->          (B is longer)     ->   values: MISS      A          B     ...
 *
 * A window index makes that search short. Pod subnets share a long leading part (the pod range), so the index
 * skips the bits that all prefixes have in common and cuts the next few into buckets, about two an interval;
 * each bucket knows its first interval. In a /16 of /24s a bucket holds one interval, in random prefixes one or
 * two.
 *
 * The tables are plain typed arrays, of which each worker gets a copy, and never change after that.
 */

/** No prefix holds the address. */
export const FDB_MISS = -1;
/** The address is this node's own. */
export const FDB_LOCAL = -2;

/** 2^20 buckets take 4 MB. */
const MAX_WINDOW_BITS = 20;

/** A prefix and the value to find: a VTEP's index (0 or more) or FDB_LOCAL. */
export interface FdbEntry {
  /** One int32 (IPv4) or four (IPv6), big-endian; bits beyond `length` are zero. */
  readonly words: Int32Array;
  /** 0 to 32 (IPv4) or 128 (IPv6). */
  readonly length: number;
  readonly value: number;
}

/** The tables of one address family. */
export interface FamilySnapshot {
  /** Address words of each interval's first address, unsigned, ascending; 1 or 4 per interval. */
  readonly starts: Uint32Array;
  /** Value of each interval. */
  readonly values: Int32Array;
  /** Bits that all prefixes share, and those bits themselves. */
  readonly commonBits: number;
  readonly common: Int32Array;
  /** Bits after the common ones that number the buckets. */
  readonly windowBits: number;
  /** The interval that holds each bucket's first address; one more entry for the last interval. */
  readonly buckets: Uint32Array;
}

export interface FdbSnapshot {
  readonly ipv4: FamilySnapshot;
  readonly ipv6: FamilySnapshot;
}

/** Of two entries for the same prefix the later one counts. */
export function buildFdbSnapshot(entries: readonly FdbEntry[]): FdbSnapshot {
  return {
    ipv4: buildFamily(
      entries.filter((entry) => entry.words.length === 1),
      1,
    ),
    ipv6: buildFamily(
      entries.filter((entry) => entry.words.length === 4),
      4,
    ),
  };
}

interface Span {
  readonly first: bigint;
  /** One past the last address. */
  readonly end: bigint;
  readonly length: number;
  readonly value: number;
}

function buildFamily(entries: readonly FdbEntry[], words: 1 | 4): FamilySnapshot {
  const bits = 32 * words;
  const spans = sortedSpans(entries, bits);
  const { starts, values } = flatten(spans, bits);
  const commonBits = commonPrefixBits(spans, bits);
  // Two buckets an interval or more: most look-ups then need no search, and a small table stays in the cache.
  const wantedBits = Math.ceil(Math.log2(starts.length)) + 1;
  const windowBits = Math.min(wantedBits, MAX_WINDOW_BITS, bits - commonBits);
  const common = spans.length === 0 ? 0n : maskLow(spans[0]!.first, BigInt(bits - commonBits));
  return {
    starts: toWords(starts, words),
    values: Int32Array.from(values),
    commonBits,
    common: Int32Array.from(toWords([common], words)),
    windowBits,
    buckets: bucketIndex(starts, common, bits - commonBits, windowBits),
  };
}

/** Outer prefixes before the ones they hold; duplicates removed, the last one kept. */
function sortedSpans(entries: readonly FdbEntry[], bits: number): Span[] {
  const unique = new Map<string, Span>();
  for (const { words, length, value } of entries) {
    let first = 0n;
    for (const word of words) first = (first << 32n) | BigInt(word >>> 0);
    unique.set(`${first}/${length}`, { first, end: first + (1n << BigInt(bits - length)), length, value });
  }
  return [...unique.values()].sort((a, b) =>
    a.first < b.first ? -1 : a.first > b.first ? 1 : a.length - b.length,
  );
}

/** Sweeps over the spans with the stack of those that are open; the innermost one gives the value. */
function flatten(spans: readonly Span[], bits: number): { starts: bigint[]; values: number[] } {
  const starts: bigint[] = [];
  const values: number[] = [];
  const open: Span[] = [];
  const begin = (at: bigint, value: number): void => {
    if (starts.at(-1) === at) values[values.length - 1] = value;
    else if (values.at(-1) !== value) {
      starts.push(at);
      values.push(value);
    }
  };
  const closeUntil = (at: bigint): void => {
    for (let top = open.at(-1); top && top.end <= at; top = open.at(-1)) {
      open.pop();
      if (top.end < 1n << BigInt(bits)) begin(top.end, open.at(-1)?.value ?? FDB_MISS);
    }
  };
  begin(0n, FDB_MISS);
  for (const span of spans) {
    closeUntil(span.first);
    begin(span.first, span.value);
    open.push(span);
  }
  closeUntil(1n << BigInt(bits));
  return { starts, values };
}

/** How many leading bits every address of every span has in common; at least one bit is left for the window. */
function commonPrefixBits(spans: readonly Span[], bits: number): number {
  let common = bits - 1;
  const reference = spans[0]?.first ?? 0n;
  for (const { first, length } of spans) {
    common = Math.min(common, length);
    while (common > 0 && (first ^ reference) >> BigInt(bits - common) !== 0n) common--;
  }
  return common;
}

function bucketIndex(
  starts: readonly bigint[],
  common: bigint,
  restBits: number,
  windowBits: number,
): Uint32Array {
  const count = 1 << windowBits;
  const buckets = new Uint32Array(count + 1);
  const bucketShift = BigInt(restBits - windowBits);
  let interval = 0;
  for (let bucket = 0; bucket < count; bucket++) {
    const first = common + (BigInt(bucket) << bucketShift);
    while (interval + 1 < starts.length && starts[interval + 1]! <= first) interval++;
    buckets[bucket] = interval;
  }
  // The last bucket's search ends at the last interval that begins within the window.
  const end = common + (1n << BigInt(restBits));
  while (interval + 1 < starts.length && starts[interval + 1]! < end) interval++;
  buckets[count] = interval;
  return buckets;
}

function maskLow(value: bigint, lowBits: bigint): bigint {
  return (value >> lowBits) << lowBits;
}

function toWords(numbers: readonly bigint[], words: 1 | 4): Uint32Array {
  const out = new Uint32Array(numbers.length * words);
  numbers.forEach((number, i) => {
    for (let w = 0; w < words; w++) {
      out[i * words + w] = Number((number >> BigInt(32 * (words - 1 - w))) & 0xffffffffn);
    }
  });
  return out;
}
