/** What becomes of one connection while things are restarted: when it was silent, and whether it broke. */
import type { Gap } from '../readmodel/check-reports.ts';

/** Silences that are kept; longer lists tell nothing more. */
const MAX_GAPS = 100;

export class PairWatch {
  readonly #leastGapMs: number;
  readonly #onGap: (gap: Gap) => void;
  readonly #gaps: Gap[] = [];
  #gapCount = 0;
  #longestMs = 0;
  #broken = 0;
  #lastMs: number;
  /** Since the last answer. */
  #hasBroken = false;

  /** Silences of `leastGapMs` are told of, when they are over. */
  constructor(nowMs: number, leastGapMs: number, onGap: (gap: Gap) => void) {
    this.#lastMs = nowMs;
    this.#leastGapMs = leastGapMs;
    this.#onGap = onGap;
  }

  answered(nowMs: number): void {
    this.#look(nowMs);
    this.#lastMs = nowMs;
    this.#hasBroken = false;
  }

  /** The connection is gone, and there will be another one. */
  brokeOff(): void {
    if (!this.#hasBroken) this.#broken++;
    this.#hasBroken = true;
  }

  /** Nothing is to come any more. */
  end(nowMs: number): { gaps: readonly Gap[]; gapCount: number; longestGapMs: number; broken: number } {
    this.#look(nowMs);
    const { length } = this.#gaps;
    return {
      gaps: this.#gaps.slice(0, length),
      gapCount: this.#gapCount,
      longestGapMs: Math.round(this.#longestMs),
      broken: this.#broken,
    };
  }

  #look(nowMs: number): void {
    const durationMs = nowMs - this.#lastMs;
    if (durationMs < this.#leastGapMs && !this.#hasBroken) return;
    const gap: Gap = {
      atSeconds: Math.round(this.#lastMs) / 1000,
      durationMs: Math.round(durationMs),
      brokeOff: this.#hasBroken,
    };
    this.#gapCount++;
    this.#longestMs = Math.max(this.#longestMs, durationMs);
    if (this.#gaps.length < MAX_GAPS) this.#gaps.push(gap);
    this.#onGap(gap);
  }
}
