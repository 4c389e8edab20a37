/** What a person is told of leases: one sentence each, and what to do about it. */
import { WarrenError } from '../errors.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import type { IndexedClaim } from './claim-index.ts';

/** More would not be read. */
export const MAX_PROBLEMS = 20;

export function formatSubnet(prefixes: readonly Prefix[]): string {
  return prefixes.map(formatPrefix).join(' and ');
}

export function exhaustedText(subnetCount: number): string {
  return `no subnet is free: all ${subnetCount} of cluster.podCidrs are leased or reserved`;
}

/** `advice`: what is cut off, and what helps. */
export function lostText(
  prefixes: readonly Prefix[],
  rival: IndexedClaim | undefined,
  advice: string,
): string {
  const winner = rival?.name ?? 'another node';
  return `${formatSubnet(prefixes)} is also leased by ${winner}, which keeps it: ${advice}`;
}

export function misfitText({ name, lease }: IndexedClaim): string {
  const prefixes = formatSubnet(lease.prefixes);
  return `${name} leases ${prefixes}, which is no subnet of cluster.podCidrs here: compare the configurations`;
}

/** This node's own lease, as it is stored or was assigned. */
export function leaseMisfit(prefixes: readonly Prefix[], hint: string): WarrenError {
  const subnet = formatSubnet(prefixes);
  return new WarrenError('LEASE_MISFIT', `this node's lease ${subnet} is no subnet of cluster.podCidrs`, {
    hint,
  });
}

export const STORED_MISFIT_HINT =
  'Put cluster.podCidrs and cluster.nodePrefixLengths back as they were; or, if the pod network is to ' +
  'change, remove all pods and then lease.json in node.stateDir, on every node.';

/** This node's own lease is not believed, or would not be. */
export function pendingText(id: string): string {
  return `this node is not admitted to the cluster, so it has no subnet: \`warren node approve ${id}\` on a node of cluster.approvers`;
}
