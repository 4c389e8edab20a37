/** What other nodes may try to reach on this one. */
import { formatAddress } from '../ip/address.ts';
import type { ReadModelSources } from './ports.ts';
import type { NodeTargets } from './reports.ts';

export function ownTargets({
  facts,
  own,
  pods,
}: Pick<ReadModelSources, 'facts' | 'own' | 'pods'>): NodeTargets {
  return {
    node: facts.name,
    addresses: own.addresses().map(formatAddress),
    pods: pods.list().map(({ name, addresses }) => ({ name, addresses })),
  };
}
