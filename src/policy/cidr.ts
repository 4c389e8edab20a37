/** The blocks of addresses that a policy names: as text, and as prefixes none of which overlaps another. */
import { WarrenError } from '../errors.ts';
import { addressBits, parseAddress } from '../ip/address.ts';
import { type Prefix, prefixCovers, prefixesOverlap, prefixOf } from '../ip/prefix.ts';

/** Parses `10.0.0.0/8`. As with Kubernetes, bits of the host may be set and do not matter. Throws PREFIX_INVALID. */
export function parseCidr(text: string): Prefix {
  const [, address, digits] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  if (address === undefined) {
    throw new WarrenError('PREFIX_INVALID', `"${text}" is not a block like 10.0.0.0/8 or fd00::/8`);
  }
  const parsed = parseAddress(address);
  const length = Number(digits);
  if (length > addressBits(parsed.family)) {
    throw new WarrenError('PREFIX_INVALID', `"${text}": the length is over ${addressBits(parsed.family)}`);
  }
  return prefixOf(parsed, length);
}

/**
 * What is in `whole` and in none of `except`, as the fewest prefixes, in the order of their addresses. Each step halves
 * the block, so there are at most as many prefixes as the lengths of `except` have bits more than that of `whole`.
 */
export function without(whole: Prefix, except: readonly Prefix[]): Prefix[] {
  const inside = except.filter((one) => prefixesOverlap(whole, one));
  if (inside.length === 0) return [whole];
  if (inside.some((one) => prefixCovers(one, whole))) return [];
  return halves(whole).flatMap((half) => without(half, inside));
}

function halves({ family, value, length }: Prefix): Prefix[] {
  const upper = value + (1n << BigInt(addressBits(family) - length - 1));
  return [
    { family, value, length: length + 1 },
    { family, value: upper, length: length + 1 },
  ];
}
