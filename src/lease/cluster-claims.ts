/**
 * Every node's claim as membership reports it, and the conflict rule applied to them: who owns a subnet, which are
 * taken, and who is in conflict with this node's own claim. Every LeaseSource uses it, so that nodes that get theirs in
 * different ways agree on all of them.
 */
import { type AdmissionGate, type ChangedNodes, concerns, everybody } from '../admission/gate.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Membership } from '../membership/membership.ts';
import type { LeaseClaim, Member } from '../membership/types.ts';
import { ClaimIndex, type IndexedClaim } from './claim-index.ts';
import { compareClaims } from './conflict-rule.ts';
import type { Assignments, Owner } from './lease-source.ts';
import type { LeaseSpace } from './lease-space.ts';

export interface ClusterClaimsOptions {
  readonly membership: Membership;
  readonly space: LeaseSpace;
  /** A node that it does not admit claims nothing. */
  readonly admission?: AdmissionGate | undefined;
  /** What an orchestrator says of who was assigned what. */
  readonly assignments?: Assignments | undefined;
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
  /** Ids of members that claim what they were not assigned. Bounded by the member table. */
  readonly #contradicted = new Set<string>();

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
    this.#options.assignments?.on('change', this.#onAssignments);
    this.#membership.on('change', this.#onChange);
    this.#membership.on('removed', this.#onRemoved);
  }

  stop(): void {
    this.#admission.off('change', this.#onAdmission);
    this.#options.assignments?.off('change', this.#onAssignments);
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

  /** The best claim of another node on this subnet that this node's own does not beat; undefined without one of its own. */
  rival(prefixes: readonly Prefix[]): IndexedClaim | undefined {
    const announced: LeaseClaim | undefined = this.#membership.self().lease;
    if (prefixes.length === 0 || !announced) return undefined;
    const { lease = announced } = this.#believed(this.#membership.self());
    const own = {
      id: this.#membership.id,
      lease: { ...lease, prefixes },
      touched: this.#space.touched(prefixes),
    };
    // The lease of a node that is away binds newcomers, and who was forgotten is one, whatever pods it has; a node
    // that is established waits for the other's return.
    const isBound = lease.state === 'claiming';
    return firstByRule(
      [...this.#index.besides(own)].filter(
        (claim) => (isBound || claim.isReachable) && compareClaims(claim, own) < 0,
      ),
    );
  }

  /**
   * Who has which subnet: nodes that are alive or suspect and whose lease is active, this one only if `isOwnActive`.
   * One owner for each prefix.
   */
  owners(isOwnActive: boolean): Owner[] {
    const owners: Owner[] = [];
    for (const claim of this.#index.claims()) {
      if (!claim.fits || !this.#wins(claim)) continue;
      if (claim.id === this.#membership.id && !isOwnActive) continue;
      for (const prefix of claim.lease.prefixes) owners.push({ prefix, memberId: claim.id });
    }
    return owners;
  }

  /** More than any lease on this subnet had that ran out while its owner was away (LeaseClaim.reclaims). */
  reclaimsOf(prefixes: readonly Prefix[]): number {
    const wanted = this.#space.touched(prefixes);
    const sameSubnet = this.#membership
      .expiredLeases()
      .filter((lease) => [...this.#space.touched(lease.prefixes)].some((index) => wanted.has(index)));
    return Math.max(0, ...sameSubnet.map(({ reclaims }) => reclaims + 1));
  }

  /** Whether it may be routed to: nobody has the better claim to any of its prefixes. */
  #wins(claim: IndexedClaim): boolean {
    if (!claim.isReachable || !isActive(claim)) return false;
    for (const other of this.#index.besides(claim)) {
      if (other.isReachable && isActive(other) && compareClaims(other, claim) < 0) return false;
    }
    return true;
  }

  /** Reachable nodes whose claims are not in this node's ranges: their configuration differs from this node's. */
  misfits(): IndexedClaim[] {
    return [...this.#index.claims()].filter((claim) => !claim.fits && claim.isReachable);
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

  readonly #onAssignments = () => {
    const subnets = new Set<number>();
    for (const member of this.#membership.members()) {
      if (this.#isContradicted(member) === this.#contradicted.has(member.id)) continue;
      for (const index of this.#index.update(this.#believed(member))) subnets.add(index);
    }
    if (subnets.size > 0) this.#options.onChange(subnets);
  };

  #believed(member: Member): Member {
    if (!this.#admission.admits(member.id)) return { ...member, lease: undefined };
    if (!this.#isContradicted(member)) {
      this.#contradicted.delete(member.id);
      return member;
    }
    this.#contradicted.add(member.id);
    const { isAssigned: _, ...lease } = member.lease!;
    return { ...member, lease };
  }

  #isContradicted(member: Member): boolean {
    return (member.lease?.isAssigned && this.#options.assignments?.contradicts(member)) ?? false;
  }

  readonly #onRemoved = (member: Member) => {
    this.#contradicted.delete(member.id);
    this.#options.onFreed(this.#index.remove(member.id));
  };
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
