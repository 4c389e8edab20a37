/**
 * Keeps something in step with what it follows from: one pass at a time, changes that come close together are one, what fails is
 * tried again, and passes that take long are far apart.
 */
import type { Clock, Timer } from './clock.ts';

/** Changes within it are one. */
const COALESCE_MS = 20;

export interface FollowingOptions {
  readonly clock: Clock;
  /** One pass. Throws why it has not worked. */
  readonly follow: () => Promise<void>;
  /** Until a pass that failed is tried again. */
  readonly retryMs: number;
  /** What part of the time work (`hasWorked`) takes at most. */
  readonly share: number;
}

export class Following {
  readonly #options: FollowingOptions;
  #current: Promise<void> = Promise.resolve();
  /** Begins when the current one is done. */
  #next: Promise<void> | undefined;
  #timer: Timer | undefined;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #isStopped = false;

  constructor(options: FollowingOptions) {
    this.#options = options;
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Something has changed: a pass begins soon, if none is about to. */
  soon(afterMs = COALESCE_MS): void {
    if (this.#timer !== undefined || this.#isStopped) return;
    const { clock } = this.#options;
    this.#timer = clock.after(Math.max(afterMs, this.#notBeforeMs - clock.now()), () => {
      this.#timer = undefined;
      this.settledOrAgain();
    });
  }

  /** Resolves when a pass that begins now or later is done. Throws why it has not worked. */
  settled(): Promise<void> {
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        this.#current = this.#options.follow();
        return this.#current;
      });
    return this.#next;
  }

  /** As `settled`, but what fails is tried again later. */
  settledOrAgain(): Promise<void> {
    return this.settled().catch(() => this.soon(this.#options.retryMs));
  }

  /** Of a pass, to be called when what takes the processor is done. */
  hasWorked(beganMs: number): void {
    const endedMs = this.#options.clock.now();
    this.#notBeforeMs = endedMs + (endedMs - beganMs) / this.#options.share;
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await Promise.allSettled([this.#current, this.#next]);
  }
}
