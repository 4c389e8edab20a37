/**
 * Which attachments of this node may reach whom: those of one network each other, on all hosts, and besides the networks that
 * their own names, if those name theirs too, as each end has rules of its own. An address that nobody lists is in no group.
 */
import { createHash } from 'node:crypto';
import type { Attachment } from '../attachment/attachment.ts';
import type { IsolatedGroup } from '../host/rules/network-isolation.ts';
import { reachOf } from '../inventory/workload.ts';
import { formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';

/** `--opt warren.reach=*`: there are no rules. */
const ALL = '*';

export interface ListedAttachment {
  readonly network: string;
  readonly addresses: readonly IpAddress[];
}

interface Group {
  readonly key: string;
  readonly interfaces: string[];
  readonly networks: readonly string[];
  /** By their text. */
  readonly reachable: Map<string, IpAddress>;
}

/**
 * `isolated`: those of this node that get rules. `listed`: all that are known anywhere, of this node too. `left`: addresses
 * that groups may reach besides, by their keys.
 */
export function planIsolation(
  isolated: readonly Attachment[],
  listed: Iterable<ListedAttachment>,
  left: ReadonlyMap<string, readonly string[]> = new Map(),
): IsolatedGroup[] {
  const groups = new Map<string, Group>();
  for (const attachment of isolated) {
    const { network, labels } = attachment;
    const reach = reachOf(labels);
    if (reach.includes(ALL)) continue;
    const networks = [...new Set([network, ...reach.toSorted()])];
    const key = keyOf(networks);
    const group: Group = groups.get(key) ?? { key, interfaces: [], networks, reachable: new Map() };
    groups.set(key, group);
    group.interfaces.push(attachment.hostInterface);
  }
  const byNetwork = new Map<string, Group[]>();
  for (const group of groups.values())
    for (const network of group.networks) byNetwork.set(network, [...(byNetwork.get(network) ?? []), group]);
  if (groups.size > 0)
    for (const { network, addresses } of listed)
      for (const { reachable } of byNetwork.get(network) ?? [])
        for (const address of addresses) reachable.set(formatAddress(address), address);
  for (const { key, reachable } of groups.values())
    for (const text of left.get(key) ?? []) if (!reachable.has(text)) reachable.set(text, parseAddress(text));
  return [...groups.values()].map(({ key, interfaces, reachable }) => ({
    key,
    interfaces,
    reachable: [...reachable.values()],
  }));
}

/** Names of networks have no slashes. */
function keyOf(networks: readonly string[]): string {
  return createHash('sha256').update(networks.join('/')).digest('hex').slice(0, 16);
}
