/**
 * This node's subnet where an orchestrator hands them out: it says which one, and nothing is claimed or settled.
 *
 *                assigned, or stored                         another node has it too, by the conflict rule
 *     joining ------------------------> joining, announced -----------------------> lost
 *        ^                                      | joined                          |    ^
 *        | withdrawn                            v        rival gone               v    | rival comes
 *        +----------------------------------- active <---------------------------------+
 *
 * The subnet is written to disk and announced as an active lease, so that nodes that lease by gossip keep off it and
 * route to it, and so that a restart has it without asking: traffic goes on while the orchestrator is away. Another
 * subnet is taken when no pods run in the present one, never before: until then the difference is a problem that is
 * shown. A subnet that another node has is kept, and not routed to, until that node or the orchestrator gives way.
 */
import { EventEmitter } from 'node:events';
import { type Clock, realClock, type Timer, TimerGroup } from '../clock.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { Membership } from '../membership/membership.ts';
import { timingPresets } from '../membership/timing.ts';
import { ClusterClaims } from './cluster-claims.ts';
import {
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
import { Settling } from './settling.ts';

export interface AssignedLeaseOptions extends LeaseSourceOptions {
  /** What is known at the start, one prefix of each pod range; absent: the stored subnet, or wait for `assign`. */
  readonly prefixes?: readonly Prefix[];
}

/** Of a node that has no subnet. */
const NONE: readonly Prefix[] = [];

const ASSIGNED_MISFIT_HINT =
  'cluster.podCidrs and cluster.nodePrefixLengths must be what the orchestrator hands subnets out of, one of each, and ' +
  'its prefixes as long as cluster.nodePrefixLengths says.';

export class AssignedLease extends EventEmitter<{ change: [] }> implements LeaseSource {
  readonly #options: AssignedLeaseOptions;
  readonly #membership: Membership;
  readonly #clock: Clock;
  readonly #timers: TimerGroup;
  readonly #retryMs: number;
  readonly #space: LeaseSpace;
  readonly #claims: ClusterClaims;
  readonly #writer: LeaseWriter;
  readonly #settling: Settling;
  #status: LeaseStatus = 'joining';
  /** Empty: this node has none. */
  #prefixes = NONE;
  /** The orchestrator's last word, which may be that there is none; undefined: it has said nothing in this run. */
  #wanted: readonly Prefix[] | undefined;
  #retry: Timer | undefined;
  #sinceSeconds = 0;
  #reclaims = 0;
  /** Since when no rival is there for the subnet that is lost. */
  #unrivalledSinceMs: number | undefined;
  #isRunning = false;

  /** Throws LEASE_MISFIT when `prefixes` are no subnet of `podCidrs`. */
  constructor(options: AssignedLeaseOptions) {
    super();
    this.#options = options;
    const { membership, store, logger, timing = timingPresets.lan, clock = realClock } = options;
    this.#membership = membership;
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
        for (const index of this.#space.touched(this.#prefixes)) {
          if (!subnets.has(index)) continue;
          this.#evaluate();
          break;
        }
        this.emit('change');
      },
      onFreed: () => this.#evaluate(),
    });
    this.#writer = new LeaseWriter({ store, logger, timers: this.#timers, retryMs: this.#retryMs });
    this.#settling = new Settling({ membership, timing, clock, timers: this.#timers });
    if (options.prefixes) this.#wanted = this.#checked(options.prefixes);
  }

  /**
   * Takes up the stored subnet, if there is one, and the one that was given where pods do not forbid it. Throws
   * STATE_CORRUPT, or LEASE_MISFIT when the stored subnet must be kept and is none of `podCidrs`.
   */
  start(): void {
    const stored = this.#options.store.load();
    // A stored claim that never settled binds nobody; it is of a time when this node leased by gossip.
    if (stored?.state === 'active') {
      const fits = this.#space.isSubnet(stored.prefixes);
      const isKept = this.#wanted === undefined || this.#options.hasPods();
      if (!fits && isKept) throw leaseMisfit(stored.prefixes, STORED_MISFIT_HINT);
      this.#prefixes = fits ? stored.prefixes : NONE;
      this.#reclaims = stored.reclaims;
    }
    this.#isRunning = true;
    this.#sinceSeconds = this.#nowSeconds();
    this.#claims.start();
    this.#membership.on('outcome', this.#onOutcome);
    this.#membership.on('forgotten', this.#onForgotten);
    if (this.#hasSubnet) this.#announce();
    this.#evaluate();
  }

  stop(): void {
    this.#isRunning = false;
    this.#timers.close();
    this.#claims.stop();
    this.#membership.off('outcome', this.#onOutcome);
    this.#membership.off('forgotten', this.#onForgotten);
  }

  /**
   * The orchestrator's word: one prefix of each pod range, or no prefix at all when it takes the subnet away. May be
   * called again at any time, also with the same. Throws LEASE_MISFIT, and has changed nothing then.
   */
  assign(prefixes: readonly Prefix[]): void {
    this.#wanted = this.#checked(prefixes);
    if (!this.#isRunning) return;
    if (this.#isWaiting) this.#options.logger.warn(this.#waitingText());
    this.#evaluate();
    this.emit('change');
  }

  state(): LeaseState {
    return { status: this.#status, prefixes: this.#prefixes };
  }

  owners(): Owner[] {
    return this.#claims.owners(this.#status === 'active');
  }

  problems(): string[] {
    const problems: string[] = [];
    if (this.#status === 'pending') problems.push(pendingText(this.#membership.id));
    if (this.#status === 'lost') {
      const advice = this.#options.hasPods()
        ? "this node's pods cannot be reached from others; remove them, and have another subnet assigned"
        : 'no pods can start here until another subnet is assigned';
      problems.push(lostText(this.#prefixes, this.#claims.rival(this.#prefixes), advice));
    }
    if (this.#isWaiting) problems.push(this.#waitingText());
    if (this.#isRunning && !this.#hasSubnet && !this.#isDifferent)
      problems.push('no subnet is assigned to this node');
    for (const claim of this.#claims.misfits()) {
      if (problems.length < MAX_PROBLEMS) problems.push(misfitText(claim));
    }
    if (this.#writer.problem) problems.push(this.#writer.problem);
    return problems;
  }

  podsChanged(): void {
    this.#evaluate();
  }

  /** Throws STATE_UNWRITABLE. What is assigned from then on counts after a new start. */
  release(): void {
    this.#options.store.clear();
    this.#settling.cancel();
    this.#retry?.cancel();
    this.#isRunning = false;
    this.#prefixes = NONE;
    this.#membership.updateSelf({ lease: undefined });
    this.#setStatus('released');
  }

  readonly #onOutcome = () => this.#evaluate();

  /** What this node had is void, and may be another's by now; it is still this node's as far as it has been told. */
  readonly #onForgotten = () => {
    if (!this.#isRunning || !this.#hasSubnet || this.#status === 'pending') return;
    this.#sinceSeconds = this.#nowSeconds();
    this.#announce();
    this.#evaluate();
  };

  /** Brings subnet, announcement and status in line with what is known and wanted. */
  #evaluate(): void {
    if (!this.#isRunning) return;
    if (this.#isDifferent && !this.#isWaiting) this.#take(this.#wanted ?? NONE);
    if (!this.#hasSubnet) {
      if (this.#status !== 'joining') this.#setStatus('joining');
      return;
    }
    if (!this.#claims.isOwnAdmitted) {
      this.#suspend();
      return;
    }
    if (this.#status === 'pending') {
      this.#sinceSeconds = this.#nowSeconds();
      // Not announced: whether another node has it by now is found out first.
      this.#status = 'joining';
    }
    const announced = this.#membership.self().lease;
    const isAsAnnounced =
      announced?.inUse === this.#options.hasPods() && (announced.isAssigned ?? false) === !this.#isDifferent;
    if (!isAsAnnounced) this.#announce();
    if (this.#membership.outcome === 'joining') return;
    if (this.#claims.rival(this.#prefixes)) this.#lose();
    else if (this.#status === 'lost') this.#resume();
    else if (this.#status !== 'active') this.#activate();
  }

  get #hasSubnet(): boolean {
    return this.#prefixes.length > 0;
  }

  /** Whether the orchestrator wants another subnet than this node has. */
  get #isDifferent(): boolean {
    return this.#wanted !== undefined && formatSubnet(this.#wanted) !== formatSubnet(this.#prefixes);
  }

  /** Whether that must wait for pods to go. */
  get #isWaiting(): boolean {
    return this.#isDifferent && this.#hasSubnet && this.#options.hasPods();
  }

  /** On the disk first; where that refuses, what was stays, and it is tried again. */
  #take(prefixes: readonly Prefix[]): void {
    const { logger } = this.#options;
    this.#retry?.cancel();
    const isNone = prefixes.length === 0;
    const reclaims = isNone ? 0 : this.#claims.reclaimsOf(prefixes);
    if (isNone) {
      this.#writer.clear(() => !this.#hasSubnet);
    } else if (!this.#writer.save({ state: 'active', prefixes, reclaims })) {
      this.#retry = this.#timers.after(this.#retryMs, () => this.#evaluate());
      return;
    }
    this.#settling.cancel();
    this.#prefixes = prefixes;
    this.#reclaims = reclaims;
    this.#sinceSeconds = this.#nowSeconds();
    this.#unrivalledSinceMs = undefined;
    if (isNone) {
      logger.info("this node's subnet was taken away");
      if (this.#membership.self().lease) this.#membership.updateSelf({ lease: undefined });
      return;
    }
    logger.info({ subnet: formatSubnet(prefixes) }, 'a subnet was assigned');
    // It is not active until it is known whether another node has it; that state is not announced.
    this.#status = 'joining';
    this.#announce();
  }

  /** This node is not admitted: nobody would believe its lease (admission/). */
  #suspend(): void {
    this.#settling.cancel();
    if (this.#membership.self().lease) this.#membership.updateSelf({ lease: undefined });
    if (this.#status === 'pending') return;
    this.#setStatus('pending');
    this.#options.logger.warn(pendingText(this.#membership.id));
  }

  #lose(): void {
    this.#unrivalledSinceMs = undefined;
    this.#settling.cancel();
    if (this.#status === 'lost') return;
    this.#setStatus('lost');
    this.#options.logger.error(this.problems()[0] ?? 'lease lost');
  }

  /** A rival that is reported dead keeps its claim for a while, so that it can refute that. */
  #resume(): void {
    const now = this.#clock.now();
    this.#unrivalledSinceMs ??= now;
    const leftMs = this.#unrivalledSinceMs + this.#settling.durationMs - now;
    if (leftMs <= 0) this.#activate();
    else this.#settling.after(leftMs, () => this.#evaluate());
  }

  #activate(): void {
    this.#options.logger.info({ subnet: formatSubnet(this.state().prefixes) }, 'lease is active');
    this.#setStatus('active');
  }

  #announce(): void {
    this.#membership.updateSelf({
      lease: {
        state: 'active',
        prefixes: this.#prefixes,
        sinceSeconds: this.#sinceSeconds,
        inUse: this.#options.hasPods(),
        reclaims: this.#reclaims,
        ...(!this.#isDifferent && { isAssigned: true }),
      },
    });
  }

  #setStatus(status: LeaseStatus): void {
    this.#status = status;
    this.emit('change');
  }

  /** In the order of the pod ranges. */
  #checked(prefixes: readonly Prefix[]): readonly Prefix[] {
    if (prefixes.length === 0) return NONE;
    if (!this.#space.isSubnet(prefixes)) throw leaseMisfit(prefixes, ASSIGNED_MISFIT_HINT);
    const { podCidrs } = this.#options;
    return podCidrs.flatMap(({ range }) => prefixes.filter(({ family }) => family === range.family));
  }

  #waitingText(): string {
    const present = formatSubnet(this.#prefixes);
    const wanted = this.#wanted && this.#wanted.length > 0 ? formatSubnet(this.#wanted) : 'no subnet';
    return `${wanted} is assigned to this node, and its pods run in ${present}: it is taken when they are gone`;
  }

  #nowSeconds(): number {
    return Math.floor(this.#clock.wallTime() / 1000);
  }
}
