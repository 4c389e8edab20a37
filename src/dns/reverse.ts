/**
 * Names of addresses (RFC 1035, section 3.5; RFC 3596, section 2.5):
 *
 *     10.42.3.2              2.3.42.10.in-addr.arpa
 *     fd42:0:0:3::2          2.0.0.0. ... .2.4.d.f.ip6.arpa       32 digits
 */
import type { Family, IpAddress } from '../ip/address.ts';
import { type Prefix, prefixCovers } from '../ip/prefix.ts';

interface Tree {
  readonly family: Family;
  readonly suffix: string;
  readonly labelBits: number;
  readonly labels: number;
  readonly radix: 10 | 16;
}

const TREES: readonly Tree[] = [
  { family: 4, suffix: '.in-addr.arpa', labelBits: 8, labels: 4, radix: 10 },
  { family: 6, suffix: '.ip6.arpa', labelBits: 4, labels: 32, radix: 16 },
];

export interface ReverseName {
  /** Undefined: the name is of no single address. */
  readonly address: IpAddress | undefined;
  /** It is of a range of addresses: there may be names below it. */
  readonly isRange: boolean;
  /** The part of the tree that this node answers for, as a name. */
  readonly zone: string;
}

/**
 * What `name` (lower case) stands for, if that is in one of `ranges`; undefined for everything else: the names above
 * them are others'.
 */
export function reverseName(name: string, ranges: readonly Prefix[]): ReverseName | undefined {
  const tree = TREES.find(({ suffix }) => name.endsWith(suffix));
  if (!tree) return undefined;
  // The last one is the first part of the address.
  const labels = name.slice(0, -tree.suffix.length).split('.').reverse();
  const numbers: bigint[] = [];
  for (const label of labels.slice(0, tree.labels)) {
    const value = labelValue(label, tree);
    if (value === undefined) break;
    numbers.push(BigInt(value));
  }
  const bits = tree.labels * tree.labelBits;
  const length = numbers.length * tree.labelBits;
  const value = numbers.reduce((sum, one) => (sum << BigInt(tree.labelBits)) | one, 0n);
  const prefix: Prefix = { family: tree.family, value: value << BigInt(bits - length), length };
  const range = ranges.find((one) => prefixCovers(one, prefix));
  if (!range) return undefined;
  const isNumber = numbers.length === labels.length;
  const zoneLabels = Math.max(1, Math.ceil(range.length / tree.labelBits));
  return {
    address: isNumber && length === bits ? { family: prefix.family, value: prefix.value } : undefined,
    isRange: isNumber && length < bits,
    zone: labels.slice(0, zoneLabels).reverse().join('.') + tree.suffix,
  };
}

function labelValue(label: string, { radix, labelBits }: Tree): number | undefined {
  const isNumber = radix === 10 ? /^(?:0|[1-9][0-9]{0,2})$/.test(label) : /^[0-9a-f]$/.test(label);
  const value = isNumber ? Number.parseInt(label, radix) : Number.NaN;
  return value < 2 ** labelBits ? value : undefined;
}
