/** IP prefixes (subnets) and their arithmetic, for the control plane. */
import { WarrenError } from '../errors.ts';
import { addressBits, type Family, formatAddress, type IpAddress, parseAddress } from './address.ts';

export interface Prefix {
  readonly family: Family;
  /** The network address; host bits are zero. */
  readonly value: bigint;
  /** 0 to 32 (IPv4) or 128 (IPv6). */
  readonly length: number;
}

/** Parses `10.42.0.0/16`. Host bits that are set are an error, whose hint names the prefix meant. */
export function parsePrefix(text: string): Prefix {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  if (!match)
    throw new WarrenError('PREFIX_INVALID', `"${text}" is not a prefix like 10.42.0.0/16 or fd42::/48`);
  const address = parseAddress(match[1]!);
  const length = Number(match[2]);
  if (length > addressBits(address.family)) {
    throw new WarrenError('PREFIX_INVALID', `"${text}": the length is over ${addressBits(address.family)}`);
  }
  const prefix = prefixOf(address, length);
  if (prefix.value !== address.value) {
    throw new WarrenError(
      'PREFIX_INVALID',
      `"${text}" has host bits set; did you mean ${formatPrefix(prefix)}?`,
    );
  }
  return prefix;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`;
}

/** The prefix of `length` bits that holds `address`. */
export function prefixOf(address: IpAddress, length: number): Prefix {
  const hostBits = BigInt(addressBits(address.family) - length);
  return { family: address.family, value: (address.value >> hostBits) << hostBits, length };
}

/** The prefix that holds `address` alone: /32 or /128. */
export function hostPrefix(address: IpAddress): Prefix {
  return { family: address.family, value: address.value, length: addressBits(address.family) };
}

export function prefixContains(prefix: Prefix, address: IpAddress): boolean {
  return prefix.family === address.family && prefixOf(address, prefix.length).value === prefix.value;
}

export function prefixCovers(outer: Prefix, inner: Prefix): boolean {
  return inner.length >= outer.length && prefixContains(outer, inner);
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return prefixCovers(a, b) || prefixCovers(b, a);
}

export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.value === b.value && a.length === b.length;
}

/** How many subnets of `length` bits `range` holds. */
export function subnetCount(range: Prefix, length: number): bigint {
  return length < range.length ? 0n : 1n << BigInt(length - range.length);
}

/** Subnet number `index` (from 0) of `length` bits in `range`. */
export function nthSubnet(range: Prefix, length: number, index: bigint): Prefix {
  const value = range.value + (index << BigInt(addressBits(range.family) - length));
  return { family: range.family, value, length };
}

/** How many addresses `prefix` holds, the network and broadcast addresses included. */
export function addressCount(prefix: Prefix): bigint {
  return 1n << BigInt(addressBits(prefix.family) - prefix.length);
}

/** Address number `index` (from 0, the network address itself) of `prefix`. */
export function nthAddress(prefix: Prefix, index: bigint): IpAddress {
  return { family: prefix.family, value: prefix.value + index };
}
