/**
 * Brings one thing in line with what is wanted, again and again: what is asked for while it works is done once more
 * afterwards, and what fails is tried again with growing pauses and shown as a problem meanwhile.
 */
import type { Clock, Timer } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../log/logger.ts';

export interface ReconcilerOptions {
  /** What cannot be done when it fails, as the beginning of a problem's text: `cannot change the routes`. */
  readonly failing: string;
  readonly work: () => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Told of the first failure of all; true if there is to be no second try. */
  readonly onFirstFailure?: (error: unknown) => boolean;
}

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 10_000;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  #working: Promise<void> | undefined;
  #isDue = false;
  #isStopped = false;
  #hasSucceeded = false;
  #retry: Timer | undefined;
  #retryMs = FIRST_RETRY_MS;
  #problem: string | undefined;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Why it is not in line; undefined if all is well. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** To be called when something else may be wanted. */
  request(): void {
    this.#isDue = true;
    if (this.#isStopped || this.#working) return;
    this.#retry?.cancel();
    this.#working = this.#workWhileDue().finally(() => {
      this.#working = undefined;
    });
  }

  /** Resolves once nothing is asked for any more, or what is has failed and is tried again later. */
  async idle(): Promise<void> {
    while (this.#working) await this.#working;
  }

  /** Resolves once it does nothing any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#retry?.cancel();
    await this.#working;
  }

  async #workWhileDue(): Promise<void> {
    while (this.#isDue && !this.#isStopped) {
      this.#isDue = false;
      try {
        await this.#options.work();
        this.#hasSucceeded = true;
        this.#retryMs = FIRST_RETRY_MS;
        this.#problem = undefined;
      } catch (error) {
        if (this.#isStopped || this.#fail(error)) return;
      }
    }
  }

  /** True if it has to wait. */
  #fail(error: unknown): boolean {
    const { failing, clock, log, onFirstFailure } = this.#options;
    if (!this.#hasSucceeded && onFirstFailure?.(error)) {
      this.#isStopped = true;
      return true;
    }
    const problem = `${failing}: ${errorMessage(error)}`;
    if (problem !== this.#problem) log.error({ err: error }, `${failing}; trying again`);
    this.#problem = problem;
    this.#isDue = false;
    this.#retry = clock.after(this.#retryMs, () => this.request());
    this.#retryMs = Math.min(2 * this.#retryMs, LAST_RETRY_MS);
    return true;
  }
}
