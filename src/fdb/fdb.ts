/**
 * The forwarding database: maps a prefix to a VTEP, longest match, both address families. (In a bridge an FDB
 * maps MAC addresses; this overlay carries IP packets, so its FDB maps prefixes.)
 *
 * Look-ups allocate nothing: they take and return numbers and read typed arrays. See snapshot.ts for the
 * tables and why they have this shape. `load` swaps in a whole new snapshot between two bursts.
 */
import { buildFdbSnapshot, type FamilySnapshot, FDB_MISS, type FdbSnapshot } from './snapshot.ts';

export class Fdb {
  #ipv4: Ipv4Table;
  #ipv6: Ipv6Table;

  constructor(snapshot: FdbSnapshot = buildFdbSnapshot([])) {
    this.#ipv4 = new Ipv4Table(snapshot.ipv4);
    this.#ipv6 = new Ipv6Table(snapshot.ipv6);
  }

  load(snapshot: FdbSnapshot): void {
    this.#ipv4 = new Ipv4Table(snapshot.ipv4);
    this.#ipv6 = new Ipv6Table(snapshot.ipv6);
  }

  /** The value for an IPv4 address as int32: a VTEP's index, FDB_LOCAL or FDB_MISS. */
  lookup4(address: number): number {
    return this.#ipv4.lookup(address);
  }

  /** The value for an IPv6 address as four big-endian int32 words. */
  lookup6(word0: number, word1: number, word2: number, word3: number): number {
    return this.#ipv6.lookup(word0, word1, word2, word3);
  }

  /** The value for the IPv6 address whose 16 bytes lie at `offset`. */
  lookup6At(view: DataView, offset: number): number {
    return this.#ipv6.lookup(
      view.getInt32(offset),
      view.getInt32(offset + 4),
      view.getInt32(offset + 8),
      view.getInt32(offset + 12),
    );
  }
}

class Ipv4Table {
  readonly #starts: Uint32Array;
  readonly #values: Int32Array;
  readonly #buckets: Uint32Array;
  readonly #common: number;
  readonly #commonMask: number;
  readonly #commonBits: number;
  readonly #windowShift: number;

  constructor(family: FamilySnapshot) {
    this.#starts = family.starts;
    this.#values = family.values;
    this.#buckets = family.buckets;
    this.#common = family.common[0]!;
    this.#commonMask = leadingMask(family.commonBits);
    this.#commonBits = family.commonBits;
    this.#windowShift = 32 - family.windowBits;
  }

  lookup(address: number): number {
    // Outside the common part no prefix can match: a default route would have left no common bits.
    if (((address ^ this.#common) & this.#commonMask) !== 0) return FDB_MISS;
    const bucket = (address << this.#commonBits) >>> this.#windowShift;
    let low = this.#buckets[bucket]!;
    let high = this.#buckets[bucket + 1]!;
    const wanted = address >>> 0;
    // The last interval that begins at or before the address.
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#starts[middle]! <= wanted) low = middle;
      else high = middle - 1;
    }
    return this.#values[low]!;
  }
}

class Ipv6Table {
  readonly #starts: Uint32Array;
  readonly #values: Int32Array;
  readonly #buckets: Uint32Array;
  readonly #common: Int32Array;
  readonly #mask0: number;
  readonly #mask1: number;
  readonly #mask2: number;
  readonly #mask3: number;
  /** The word that the window begins in, the bits of it to skip, and how far to shift the window down. */
  readonly #windowWord: number;
  readonly #windowSkip: number;
  readonly #windowShift: number;

  constructor(family: FamilySnapshot) {
    this.#starts = family.starts;
    this.#values = family.values;
    this.#buckets = family.buckets;
    this.#common = family.common;
    this.#mask0 = leadingMask(family.commonBits);
    this.#mask1 = leadingMask(family.commonBits - 32);
    this.#mask2 = leadingMask(family.commonBits - 64);
    this.#mask3 = leadingMask(family.commonBits - 96);
    this.#windowWord = family.commonBits >>> 5;
    this.#windowSkip = family.commonBits & 31;
    this.#windowShift = 32 - family.windowBits;
  }

  lookup(word0: number, word1: number, word2: number, word3: number): number {
    const common = this.#common;
    const different =
      ((word0 ^ common[0]!) & this.#mask0) |
      ((word1 ^ common[1]!) & this.#mask1) |
      ((word2 ^ common[2]!) & this.#mask2) |
      ((word3 ^ common[3]!) & this.#mask3);
    if (different !== 0) return FDB_MISS;
    const bucket = this.#bucket(word0, word1, word2, word3);
    let low = this.#buckets[bucket]!;
    let high = this.#buckets[bucket + 1]!;
    const wanted0 = word0 >>> 0;
    const wanted1 = word1 >>> 0;
    const wanted2 = word2 >>> 0;
    const wanted3 = word3 >>> 0;
    const starts = this.#starts;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      const at = middle << 2;
      const start0 = starts[at]!;
      const start1 = starts[at + 1]!;
      const start2 = starts[at + 2]!;
      const beginsAtOrBefore =
        start0 !== wanted0
          ? start0 < wanted0
          : start1 !== wanted1
            ? start1 < wanted1
            : start2 !== wanted2
              ? start2 < wanted2
              : starts[at + 3]! <= wanted3;
      if (beginsAtOrBefore) low = middle;
      else high = middle - 1;
    }
    return this.#values[low]!;
  }

  /** The window's bits, which may straddle two words. */
  #bucket(word0: number, word1: number, word2: number, word3: number): number {
    const word = this.#windowWord;
    const upper = word === 0 ? word0 : word === 1 ? word1 : word === 2 ? word2 : word3;
    const lower = word === 0 ? word1 : word === 1 ? word2 : word === 2 ? word3 : 0;
    const skip = this.#windowSkip;
    // `lower >>> 32` would be `lower >>> 0`: split the shift so that skip 0 takes nothing from it.
    return ((upper << skip) | ((lower >>> 1) >>> (31 - skip))) >>> this.#windowShift;
  }
}

/** An int32 mask of the `bits` leading bits; all for 32 and more, none for 0 and less. */
function leadingMask(bits: number): number {
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : ~(0xffffffff >>> bits);
}
