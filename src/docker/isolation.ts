/**
 * Keeps the rules between networks in step with what is attached here and elsewhere. A container does not start before its own
 * rules are there; one on another host is let through from when its node's inventory has come here.
 */
import type { Attachment } from '../attachment/attachment.ts';
import type { Clock, Timer } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import { Following } from '../following.ts';
import type { HostRules } from '../host/rules/host-rules.ts';
import type { Logger } from '../log/logger.ts';
import { type ListedAttachment, planIsolation } from './isolation-plan.ts';

/** A plan takes no more than this part of the time where there are very many attachments. */
const SHARE = 1 / 5;
const RETRY_MS = 5000;
/** After a start what an earlier run let through stays so: the inventories of other nodes are not here yet. */
const GRACE_MS = 10_000;

export interface IsolationOptions {
  /** The attachments of this node that are to have rules. */
  readonly isolated: () => readonly Attachment[];
  /** All that are known, of this node too. */
  readonly listed: () => Iterable<ListedAttachment>;
  /** Calls `listener` when either is another, until what it gives is called. */
  readonly onChange: (listener: () => void) => () => void;
  /** Undefined: this agent leaves the packet filter alone. */
  readonly rules: Pick<HostRules, 'isolate' | 'isolated'> | undefined;
  readonly clock: Clock;
  readonly log: Logger;
}

export class Isolation {
  readonly #following: Following;
  readonly #options: IsolationOptions;
  #left: ReadonlyMap<string, readonly string[]> = new Map();
  #grace: Timer | undefined;
  #unsubscribe: (() => void) | undefined;
  #problem: string | undefined;

  constructor(options: IsolationOptions) {
    this.#options = options;
    const { clock } = options;
    this.#following = new Following({ clock, follow: () => this.#follow(), retryMs: RETRY_MS, share: SHARE });
  }

  async start(): Promise<void> {
    const { rules, clock, onChange, isolated } = this.#options;
    if (isolated().length > 0) this.#left = (await rules?.isolated().catch(() => new Map())) ?? new Map();
    this.#grace = clock.after(GRACE_MS, () => {
      this.#left = new Map();
      this.#following.soon();
    });
    this.#unsubscribe = onChange(() => this.#following.soon());
    this.#following.soon();
  }

  /** The rules stay as they are. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#grace?.cancel();
    await this.#following.stop();
  }

  /** Resolves when the rules are what follows from all that is attached and known now. Throws why they are not. */
  settled(): Promise<void> {
    return this.#following.settled();
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    return this.#problem === undefined ? [] : [this.#problem];
  }

  async #follow(): Promise<void> {
    const { isolated, listed, rules, clock, log } = this.#options;
    const beganMs = clock.now();
    const groups = planIsolation(isolated(), listed(), this.#left);
    this.#following.hasWorked(beganMs);
    try {
      await rules?.isolate(groups);
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `Docker networks are not kept apart as they are to be: ${errorMessage(error)}`;
      log.error({ err: error }, 'Docker networks are not kept apart as they are to be');
      throw error;
    }
  }
}
