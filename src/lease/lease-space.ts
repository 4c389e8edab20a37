/**
 * The subnets a node can lease. With an IPv4 and an IPv6 range, subnet number i is the i-th of both together,
 * and the smaller range says how many there are. Subnets are numbered, never listed: a range may hold 2^64. An
 * orchestrator may hand out the i-th of one range with the j-th of the other: then both numbers are taken.
 */
import type { PodRange } from '../config/config.ts';
import { addressBits } from '../ip/address.ts';
import { nthSubnet, type Prefix, prefixCovers, subnetCount } from '../ip/prefix.ts';

/** More subnets than nodes will ever be; keeps numbers exact. */
const MAX_SUBNETS = 2 ** 32;

export class LeaseSpace {
  readonly #ranges: readonly PodRange[];
  /** Subnets are numbered from 0 to this less 1. */
  readonly count: number;

  constructor(ranges: readonly PodRange[]) {
    this.#ranges = ranges;
    const counts = ranges.map(({ range, nodePrefixLength }) => Number(subnetCount(range, nodePrefixLength)));
    this.count = counts.length === 0 ? 0 : Math.min(MAX_SUBNETS, ...counts);
  }

  /** One prefix per range. */
  prefixes(index: number): Prefix[] {
    return this.#ranges.map(({ range, nodePrefixLength }) =>
      nthSubnet(range, nodePrefixLength, BigInt(index)),
    );
  }

  /** The number of the subnet that `prefixes` are, all of them; undefined if they are no subnet of ours. */
  indexOf(prefixes: readonly Prefix[]): number | undefined {
    if (prefixes.length !== this.#ranges.length) return undefined;
    const [index, ...others] = this.touched(prefixes);
    if (index === undefined || others.length > 0 || index >= this.count) return undefined;
    return this.isSubnet(prefixes) ? index : undefined;
  }

  /** Whether `prefixes` are what a node can have: one of each range, each as large as a node's, whatever their numbers. */
  isSubnet(prefixes: readonly Prefix[]): boolean {
    const families = new Set(prefixes.map(({ family }) => family));
    return (
      prefixes.length === this.#ranges.length &&
      families.size === prefixes.length &&
      prefixes.every((prefix) => this.#indexIn(prefix) !== undefined)
    );
  }

  /** The numbers of the subnets that any of `prefixes` is: another node may have other ranges configured. */
  touched(prefixes: readonly Prefix[]): Set<number> {
    const touched = new Set<number>();
    for (const prefix of prefixes) {
      const index = this.#indexIn(prefix);
      if (index !== undefined) touched.add(index);
    }
    return touched;
  }

  #indexIn(prefix: Prefix): number | undefined {
    for (const { range, nodePrefixLength } of this.#ranges) {
      if (prefix.length !== nodePrefixLength || !prefixCovers(range, prefix)) continue;
      const hostBits = BigInt(addressBits(range.family) - nodePrefixLength);
      const index = (prefix.value - range.value) >> hostBits;
      return index < BigInt(MAX_SUBNETS) ? Number(index) : undefined;
    }
    return undefined;
  }
}
