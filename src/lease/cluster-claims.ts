/**
 * Every node's claim as membership reports it, and the conflict rule applied to them: who owns a subnet, which are
 * taken, and who is in conflict with this node's own claim. Every LeaseSource uses it, so that nodes that get theirs in
 * different ways agree on all of them.
 */
import { type AdmissionGate, type ChangedNodes, concerns, everybody } from '../admission/gate.ts';
import type { Membership } from '../membership/membership.ts';
import type { LeaseClaim, Member } from '../membership/types.ts';
import { ClaimIndex, type IndexedClaim } from './claim-index.ts';
import { compareClaims } from './conflict-rule.ts';
import type { Owner } from './lease-source.ts';
import type { LeaseSpace } from './lease-space.ts';

export interface ClusterClaimsOptions {
  readonly membership: Membership;
  readonly space: LeaseSpace;
  /** A node that it does not admit claims nothing. */
  readonly admission?: AdmissionGate | undefined;
  /** Whether this node itself is admitted may be another answer now. */
  readonly onOwnAdmission: () => void;
  /** What another node claims, or whether it can be reached, is not what it was: for these subnets. */
  readonly onChange: (subnets: ReadonlySet<number>) => void;
  /** A node was gone for so long that its claim on these subnets is void. No owner is another because of it. */
  readonly onFreed: (subnets: ReadonlySet<number>) => void;
}

export class ClusterClaims {
  readonly #options: ClusterClaimsOptions;
  readonly #membership: Membership;
  readonly #space: LeaseSpace;
  readonly #admission: AdmissionGate;
  readonly #index: ClaimIndex;

  constructor(options: ClusterClaimsOptions) {
    this.#options = options;
    this.#membership = options.membership;
    this.#space = options.space;
    this.#admission = options.admission ?? everybody;
    this.#index = new ClaimIndex(options.space);
  }

  /** Takes up what is known, and everything that changes from now on. */
  start(): void {
    for (const member of this.#membership.members()) this.#index.update(this.#believed(member));
    this.#admission.on('change', this.#onAdmission);
    this.#membership.on('change', this.#onChange);
    this.#membership.on('removed', this.#onRemoved);
  }

  stop(): void {
    this.#admission.off('change', this.#onAdmission);
    this.#membership.off('change', this.#onChange);
    this.#membership.off('removed', this.#onRemoved);
  }

  /** Whether anybody would believe a lease of this node. */
  get isOwnAdmitted(): boolean {
    return this.#admission.admits(this.#membership.id);
  }

  /** Whether another node claims the subnet, be it one that is away. */
  isTaken(index: number): boolean {
    return [...this.#index.at(index)].some((claim) => claim.id !== this.#membership.id);
  }

  /** The best claim of another node on the subnet that this node's own does not beat; undefined without one of its own. */
  rival(index: number | undefined): IndexedClaim | undefined {
    const lease: LeaseClaim | undefined = this.#membership.self().lease;
    if (index === undefined || !lease) return undefined;
    const own = { id: this.#membership.id, lease };
    // The lease of a node that is away binds newcomers, and who was forgotten is one, whatever pods it has; a node
    // that is established waits for the other's return.
    const isBound = lease.state === 'claiming';
    return firstByRule(
      [...this.#index.at(index)].filter(
        (claim) => claim.id !== own.id && (isBound || claim.isReachable) && compareClaims(claim, own) < 0,
      ),
    );
  }

  /**
   * Who has which subnet: nodes that are alive or suspect and whose lease is active, this one only if `isOwnActive`.
   * One owner for each prefix.
   */
  owners(isOwnActive: boolean): Owner[] {
    const owners: Owner[] = [];
    for (const [index, claims] of this.#index.subnets()) {
      const winner = firstByRule([...claims].filter((claim) => claim.isReachable && isActive(claim)));
      if (!winner || winner.index !== index) continue;
      if (winner.id === this.#membership.id && !isOwnActive) continue;
      for (const prefix of this.#space.prefixes(index)) owners.push({ prefix, memberId: winner.id });
    }
    return owners;
  }

  /** More than any lease on this subnet had that ran out while its owner was away (LeaseClaim.reclaims). */
  reclaimsOf(index: number): number {
    const expired = this.#membership.expiredLeases();
    const sameSubnet = expired.filter(({ prefixes }) => this.#space.touched(prefixes).has(index));
    return Math.max(0, ...sameSubnet.map(({ reclaims }) => reclaims + 1));
  }

  /** Reachable nodes whose claims are not in this node's ranges: their configuration differs from this node's. */
  misfits(): IndexedClaim[] {
    return [...this.#index.claims()].filter((claim) => claim.index === undefined && claim.isReachable);
  }

  readonly #onChange = (member: Member, previous: Member | undefined) => {
    if (member.lease === previous?.lease && member.status === previous?.status) return;
    const subnets = this.#index.update(this.#believed(member));
    if (member.id !== this.#membership.id) this.#options.onChange(subnets);
  };

  readonly #onAdmission = (nodes: ChangedNodes) => {
    const subnets = new Set<number>();
    const members =
      nodes === 'all' ? this.#membership.members() : [...nodes].map((id) => this.#membership.member(id));
    for (const member of members) {
      if (!member) continue;
      for (const index of this.#index.update(this.#believed(member))) subnets.add(index);
    }
    if (concerns(nodes, this.#membership.id)) this.#options.onOwnAdmission();
    this.#options.onChange(subnets);
  };

  #believed(member: Member): Member {
    return this.#admission.admits(member.id) ? member : { ...member, lease: undefined };
  }

  readonly #onRemoved = (member: Member) => this.#options.onFreed(this.#index.remove(member.id));
}

function isActive(claim: IndexedClaim): boolean {
  return claim.lease.state === 'active';
}

function firstByRule(claims: readonly IndexedClaim[]): IndexedClaim | undefined {
  let first: IndexedClaim | undefined;
  for (const claim of claims) {
    if (!first || compareClaims(claim, first) < 0) first = claim;
  }
  return first;
}
