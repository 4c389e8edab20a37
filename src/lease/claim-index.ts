/** Which nodes claim which subnets, kept up to date member by member. Bounded by the member table. */
import { type Prefix, samePrefix } from '../ip/prefix.ts';
import type { LeaseClaim, Member } from '../membership/types.ts';
import type { Claimant } from './conflict-rule.ts';
import type { LeaseSpace } from './lease-space.ts';

export interface IndexedClaim extends Claimant {
  readonly name: string;
  readonly lease: LeaseClaim;
  /** Dead and left nodes keep their leases for a while, and are not routed to. */
  readonly isReachable: boolean;
  /** Whether it is a subnet of the ranges configured here. */
  readonly fits: boolean;
  /** The subnets that nobody else can have because of it. */
  readonly touched: ReadonlySet<number>;
}

export class ClaimIndex {
  readonly #space: LeaseSpace;
  readonly #byNode = new Map<string, IndexedClaim>();
  readonly #bySubnet = new Map<number, Set<IndexedClaim>>();

  constructor(space: LeaseSpace) {
    this.#space = space;
  }

  /** The subnets whose claims are no longer what they were. */
  update(member: Member): ReadonlySet<number> {
    const changed = new Set(this.remove(member.id));
    if (!member.lease) return changed;
    const claim: IndexedClaim = {
      id: member.id,
      name: member.name,
      lease: member.lease,
      isReachable: member.status === 'alive' || member.status === 'suspect',
      fits: this.#space.isSubnet(member.lease.prefixes),
      touched: this.#space.touched(member.lease.prefixes),
    };
    this.#byNode.set(member.id, claim);
    for (const index of claim.touched) {
      const claims = this.#bySubnet.get(index) ?? new Set();
      this.#bySubnet.set(index, claims.add(claim));
      changed.add(index);
    }
    return changed;
  }

  remove(id: string): ReadonlySet<number> {
    const claim = this.#byNode.get(id);
    if (!claim) return new Set();
    this.#byNode.delete(id);
    for (const index of claim.touched) {
      const claims = this.#bySubnet.get(index);
      claims?.delete(claim);
      if (claims?.size === 0) this.#bySubnet.delete(index);
    }
    return claim.touched;
  }

  at(index: number): ReadonlySet<IndexedClaim> {
    return this.#bySubnet.get(index) ?? NOBODY;
  }

  /** Claims of others on any of the prefixes of this one. */
  *besides(claim: Pick<IndexedClaim, 'id' | 'lease' | 'touched'>): Iterable<IndexedClaim> {
    for (const index of claim.touched) {
      for (const other of this.at(index)) {
        if (other.id !== claim.id && overlap(other.lease.prefixes, claim.lease.prefixes)) yield other;
      }
    }
  }

  claims(): IterableIterator<IndexedClaim> {
    return this.#byNode.values();
  }
}

function overlap(some: readonly Prefix[], others: readonly Prefix[]): boolean {
  return some.some((one) => others.some((other) => samePrefix(one, other)));
}

const NOBODY: ReadonlySet<IndexedClaim> = new Set();
