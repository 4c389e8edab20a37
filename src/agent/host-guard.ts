/**
 * Keeps the host as the agent needs it: what others remove or change of the agent's devices, addresses and routes is
 * put back; when the underlay's link has another MTU the node follows it, and when its address is gone the node moves
 * to the one that is there now.
 */
import type { Clock, Timer } from '../clock.ts';
import type { DataPlaneRepair } from '../dataplane/dataplane.ts';
import { errorMessage } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { Logger } from '../log/logger.ts';

/** What was put back since the agent started. */
export const REPAIR_KINDS = ['device', 'link', 'address', 'route', 'pod', 'rule', 'underlay'] as const;
export type RepairKind = DataPlaneRepair | 'pod' | 'rule' | 'underlay';

export interface Repair {
  readonly done: readonly RepairKind[];
  /** Of the first thing that could not be put back. */
  readonly error?: unknown;
}

export interface HostGuardOptions {
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Logger;
  /** Puts back what is missing, and says what that was. What it could not is tried again. */
  readonly repair: () => Promise<Repair>;
  /** What this node is known by. */
  readonly underlay: () => Underlay;
  /** Throws as long as the host has no address to use. */
  readonly findUnderlay: () => Promise<Underlay>;
  /** If it throws, nothing has moved, and it is called again. */
  readonly moveTo: (underlay: Underlay) => Promise<void>;
  /** Whether the agent itself is changing the host just now: what it does then need not be looked at. */
  readonly isChanging: () => boolean;
  /** Whether attachments come and go just now: a look then sees much and finds nothing, and takes time that they need. */
  readonly isAttaching: () => boolean;
}

/** Events come in bursts; the first of them is answered this soon. */
const SETTLE_MS = 50;
/** Between the end of a look and the next one. */
const PAUSE_MS = 250;
/** Without any event, in case one was lost. A look runs `ip` two or three times, which an idle host would notice. */
const ROUTINE_MS = 300_000;
const RETRY_MS = 500;
/** A look waits for attachments no longer than this. */
const MAX_POSTPONED_MS = 1000;

export class HostGuard {
  readonly #options: HostGuardOptions;
  readonly #counts = Object.fromEntries(REPAIR_KINDS.map((kind) => [kind, 0])) as Record<RepairKind, number>;
  #watch: { stop(): void } | undefined;
  #timer: Timer | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  /** Of the first event that nobody has looked at yet. */
  #eventAtMs: number | undefined;
  #looking: Promise<void> | undefined;
  #isDue = false;
  #isStopped = false;
  #problem: string | undefined;

  constructor(options: HostGuardOptions) {
    this.#options = options;
  }

  get counts(): Readonly<Record<RepairKind, number>> {
    return this.#counts;
  }

  /** Why the host is not as it should be; undefined if all is well. */
  get problem(): string | undefined {
    return this.#problem;
  }

  start(): void {
    const { host, log } = this.#options;
    this.#watch = host.watch(() => this.check(), log);
    this.#arm(ROUTINE_MS);
  }

  /** Resolves once nothing is being repaired any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watch?.stop();
    this.#timer?.cancel();
    await this.#looking;
  }

  /** To be called when something may have changed. */
  check(): void {
    this.#eventAtMs ??= this.#options.clock.now();
    if (this.#looking) this.#isDue = true;
    else this.#arm(SETTLE_MS);
  }

  #arm(delayMs: number): void {
    const { clock, isChanging } = this.#options;
    const dueAtMs = clock.now() + delayMs;
    if (this.#isStopped || dueAtMs >= this.#dueAtMs) return;
    this.#timer?.cancel();
    this.#dueAtMs = dueAtMs;
    this.#timer = clock.after(delayMs, () => {
      this.#dueAtMs = Number.POSITIVE_INFINITY;
      if (isChanging() || this.#isPostponed()) return this.#arm(SETTLE_MS);
      this.#eventAtMs = undefined;
      this.#looking = this.#look().then((nextMs) => {
        this.#looking = undefined;
        this.#arm(this.#isDue ? PAUSE_MS : nextMs);
        this.#isDue = false;
      });
    });
  }

  #isPostponed(): boolean {
    const { clock, isAttaching } = this.#options;
    if (this.#eventAtMs === undefined) return false;
    return isAttaching() && clock.now() - this.#eventAtMs < MAX_POSTPONED_MS;
  }

  async #look(): Promise<number> {
    const { log, repair } = this.#options;
    try {
      // Pods of this node reach each other without an underlay: it does not hold up the rest.
      const moved = await this.#moveIfNeeded().catch((error: unknown) => ({ error }));
      const { done, error } = await repair();
      for (const kind of done) this.#counts[kind]++;
      if (done.length > 0) {
        log.warn({ what: [...new Set(done)].join(' ') }, 'the host was changed from outside; put it back');
      }
      if (moved) throw moved.error;
      if (error !== undefined) throw error;
      this.#problem = undefined;
      return ROUTINE_MS;
    } catch (error) {
      const problem = errorMessage(error);
      if (problem !== this.#problem)
        log.error({ reason: problem }, 'the host is not as it should be; trying again');
      this.#problem = problem;
      return RETRY_MS;
    }
  }

  async #moveIfNeeded(): Promise<void> {
    const { host, underlay, findUnderlay, moveTo } = this.#options;
    const known = underlay();
    const now = await host.underlayAt(known.address);
    if (now) {
      if (now.mtu !== known.mtu || now.interfaceName !== known.interfaceName) await moveTo(now);
      return;
    }
    await moveTo(await findUnderlay());
    this.#counts.underlay++;
  }
}
