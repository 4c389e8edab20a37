/**
 * Where this node's own pod subnet comes from, and who has which other. The lease manager settles it over gossip;
 * an orchestrator that hands out subnets itself can take its place.
 */
import type { AdmissionGate } from '../admission/gate.ts';
import type { Clock } from '../clock.ts';
import type { PodRange } from '../config/config.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { Membership } from '../membership/membership.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { Member } from '../membership/types.ts';
import type { LeaseStore } from './lease-store.ts';

/** What every lease source needs. */
export interface LeaseSourceOptions {
  readonly membership: Membership;
  /** Whose leases count; absent: everybody's. */
  readonly admission?: AdmissionGate | undefined;
  readonly podCidrs: readonly PodRange[];
  /** What an orchestrator says of others' subnets; absent: nothing. */
  readonly assignments?: Assignments | undefined;
  readonly store: LeaseStore;
  /** Whether pods have addresses out of this node's lease. */
  readonly hasPods: () => boolean;
  readonly logger: Logger;
  /** The same as membership's. */
  readonly clock?: Clock;
  readonly timing?: MembershipTiming;
}

/** An orchestrator's word, where it can be asked: it counts for more than what a node says that it was assigned. */
export interface Assignments {
  /** Whether the orchestrator knows this node, and has given it other subnets than it claims. */
  contradicts(member: Member): boolean;
  /** It may say otherwise now. */
  on(event: 'change', listener: () => void): unknown;
  off(event: 'change', listener: () => void): unknown;
}

/**
 * joining: not known yet. claiming: asked for, not settled. active: pods may start. lost: another node has it too and
 * keeps it. exhausted: none is free. released: given back for good. pending: this node is not admitted (admission/), so
 * nobody would believe its lease.
 */
export type LeaseStatus = 'joining' | 'claiming' | 'active' | 'lost' | 'exhausted' | 'released' | 'pending';

export interface LeaseState {
  readonly status: LeaseStatus;
  /** Empty while joining without a stored lease, and when exhausted. Pods may only start when `active`. */
  readonly prefixes: readonly Prefix[];
}

export interface Owner {
  readonly prefix: Prefix;
  readonly memberId: string;
}

export interface LeaseSource {
  state(): LeaseState;
  /** One owner for each prefix; this node once its own lease is active. */
  owners(): Owner[];
  /** What a person should look at, one sentence each. */
  problems(): string[];
  /** To be called before membership starts, so that the first that others hear of this node includes its lease. */
  start(): void;
  stop(): void;
  /** To be called when the first pod was added or the last one removed. */
  podsChanged(): void;
  /** Gives the subnet back for good. Throws STATE_UNWRITABLE, and has kept it then. */
  release(): void;
  /** `state` or `owners` may be others now. */
  on(event: 'change', listener: () => void): unknown;
  off(event: 'change', listener: () => void): unknown;
}
