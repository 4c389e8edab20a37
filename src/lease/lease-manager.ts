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
 * Without admission (admission/) nobody would believe a lease: from anywhere the node gives its own up and is pending. Once
 * it is admitted it claims anew, the same subnet where pods still run in it.
 *
 * A node that was forgotten (membership/tombstones.ts) goes back from wherever it is to claiming. One that leaves
 * for good (`warren leave`) has released its subnet, which is free at once.
 *
 * A claim is written to disk, then announced, then shown to the nodes this one joined through and to some
 * more; it settles when that is done, the news had time to spread, and nobody with a better claim
 * (conflict-rule.ts) has been heard of.
 */
import { EventEmitter } from 'node:events';
import { type Clock, realClock, TimerGroup } from '../clock.ts';
import type { Membership } from '../membership/membership.ts';
import { timingPresets } from '../membership/timing.ts';
import type { LeaseClaim } from '../membership/types.ts';
import { ClusterClaims } from './cluster-claims.ts';
import {
  exhaustedText,
  formatSubnet,
  leaseMisfit,
  lostText,
  MAX_PROBLEMS,
  misfitText,
  pendingText,
  STORED_MISFIT_HINT,
} from './lease-problems.ts';
import type { LeaseSource, LeaseSourceOptions, LeaseState, LeaseStatus, Owner } from './lease-source.ts';
import { LeaseSpace } from './lease-space.ts';
import { LeaseWriter } from './lease-writer.ts';
import { preferredSubnet } from './preference.ts';
import { Settling } from './settling.ts';

export class LeaseManager extends EventEmitter<{ change: [] }> implements LeaseSource {
  readonly #options: LeaseSourceOptions;
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #timers: TimerGroup;
  readonly #retryMs: number;
  readonly #space: LeaseSpace;
  readonly #claims: ClusterClaims;
  readonly #writer: LeaseWriter;
  readonly #settling: Settling;
  #status: LeaseStatus = 'joining';
  #index: number | undefined;
  #sinceSeconds = 0;
  #reclaims = 0;
  /** Since when no rival is there for the lease that is lost. */
  #unrivalledSinceMs: number | undefined;
  #isEvaluating = false;
  #isEvaluationDue = false;
  #isStopped = false;

  constructor(options: LeaseSourceOptions) {
    super();
    this.#options = options;
    this.#membership = options.membership;
    const { membership, store, logger, timing = timingPresets.lan, clock = realClock } = options;
    this.#clock = clock;
    this.#timers = new TimerGroup(clock);
    this.#retryMs = timing.reconnectIntervalMs;
    this.#space = new LeaseSpace(options.podCidrs);
    this.#claims = new ClusterClaims({
      membership,
      space: this.#space,
      admission: options.admission,
      assignments: options.assignments,
      onOwnAdmission: () => this.#evaluate(),
      onChange: (subnets) => {
        if (this.#concernsUs(subnets)) this.#evaluate();
        this.emit('change');
      },
      onFreed: (subnets) => {
        if (this.#concernsUs(subnets)) this.#evaluate();
      },
    });
    this.#writer = new LeaseWriter({ store, logger, timers: this.#timers, retryMs: this.#retryMs });
    this.#settling = new Settling({ membership, timing, clock, timers: this.#timers });
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
      if (this.#index === undefined) throw leaseMisfit(stored.prefixes, STORED_MISFIT_HINT);
      this.#reclaims = stored.reclaims;
      this.#announce(stored.state);
    }
    this.#claims.start();
    this.#membership.on('outcome', this.#onOutcome);
    this.#membership.on('forgotten', this.#onForgotten);
    this.#evaluate();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timers.close();
    this.#claims.stop();
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
    return this.#claims.owners(this.#status === 'active');
  }

  /** What a person should look at: a lost lease, an exhausted range, nodes configured differently. */
  problems(): string[] {
    const problems: string[] = [];
    if (this.#status === 'pending') problems.push(pendingText(this.#membership.id));
    if (this.#status === 'exhausted') problems.push(exhaustedText(this.#space.count));
    if (this.#status === 'lost') {
      const advice =
        "this node's pods cannot be reached from others; remove them, and it leases another subnet";
      problems.push(lostText(this.state().prefixes, this.#claims.rival(this.state().prefixes), advice));
    }
    for (const claim of this.#claims.misfits()) {
      if (problems.length < MAX_PROBLEMS) problems.push(misfitText(claim));
    }
    if (this.#writer.problem) problems.push(this.#writer.problem);
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
    this.#settling.cancel();
    this.#index = undefined;
    this.#isStopped = true;
    this.#membership.updateSelf({ lease: undefined });
    this.#setStatus('released');
  }

  readonly #onOutcome = () => this.#evaluate();

  /** Whatever this node had is void. Where pods run in it, it asks for the same again. */
  readonly #onForgotten = () => {
    if (this.#isStopped) return;
    this.#settling.cancel();
    if (this.#index === undefined || this.#status === 'pending') return;
    if (this.#status !== 'joining') this.#claim(undefined);
    else if (this.#save('claiming', this.#index, () => this.#evaluate())) this.#announce('claiming');
  };

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
    if (!this.#claims.isOwnAdmitted) {
      this.#suspend();
      return;
    }
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
      case 'pending':
        if (this.#membership.outcome !== 'joining') this.#claim(this.#index);
        break;
      case 'released':
        break;
    }
  }

  /** Others may have the subnet at once. Pods keep their addresses, and nobody sends to them. */
  #suspend(): void {
    this.#settling.cancel();
    if (this.#ownClaim()) this.#membership.updateSelf({ lease: undefined });
    if (this.#index !== undefined && !this.#options.hasPods()) {
      this.#index = undefined;
      this.#writer.clear(() => this.#index === undefined);
    }
    if (this.#status === 'pending') return;
    // What is active on the disk would be announced as such by the next run, should it be admitted by then.
    if (this.#index !== undefined) this.#save('claiming', this.#index, () => this.#evaluate());
    this.#setStatus('pending');
    this.#options.logger.warn(pendingText(this.#membership.id));
  }

  /** Keeps a lease unless another node's claim on it is better. */
  #hold(): void {
    if (this.#giveWay() || this.#status === 'active') return;
    if (this.#ownClaim()?.state !== 'active') this.#claim(this.#index);
    else if (this.#status !== 'lost') this.#activate();
    else this.#resume();
  }

  /** A rival that is reported dead keeps its claim for a while, so that it can refute that. */
  #resume(): void {
    const now = this.#clock.now();
    this.#unrivalledSinceMs ??= now;
    const leftMs = this.#unrivalledSinceMs + this.#settling.durationMs - now;
    this.#settling.cancel();
    if (leftMs <= 0) this.#activate();
    else this.#settling.after(leftMs, () => this.#evaluate());
  }

  /**
   * True if another node has the better claim. Then this one claims another subnet; but never while pods have
   * addresses in it, which would be cut off from under their connections.
   */
  #giveWay(): boolean {
    const rival = this.#claims.rival(this.state().prefixes);
    if (!rival) return false;
    this.#unrivalledSinceMs = undefined;
    const { hasPods, logger } = this.#options;
    if (!hasPods()) {
      const fields = { subnet: this.#subnetText(), node: rival.name };
      logger.warn(fields, 'another node has this subnet too, and keeps it; leasing another one');
      this.#claim(undefined);
    } else if (this.#status !== 'lost') {
      this.#settling.cancel();
      this.#setStatus('lost');
      logger.error(this.problems()[0] ?? 'lease lost');
    }
    return true;
  }

  /** Claims the subnet that has pods, else `wanted` if it is free, else the free one this node likes best. */
  #claim(wanted: number | undefined): void {
    this.#settling.cancel();
    const isTaken = (index: number) => this.#claims.isTaken(index);
    const pinned = this.#options.hasPods() ? this.#index : undefined;
    const free = wanted !== undefined && !isTaken(wanted) ? wanted : undefined;
    const index = pinned ?? free ?? preferredSubnet(this.#membership.id, this.#space.count, isTaken);
    if (index === undefined) {
      this.#index = undefined;
      this.#writer.clear(() => this.#index === undefined);
      if (this.#ownClaim()) this.#membership.updateSelf({ lease: undefined });
      if (this.#status === 'exhausted') return;
      this.#setStatus('exhausted');
      this.#options.logger.error(this.problems()[0] ?? 'no subnet is free');
      return;
    }
    this.#reclaims = this.#claims.reclaimsOf(this.#space.prefixes(index));
    if (!this.#save('claiming', index, () => this.#claim(index))) return;
    this.#index = index;
    this.#sinceSeconds = Math.floor(this.#clock.wallTime() / 1000);
    this.#announce('claiming');
    this.#options.logger.info({ subnet: this.#subnetText() }, 'claiming a subnet');
    this.#setStatus('claiming');
    this.#showAndSettle(index);
  }

  #showAndSettle(index: number): void {
    this.#settling.show(
      () => this.#status === 'claiming' && this.#index === index && !this.#isStopped,
      () => {
        if (!this.#giveWay()) this.#activate();
      },
    );
  }

  #activate(): void {
    if (this.#ownClaim()?.state !== 'active') {
      if (!this.#save('active', this.#index!, () => this.#showAndSettle(this.#index!))) return;
      this.#announce('active');
    }
    this.#options.logger.info({ subnet: this.#subnetText() }, 'lease is active');
    this.#setStatus('active');
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

  /** False if the disk refuses: nothing is announced that is not written. `retry` is called later then. */
  #save(state: LeaseClaim['state'], index: number, retry: () => void): boolean {
    const lease = { state, prefixes: this.#space.prefixes(index), reclaims: this.#reclaims };
    if (this.#writer.save(lease)) return true;
    this.#settling.after(this.#retryMs, retry);
    return false;
  }

  #setStatus(status: LeaseStatus): void {
    this.#status = status;
    this.emit('change');
  }

  #subnetText(): string {
    return formatSubnet(this.state().prefixes);
  }
}
