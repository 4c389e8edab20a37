/** A clock for a thread that blocks in poll(2): whoever polls asks how long it may, and runs what is due afterwards. */
import type { Clock, Timer } from '../clock.ts';
import { monotonicMs } from '../sys/monotonic.ts';

interface Entry {
  readonly atMs: number;
  readonly callback: () => void;
  isCancelled: boolean;
}

export class PollClock implements Clock {
  readonly #nowMs: () => number;
  /** Soonest last; bounded by what the thread starts. */
  #entries: Entry[] = [];

  /** `nowMs`: other than sys/monotonic.ts in tests. */
  constructor(nowMs: () => number = monotonicMs) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs();
  }

  wallTime(): number {
    return Date.now();
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry: Entry = { atMs: this.#nowMs() + Math.max(0, delayMs), callback, isCancelled: false };
    this.#entries.splice(this.#place(entry.atMs), 0, entry);
    return {
      cancel: () => {
        entry.isCancelled = true;
      },
    };
  }

  /** Timers that are not over yet, with some that were cancelled. */
  get size(): number {
    return this.#entries.length;
  }

  /** Until the next timer, rounded up to whole milliseconds as poll takes them; -1: there is none. */
  timeoutMs(): number {
    while (this.#entries.at(-1)?.isCancelled === true) this.#entries.pop();
    const next = this.#entries.at(-1);
    return next === undefined ? -1 : Math.max(0, Math.ceil(next.atMs - this.#nowMs()));
  }

  /** Runs what is due now; what that starts is for the next time. */
  runDue(): void {
    const nowMs = this.#nowMs();
    const due: Entry[] = [];
    while (this.#entries.length > 0 && this.#entries.at(-1)!.atMs <= nowMs) due.push(this.#entries.pop()!);
    for (const entry of due) if (!entry.isCancelled) entry.callback();
    this.#dropCancelled();
  }

  /** Those that were cancelled long before they are due do not pile up. */
  #dropCancelled(): void {
    if (this.#entries.length < 64 || this.#entries.filter((entry) => entry.isCancelled).length < 32) return;
    this.#entries = this.#entries.filter((entry) => !entry.isCancelled);
  }

  /** After all that are later or due at the same time: of those the one that came first is run first. */
  #place(atMs: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.atMs > atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
