/**
 * Time in which this machine ran: for bounds that a program promises, which a machine that stood still for seconds (a virtual
 * one whose host had no processor for it) would break whatever the program does.
 */

const TICK_MS = 20;
/** A tick that comes later than this does so because nothing ran. */
const LONGEST_TICK_MS = 100;

export class AwakeTime {
  readonly #ticking: NodeJS.Timeout;
  #awakeMs = 0;
  #last = performance.now();

  constructor() {
    this.#ticking = setInterval(() => this.#look(), TICK_MS);
    this.#ticking.unref();
  }

  /** Since it was made. */
  get elapsedMs(): number {
    this.#look();
    return this.#awakeMs;
  }

  stop(): void {
    clearInterval(this.#ticking);
  }

  #look(): void {
    const now = performance.now();
    this.#awakeMs += Math.min(now - this.#last, LONGEST_TICK_MS);
    this.#last = now;
  }
}
