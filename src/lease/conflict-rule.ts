/**
 * Who has a subnet that two nodes claim. Every node computes this alike from the nodes' own signed claims:
 *
 *   1. What an orchestrator has assigned wins over what was leased: the orchestrator hears of no claim.
 *   2. A claim with pods in it wins over one without: the one without can move, and no pod notices.
 *   3. An active lease wins over a claim that has yet to settle: the later one gives way.
 *   4. The one with more reclaims wins: it was given the subnet after the other's lease had run out.
 *   5. The older wins, counted from the start of the run of the agent that made it.
 *   6. The smaller node id wins.
 *
 * So a loser that has no pods claims another subnet. A loser that has (both sides of a partition gave out the
 * same subnet, and pods run on both) keeps them, is not routed to, and raises an alarm.
 *
 * Reclaims are a fence. A lease is kept for an absent owner until it has been gone for cluster.leaseTtl. Who
 * takes the subnet after that claims it with one reclaim more than the lease that ran out, which all remember for
 * long after (membership/timing.ts, memoryMs). When the former owner returns, be it after a year and never
 * restarted, its claim is the lower one.
 *
 * A partition that outlasts leaseTtl has two sides, and each lets the other's leases run out: no node in it can
 * tell whether it is the others that are away. What follows from that is kept to the subnets that were taken
 * meanwhile. Everyone else has the lease it had, with nothing to claim anew: were every expiry to void the claims
 * of its node, as `warren forget` does, then one node that was cut off for too long would void the leases of the
 * whole cluster when it returns. Where a subnet was taken, the taker wins on both sides, whichever was larger: it
 * had the rule's word that the subnet was free, and the size of a side is nothing that both know alike. If both
 * sides took the subnet of a third node that is gone, rules 5 and 6 decide.
 */
import type { LeaseClaim } from '../membership/types.ts';

export interface Claimant {
  readonly id: string;
  readonly lease: LeaseClaim;
}

/** Negative if `a` has the subnet before `b`; 0 only for the same node. A total order. */
export function compareClaims(a: Claimant, b: Claimant): number {
  return (
    Number(b.lease.isAssigned ?? false) - Number(a.lease.isAssigned ?? false) ||
    Number(b.lease.inUse) - Number(a.lease.inUse) ||
    Number(b.lease.state === 'active') - Number(a.lease.state === 'active') ||
    b.lease.reclaims - a.lease.reclaims ||
    a.lease.sinceSeconds - b.lease.sinceSeconds ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}
