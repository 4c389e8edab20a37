/**
 * Keeps the host as the agent needs it: what others remove or change of the TUN device, its addresses and
 * routes is put back, and when the underlay's address is gone the node moves to the one that is there now.
 */
import { errorMessage } from '../errors.ts';
import { NetworkMonitor } from '../host/network-monitor.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { Logger } from '../log/logger.ts';

/** What was put back since the agent started. */
export const REPAIR_KINDS = ['device', 'link', 'address', 'route', 'pod', 'underlay'] as const;
export type RepairKind = (typeof REPAIR_KINDS)[number];

export interface HostGuardOptions {
  /** Puts back what is missing, and says what that was. */
  readonly repair: () => Promise<readonly RepairKind[]>;
  /** Whether the address that this node is known by is still on the host. */
  readonly hasUnderlay: () => Promise<boolean>;
  /** Throws as long as the host has no address to use. */
  readonly findUnderlay: () => Promise<Underlay>;
  readonly moveTo: (underlay: Underlay) => Promise<void>;
  /** Whether the agent itself is changing the host just now: what it does then need not be looked at. */
  readonly isChanging: () => boolean;
  readonly log: Logger;
}

/** Events come in bursts; the first of them is answered this soon. */
const SETTLE_MS = 50;
/** Between the end of a look and the next one. */
const PAUSE_MS = 250;
/** Without any event, in case one was lost. A look runs `ip` two or three times, which an idle host would notice. */
const ROUTINE_MS = 300_000;
const RETRY_MS = 500;

export class HostGuard {
  readonly #options: HostGuardOptions;
  readonly #monitor: NetworkMonitor;
  readonly #counts = Object.fromEntries(REPAIR_KINDS.map((kind) => [kind, 0])) as Record<RepairKind, number>;
  #timer: NodeJS.Timeout | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #isDue = false;
  #isStopped = false;
  #lastProblem: string | undefined;

  constructor(options: HostGuardOptions) {
    this.#options = options;
    this.#monitor = new NetworkMonitor({ onChange: () => this.check(), log: options.log });
  }

  get counts(): Readonly<Record<RepairKind, number>> {
    return this.#counts;
  }

  start(): void {
    this.#monitor.start();
    this.#arm(ROUTINE_MS);
  }

  /** Resolves once nothing is being repaired any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#monitor.stop();
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** To be called when something may have changed. */
  check(): void {
    if (this.#looking) this.#isDue = true;
    else this.#arm(SETTLE_MS);
  }

  #arm(delayMs: number): void {
    const dueAtMs = performance.now() + delayMs;
    if (this.#isStopped || dueAtMs >= this.#dueAtMs) return;
    clearTimeout(this.#timer);
    this.#dueAtMs = dueAtMs;
    this.#timer = setTimeout(() => {
      this.#dueAtMs = Number.POSITIVE_INFINITY;
      if (this.#options.isChanging()) return this.#arm(SETTLE_MS);
      this.#looking = this.#look().then((nextMs) => {
        this.#looking = undefined;
        this.#arm(this.#isDue ? PAUSE_MS : nextMs);
        this.#isDue = false;
      });
    }, delayMs);
  }

  async #look(): Promise<number> {
    const { log } = this.#options;
    try {
      // Pods of this node reach each other without an underlay: it does not hold up the rest.
      const moved = await this.#moveIfNeeded().catch((error: unknown) => ({ error }));
      const repaired = await this.#options.repair();
      for (const kind of repaired) this.#counts[kind]++;
      if (repaired.length > 0) {
        log.warn(
          { what: [...new Set(repaired)].join(' ') },
          'the host was changed from outside; put it back',
        );
      }
      if (moved) throw moved.error;
      this.#lastProblem = undefined;
      return ROUTINE_MS;
    } catch (error) {
      const problem = errorMessage(error);
      if (problem !== this.#lastProblem)
        log.error({ reason: problem }, 'the host is not as it should be; trying again');
      this.#lastProblem = problem;
      return RETRY_MS;
    }
  }

  async #moveIfNeeded(): Promise<void> {
    if (await this.#options.hasUnderlay()) return;
    const underlay = await this.#options.findUnderlay();
    await this.#options.moveTo(underlay);
    this.#counts.underlay++;
  }
}
