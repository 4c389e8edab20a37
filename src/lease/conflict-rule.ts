/**
 * Who has a subnet that two nodes claim. Every node computes this alike from the nodes' own signed claims:
 *
 *   1. A claim with pods in it wins over one without: the one without can move, and no pod notices.
 *   2. An active lease wins over a claim that has yet to settle: whoever comes late makes way.
 *   3. The older wins. A claim's age is that of the run of the agent that made it: a node that was away, and
 *      whose subnet was given to another meanwhile, comes back as the younger.
 *   4. The smaller node id wins.
 *
 * So a loser that has no pods claims another subnet. A loser that has (both sides of a partition gave out the
 * same subnet, and pods run on both) keeps them, is not routed to, and raises an alarm.
 */
import type { LeaseClaim } from '../membership/types.ts';

export interface Claimant {
  readonly id: string;
  readonly lease: LeaseClaim;
}

/** Negative if `a` has the subnet before `b`; 0 only for the same node. A total order. */
export function compareClaims(a: Claimant, b: Claimant): number {
  return (
    Number(b.lease.inUse) - Number(a.lease.inUse) ||
    Number(b.lease.state === 'active') - Number(a.lease.state === 'active') ||
    a.lease.sinceSeconds - b.lease.sinceSeconds ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}
