/**
 * Whether the packet path's threads still live. A thread blocks in poll for as long as no packet comes, so silence alone
 * means nothing: at each look every thread is woken, and by the next one it must have had a turn.
 *
 * That costs an idle thread one short wake-up per look, and the packet path one store into shared memory per turn.
 */

/** One thread, as whoever watches it sees it. */
export interface Beating {
  /** Another number after each turn of the thread. */
  turns(): number;
  /** Lets it have a turn soon, although there is no packet. */
  wake(): void;
}

/** Between two looks while all answer. */
export const LOOK_MS = 2000;
/** And while one owes an answer; it is not woken again. */
export const CLOSE_LOOK_MS = 500;
/** Without an answer for so long, a thread counts as stuck. */
export const STUCK_AFTER_MS = 5000;
/** And for so long, as one that does not come back. */
export const LOST_AFTER_MS = 30_000;

interface Watched {
  readonly thread: Beating;
  turns: number;
  /** For how long it has not answered. */
  silentMs: number;
}

export class Heartbeats {
  readonly #watched: readonly Watched[];
  #lookedAtMs: number;

  /** Wakes all threads for the first time. */
  constructor(threads: readonly Beating[], nowMs: number) {
    this.#watched = threads.map((thread) => ({ thread, turns: thread.turns(), silentMs: 0 }));
    this.#lookedAtMs = nowMs;
    for (const { thread } of this.#watched) thread.wake();
  }

  /** Sees who has answered, and asks those again. Returns when to look next, in milliseconds from now. */
  look(nowMs: number): number {
    // Where this process itself was stopped, the threads had no time to answer either.
    const passedMs = Math.min(nowMs - this.#lookedAtMs, LOOK_MS);
    this.#lookedAtMs = nowMs;
    for (const one of this.#watched) {
      const turns = one.thread.turns();
      if (turns === one.turns) one.silentMs += passedMs;
      else {
        one.turns = turns;
        one.silentMs = 0;
        one.thread.wake();
      }
    }
    return this.#watched.some(({ silentMs }) => silentMs > 0) ? CLOSE_LOOK_MS : LOOK_MS;
  }

  /** Threads that do not answer. */
  get stuck(): number {
    return this.#watched.filter(({ silentMs }) => silentMs >= STUCK_AFTER_MS).length;
  }

  /** Whether one of them has not answered for so long that it will not. */
  get isOneLost(): boolean {
    return this.#watched.some(({ silentMs }) => silentMs >= LOST_AFTER_MS);
  }
}
