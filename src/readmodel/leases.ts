/** Who has which subnet, as everybody says of himself: the picture of the pod range, with those that two claim. */
import { formatPrefix, type Prefix, prefixContains } from '../ip/prefix.ts';
import type { ReadModelSources } from './ports.ts';
import type { LeasesReport, NodeLeaseReport } from './reports.ts';

export function leasesReport({
  ranges,
  claims,
  members,
}: Pick<ReadModelSources, 'ranges' | 'claims' | 'members'>): LeasesReport {
  const all = claims();
  /** By subnet; two nodes' are of the same length. */
  const owners = new Map<string, string[]>();
  for (const { id, prefixes } of all)
    for (const text of prefixes.map(formatPrefix)) owners.set(text, [...(owners.get(text) ?? []), id]);
  return {
    ranges: ranges.map(({ range, nodePrefixLength }) => ({ range: formatPrefix(range), nodePrefixLength })),
    leases: all
      .map(({ id, name, status, state, prefixes, sinceSeconds, inUse }): NodeLeaseReport => {
        const subnets = prefixes.map(formatPrefix);
        const rivals = new Set(subnets.flatMap((text) => owners.get(text)!).filter((other) => other !== id));
        return {
          node: name,
          id,
          status,
          state,
          subnets,
          slots: prefixes.map((prefix) => slotOf(ranges, prefix)),
          sinceSeconds,
          inUse,
          conflicts: [...rivals].map((other) => members.name(other) ?? other),
        };
      })
      .sort((a, b) => (a.node < b.node ? -1 : Number(a.node > b.node))),
  };
}

/** The how-manieth subnet of its range it is, from 0; null: of none, or beyond what a number holds exactly. */
function slotOf(
  ranges: ReadModelSources['ranges'],
  { family, value }: Prefix,
): { readonly range: number; readonly index: number } | null {
  const range = ranges.findIndex(
    (one) => one.range.family === family && prefixContains(one.range, { family, value }),
  );
  if (range < 0) return null;
  const { range: whole, nodePrefixLength } = ranges[range]!;
  const bits = BigInt((family === 4 ? 32 : 128) - nodePrefixLength);
  const index = (value - whole.value) >> bits;
  return index <= BigInt(Number.MAX_SAFE_INTEGER) ? { range, index: Number(index) } : null;
}
