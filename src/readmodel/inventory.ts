/** What all nodes have attached, as far as this node knows. */
import { formatAddress } from '../ip/address.ts';
import type { ReadModelSources } from './ports.ts';
import type { InventoryReport } from './reports.ts';

/** By node, then by name; this node stands first. */
export function inventoryReports({
  members,
  inventory,
}: Pick<ReadModelSources, 'members' | 'inventory'>): InventoryReport[] {
  return Array.from(inventory.entries(), ({ nodeId, status, entry }) => ({
    isOwn: nodeId === members.id,
    report: {
      node: members.name(nodeId) ?? nodeId,
      status,
      name: entry.name,
      addresses: entry.addresses.map(formatAddress),
      ...(entry.network !== '' && { network: entry.network }),
      ...(Object.keys(entry.labels).length > 0 && { labels: entry.labels }),
    },
  }))
    .sort(
      (a, b) =>
        Number(b.isOwn) - Number(a.isOwn) ||
        compareTexts(a.report.node, b.report.node) ||
        compareTexts(a.report.name, b.report.name),
    )
    .map(({ report }) => report);
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
