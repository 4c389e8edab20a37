/** How long a stream may take: in all, and without anything happening on it. */
import type { Clock, Timer } from '../clock.ts';

export interface Deadlines {
  /** Without a frame from the other side, or anything taken of what waits to be sent. */
  readonly idleMs: number;
  readonly totalMs: number;
}

/** One timer, however often the stream is touched. */
export class Deadline {
  readonly #clock: Clock;
  readonly #expired: () => void;
  readonly #endsAtMs: number;
  readonly #idleMs: number;
  #idleSinceMs: number;
  #isHeld = false;
  #timer: Timer | undefined;

  constructor(clock: Clock, { idleMs, totalMs }: Deadlines, expired: () => void) {
    this.#clock = clock;
    this.#expired = expired;
    this.#idleMs = idleMs;
    this.#idleSinceMs = clock.now();
    this.#endsAtMs = clock.now() + totalMs;
    this.#timer = clock.after(Math.min(idleMs, totalMs), () => this.#look());
  }

  /** Something has happened: the idle time begins anew. */
  touch(): void {
    this.#idleSinceMs = this.#clock.now();
  }

  /** While it is held, idle time does not count: it is this side that has nothing to say, or does not listen. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.touch();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const nowMs = this.#clock.now();
    const idleAtMs = this.#isHeld ? nowMs + this.#idleMs : this.#idleSinceMs + this.#idleMs;
    const dueMs = Math.min(idleAtMs, this.#endsAtMs);
    // Timers of the host may fire a little early.
    if (dueMs - nowMs < 1) {
      this.#timer = undefined;
      this.#expired();
    } else this.#timer = this.#clock.after(dueMs - nowMs, () => this.#look());
  }
}
