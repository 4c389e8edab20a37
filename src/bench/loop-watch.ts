/**
 * How long this process's event loop was blocked at most. A timer asks for a turn every millisecond; what passes
 * beyond that is time in which the loop did something else, less what the thread waited for a processor meanwhile
 * (/proc/PID/schedstat, Documentation/scheduler/sched-stats.rst), which is the machine's and not the program's.
 */
import { readFileSync } from 'node:fs';

const INTERVAL_MS = 1;

export class LoopWatch {
  readonly #timer: NodeJS.Timeout;
  #lastMs = performance.now();
  #waitedMs = waitedMs();
  #longestMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS);
  }

  /** Milliseconds. Ends the watch. */
  stop(): number {
    clearInterval(this.#timer);
    this.#look();
    return this.#longestMs;
  }

  #look(): void {
    const nowMs = performance.now();
    const waited = waitedMs();
    const blockedMs = nowMs - this.#lastMs - INTERVAL_MS - (waited - this.#waitedMs);
    this.#longestMs = Math.max(this.#longestMs, blockedMs);
    this.#lastMs = nowMs;
    this.#waitedMs = waited;
  }
}

/** How long the main thread has waited for a processor; 0 where the kernel does not count it. */
function waitedMs(): number {
  try {
    const path = `/proc/self/task/${process.pid}/schedstat`;
    return Number(readFileSync(path, 'utf8').split(' ')[1]) / 1e6;
  } catch {
    return 0;
  }
}
