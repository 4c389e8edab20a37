/**
 * How often something took how long: counts in fixed buckets, which cost one addition each time, and no memory later. It may
 * lie in shared memory: one thread observes, others read.
 */

/** Upper bounds, in seconds: of what takes from a tenth of a millisecond to ten seconds. */
export const DURATION_BOUNDS_S = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

/** Float64 slots: the sum, a count for each bound, and one for what is above all of them. */
export const HISTOGRAM_SLOTS = 2 + DURATION_BOUNDS_S.length;

export interface HistogramReport {
  /** Of all, in seconds. */
  readonly sum: number;
  /** By DURATION_BOUNDS_S, each without those below it; the last is what is above all bounds. */
  readonly counts: readonly number[];
}

export class Histogram {
  readonly #slots: Float64Array;

  /** `slots`: HISTOGRAM_SLOTS that are zero, or what was counted so far. */
  constructor(slots: Float64Array = new Float64Array(HISTOGRAM_SLOTS)) {
    this.#slots = slots;
  }

  observe(seconds: number): void {
    let at = 0;
    while (at < DURATION_BOUNDS_S.length && seconds > DURATION_BOUNDS_S[at]!) at++;
    this.#slots[0]! += seconds;
    this.#slots[1 + at]! += 1;
  }

  report(): HistogramReport {
    const [sum = 0, ...counts] = this.#slots;
    return { sum, counts };
  }
}
