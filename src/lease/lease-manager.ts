/**
 * This node's pod subnet, and everyone else's.
 *
 *                 nothing stored, or only a claim
 *     joining ------------------------------------> claiming --- settled ---> active
 *        |                                           |    ^                   |    ^
 *        | lease stored                       beaten |    | one is free       |    | rival gone
 *        |                                           v    |                   v    |
 *        +--> active                               exhausted             beaten: with pods, lost;
 *                                                                        without, claiming anew
 *
 * A node that was forgotten (membership/tombstones.ts) goes back from wherever it is to claiming. One that leaves
 * for good (`warren leave`) has released its subnet, which is free at once.
 *
 * A claim is written to disk, then announced, then shown to the nodes this one joined through and to some
 * more; it settles when that is done, the news had time to spread, and nobody with a better claim
 * (conflict-rule.ts) has been heard of.
 */
import { EventEmitter } from 'node:events';
import { type Clock, realClock, type Timer, TimerGroup } from '../clock.ts';
import type { PodRange } from '../config/config.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { Membership } from '../membership/membership.ts';
import { type MembershipTiming, timingPresets } from '../membership/timing.ts';
import type { LeaseClaim, Member } from '../membership/types.ts';
import { ClaimIndex, type IndexedClaim } from './claim-index.ts';
import { compareClaims } from './conflict-rule.ts';
import type { LeaseSource, LeaseState, LeaseStatus, Owner } from './lease-source.ts';
import { LeaseSpace } from './lease-space.ts';
import type { LeaseStore } from './lease-store.ts';
import { preferredSubnet } from './preference.ts';

export interface LeaseManagerOptions {
  readonly membership: Membership;
  readonly podCidrs: readonly PodRange[];
  readonly store: LeaseStore;
  /** Whether pods have addresses out of this node's lease. */
  readonly hasPods: () => boolean;
  readonly logger: Logger;
  /** The same as membership's. */
  readonly clock?: Clock;
  readonly timing?: MembershipTiming;
}

interface LeaseEvents {
  /** `state` or `owners` may be others now. */
  change: [];
}

/** How many random nodes a claim is shown to, besides those this node joined through. */
const SHOWN_TO = 5;

export class LeaseManager extends EventEmitter<LeaseEvents> implements LeaseSource {
  readonly #options: LeaseManagerOptions;
  readonly #membership: Membership;
  readonly #timing: MembershipTiming;
  readonly #clock: Clock;
  readonly #timers: TimerGroup;
  readonly #space: LeaseSpace;
  readonly #claims: ClaimIndex;
  #status: LeaseStatus = 'joining';
  #index: number | undefined;
  #sinceSeconds = 0;
  #reclaims = 0;
  #settle: Timer | undefined;
  /** Since when no rival is there for the lease that is lost. */
  #unrivalledSinceMs: number | undefined;
  #diskProblem: string | undefined;
  #isEvaluating = false;
  #isEvaluationDue = false;
  #isStopped = false;

  constructor(options: LeaseManagerOptions) {
    super();
    this.#options = options;
    this.#membership = options.membership;
    this.#timing = options.timing ?? timingPresets.lan;
    this.#clock = options.clock ?? realClock;
    this.#timers = new TimerGroup(this.#clock);
    this.#space = new LeaseSpace(options.podCidrs);
    this.#claims = new ClaimIndex(this.#space);
  }

  /**
   * Takes up the stored lease, if there is one, and begins to look after it. To be called before
   * `membership.start`, so that the first that others hear of this node includes its lease. Throws
   * STATE_CORRUPT, or LEASE_MISFIT when the stored lease is no subnet of `podCidrs`.
   */
  start(): void {
    const stored = this.#options.store.load();
    this.#sinceSeconds = Math.floor(this.#clock.wallTime() / 1000);
    if (stored) {
      this.#index = this.#space.indexOf(stored.prefixes);
      if (this.#index === undefined) throw this.#misfit(stored.prefixes);
      this.#reclaims = stored.reclaims;
      this.#announce(stored.state);
    }
    for (const member of this.#membership.members()) this.#noteClaim(member);
    this.#membership.on('change', this.#onChange);
    this.#membership.on('removed', this.#onRemoved);
    this.#membership.on('outcome', this.#onOutcome);
    this.#membership.on('forgotten', this.#onForgotten);
    this.#evaluate();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timers.close();
    this.#membership.off('change', this.#onChange);
    this.#membership.off('removed', this.#onRemoved);
    this.#membership.off('outcome', this.#onOutcome);
    this.#membership.off('forgotten', this.#onForgotten);
  }

  state(): LeaseState {
    return {
      status: this.#status,
      prefixes: this.#index === undefined ? [] : this.#space.prefixes(this.#index),
    };
  }

  /**
   * Who has which subnet, by the conflict rule: nodes that are alive or suspect and whose lease is active,
   * this one included once its own is. One owner for each prefix.
   */
  owners(): Owner[] {
    const owners: Owner[] = [];
    for (const [index, claims] of this.#claims.subnets()) {
      const winner = firstByRule([...claims].filter((claim) => claim.isReachable && isActive(claim)));
      if (!winner || winner.index !== index) continue;
      if (winner.id === this.#membership.id && this.#status !== 'active') continue;
      for (const prefix of this.#space.prefixes(index)) owners.push({ prefix, memberId: winner.id });
    }
    return owners;
  }

  /** What a person should look at: a lost lease, an exhausted range, nodes configured differently. */
  problems(): string[] {
    const problems: string[] = [];
    if (this.#status === 'exhausted') {
      problems.push(`no subnet is free: all ${this.#space.count} of cluster.podCidrs are leased or reserved`);
    }
    if (this.#status === 'lost') {
      const rival = this.#rival();
      problems.push(
        `${this.#subnetText()} is also leased by ${rival?.name ?? 'another node'}, which keeps it: ` +
          "this node's pods cannot be reached from others; remove them, and it leases another subnet",
      );
    }
    for (const claim of this.#claims.claims()) {
      if (claim.index !== undefined || !claim.isReachable || problems.length >= 20) continue;
      const prefixes = claim.lease.prefixes.map(formatPrefix).join(' and ');
      problems.push(
        `${claim.name} leases ${prefixes}, which is no subnet of cluster.podCidrs here: compare the configurations`,
      );
    }
    if (this.#diskProblem) problems.push(this.#diskProblem);
    return problems;
  }

  /** To be called when the first pod was added or the last one removed: others weigh it in a conflict. */
  podsChanged(): void {
    this.#evaluate();
  }

  /**
   * Gives the subnet back for good; the node that does this is about to leave. Throws STATE_UNWRITABLE, and has
   * kept it then: it would come back with the next start.
   */
  release(): void {
    this.#options.store.clear();
    this.#settle?.cancel();
    this.#index = undefined;
    this.#isStopped = true;
    this.#membership.updateSelf({ lease: undefined });
    this.#setStatus('released');
  }

  readonly #onChange = (member: Member, previous: Member | undefined) => {
    if (member.lease === previous?.lease && member.status === previous?.status) return;
    const changed = this.#noteClaim(member);
    if (member.id === this.#membership.id) return;
    if (this.#concernsUs(changed)) this.#evaluate();
    this.emit('change');
  };

  readonly #onRemoved = (member: Member) => {
    if (this.#concernsUs(this.#claims.remove(member.id))) this.#evaluate();
  };

  readonly #onOutcome = () => this.#evaluate();

  /** Whatever this node had is void. Where pods run in it, it asks for the same again. */
  readonly #onForgotten = () => {
    if (this.#isStopped) return;
    this.#settle?.cancel();
    if (this.#index === undefined) return;
    if (this.#status !== 'joining') this.#claim(undefined);
    else if (this.#save('claiming', this.#index, () => this.#evaluate())) this.#announce('claiming');
  };

  #noteClaim(member: Member): ReadonlySet<number> {
    return this.#claims.update(member);
  }

  #concernsUs(changed: ReadonlySet<number>): boolean {
    return this.#index === undefined ? changed.size > 0 : changed.has(this.#index);
  }

  /** Brings status and claim in line with what is known; what it changes may call it again, once at a time. */
  #evaluate(): void {
    if (this.#isStopped) return;
    this.#isEvaluationDue = true;
    if (this.#isEvaluating) return;
    this.#isEvaluating = true;
    try {
      while (this.#isEvaluationDue) {
        this.#isEvaluationDue = false;
        this.#evaluateOnce();
      }
    } finally {
      this.#isEvaluating = false;
    }
  }

  #evaluateOnce(): void {
    const own = this.#ownClaim();
    if (own && own.inUse !== this.#options.hasPods()) this.#announce(own.state);
    switch (this.#status) {
      case 'joining':
        if (this.#membership.outcome === 'joining') return;
        if (own?.state === 'active') this.#hold();
        else this.#claim(this.#index);
        break;
      case 'claiming':
        this.#giveWay();
        break;
      case 'active':
      case 'lost':
        this.#hold();
        break;
      case 'exhausted':
        this.#claim(undefined);
        break;
      case 'released':
        break;
    }
  }

  /** Keeps a lease unless another node's claim on it is better. */
  #hold(): void {
    if (this.#giveWay() || this.#status === 'active') return;
    if (this.#ownClaim()?.state !== 'active') this.#claim(this.#index);
    else if (this.#status !== 'lost') this.#activate();
    else this.#resume();
  }

  /** A rival is not gone the moment that somebody says so: it gets the time to say that it is there. */
  #resume(): void {
    const now = this.#clock.now();
    this.#unrivalledSinceMs ??= now;
    const leftMs = this.#unrivalledSinceMs + this.#settleMs() - now;
    this.#settle?.cancel();
    if (leftMs <= 0) this.#activate();
    else this.#settle = this.#timers.after(leftMs, () => this.#evaluate());
  }

  /**
   * True if another node has the better claim. Then this one claims another subnet; but never while pods have
   * addresses in it, which would be cut off from under their connections.
   */
  #giveWay(): boolean {
    const rival = this.#rival();
    if (!rival) return false;
    this.#unrivalledSinceMs = undefined;
    const { hasPods, logger } = this.#options;
    if (!hasPods()) {
      const fields = { subnet: this.#subnetText(), node: rival.name };
      logger.warn(fields, 'another node has this subnet too, and keeps it; leasing another one');
      this.#claim(undefined);
    } else if (this.#status !== 'lost') {
      this.#settle?.cancel();
      this.#setStatus('lost');
      logger.error(this.problems()[0] ?? 'lease lost');
    }
    return true;
  }

  /** Claims the subnet that has pods, else `wanted` if it is free, else the free one this node likes best. */
  #claim(wanted: number | undefined): void {
    this.#settle?.cancel();
    const isTaken = (index: number) =>
      [...this.#claims.at(index)].some((claim) => claim.id !== this.#membership.id);
    const pinned = this.#options.hasPods() ? this.#index : undefined;
    const free = wanted !== undefined && !isTaken(wanted) ? wanted : undefined;
    const index = pinned ?? free ?? preferredSubnet(this.#membership.id, this.#space.count, isTaken);
    if (index === undefined) {
      this.#index = undefined;
      this.#clear();
      if (this.#ownClaim()) this.#membership.updateSelf({ lease: undefined });
      if (this.#status === 'exhausted') return;
      this.#setStatus('exhausted');
      this.#options.logger.error(this.problems()[0] ?? 'no subnet is free');
      return;
    }
    this.#reclaims = this.#reclaimsOf(index);
    if (!this.#save('claiming', index, () => this.#claim(index))) return;
    this.#index = index;
    this.#sinceSeconds = Math.floor(this.#clock.wallTime() / 1000);
    this.#announce('claiming');
    this.#options.logger.info({ subnet: this.#subnetText() }, 'claiming a subnet');
    this.#setStatus('claiming');
    this.#showAndSettle(index);
  }

  #showAndSettle(index: number): void {
    const startedAtMs = this.#clock.now();
    const isCurrent = () => this.#status === 'claiming' && this.#index === index && !this.#isStopped;
    this.#membership.showClaim(SHOWN_TO, ({ asked, answered }) => {
      if (!isCurrent()) return;
      const settleMs = this.#settleMs();
      this.#settle?.cancel();
      const leftMs = Math.max(0, settleMs - (this.#clock.now() - startedAtMs));
      this.#settle = this.#timers.after(leftMs, () => {
        if (!isCurrent()) return;
        // Others are there and none could be asked: that is no confirmation.
        if (asked > 0 && answered === 0) this.#showAndSettle(index);
        else if (!this.#giveWay()) this.#activate();
      });
    });
  }

  /** 2 + 2 ceil(log2 n) gossip intervals: about twice what news takes to reach everyone. */
  #settleMs(): number {
    const nodes = this.#membership.count('alive');
    return this.#timing.gossipIntervalMs * (2 + 2 * Math.ceil(Math.log2(Math.max(1, nodes))));
  }

  #activate(): void {
    if (this.#ownClaim()?.state !== 'active') {
      if (!this.#save('active', this.#index!, () => this.#showAndSettle(this.#index!))) return;
      this.#announce('active');
    }
    this.#options.logger.info({ subnet: this.#subnetText() }, 'lease is active');
    this.#setStatus('active');
  }

  /** The best claim of another node on our subnet that ours does not beat. */
  #rival(): IndexedClaim | undefined {
    const lease = this.#ownClaim();
    if (this.#index === undefined || !lease) return undefined;
    const own = { id: this.#membership.id, lease };
    // The lease of a node that is away binds newcomers, and who was forgotten is one, whatever pods it has; a node
    // that is established waits for the other's return.
    const isBound = lease.state === 'claiming';
    return firstByRule(
      [...this.#claims.at(this.#index)].filter(
        (claim) => claim.id !== own.id && (isBound || claim.isReachable) && compareClaims(claim, own) < 0,
      ),
    );
  }

  #ownClaim(): LeaseClaim | undefined {
    return this.#membership.self().lease;
  }

  #announce(state: LeaseClaim['state']): void {
    this.#membership.updateSelf({
      lease: {
        state,
        prefixes: this.#space.prefixes(this.#index!),
        sinceSeconds: this.#sinceSeconds,
        inUse: this.#options.hasPods(),
        reclaims: this.#reclaims,
      },
    });
  }

  /** More than any lease on this subnet had that ran out while its owner was away. */
  #reclaimsOf(index: number): number {
    const expired = this.#membership.expiredLeases();
    const sameSubnet = expired.filter(({ prefixes }) => this.#space.touched(prefixes).has(index));
    return Math.max(0, ...sameSubnet.map(({ reclaims }) => reclaims + 1));
  }

  /** False if the disk refuses: nothing is announced that is not written. `retry` is called later then. */
  #save(state: LeaseClaim['state'], index: number, retry: () => void): boolean {
    try {
      this.#options.store.save({
        state,
        prefixes: this.#space.prefixes(index),
        reclaims: this.#reclaims,
      });
      this.#diskProblem = undefined;
      return true;
    } catch (error) {
      this.#noteDiskProblem(error);
      this.#settle?.cancel();
      this.#settle = this.#timers.after(this.#timing.reconnectIntervalMs, retry);
      return false;
    }
  }

  /** A lease that stays on the disk is asked for again after a restart, which harms nobody. */
  #clear(): void {
    try {
      this.#options.store.clear();
      this.#diskProblem = undefined;
    } catch (error) {
      this.#noteDiskProblem(error);
      this.#timers.after(this.#timing.reconnectIntervalMs, () => {
        if (this.#index === undefined) this.#clear();
      });
    }
  }

  #noteDiskProblem(error: unknown): void {
    const text = `cannot write the lease: ${errorMessage(error)}`;
    if (this.#diskProblem !== text) this.#options.logger.error(`${text}; trying again`);
    this.#diskProblem = text;
  }

  #setStatus(status: LeaseStatus): void {
    this.#status = status;
    this.emit('change');
  }

  #subnetText(): string {
    return this.state().prefixes.map(formatPrefix).join(' and ');
  }

  #misfit(prefixes: readonly Prefix[]): WarrenError {
    const lease = prefixes.map(formatPrefix).join(' and ');
    return new WarrenError('LEASE_MISFIT', `this node's lease ${lease} is no subnet of cluster.podCidrs`, {
      hint:
        'Put cluster.podCidrs and cluster.nodePrefixLengths back as they were; or, if the pod network is to ' +
        'change, remove all pods and then lease.json in node.stateDir, on every node.',
    });
  }
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
