/**
 * Time as a parameter. The protocol never looks at a clock of its own, so that a whole cluster can run in
 * virtual time in one process.
 */
export interface Clock {
  /** Milliseconds on a clock that never goes back; only differences mean anything. */
  now(): number;
  /** Milliseconds since 1970, as the host believes. */
  wallTime(): number;
  /** Calls `callback` once, `delayMs` from now. The caller owns the timer and cancels it when it stops. */
  after(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  /** Nothing happens if the timer has fired or was cancelled. */
  cancel(): void;
}

export const realClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The timers of one owner: all of them end with it. Bounded by what the owner starts. */
export class TimerGroup {
  readonly #clock: Clock;
  readonly #timers = new Set<Timer>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  after(delayMs: number, callback: () => void): Timer {
    if (this.#closed) return { cancel: () => {} };
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(owned);
      callback();
    });
    const owned: Timer = {
      cancel: () => {
        this.#timers.delete(owned);
        timer.cancel();
      },
    };
    this.#timers.add(owned);
    return owned;
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }
}
