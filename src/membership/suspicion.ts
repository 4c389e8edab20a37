/**
 * The time a suspect has to refute. It starts long and shrinks with every other node that suspects the same
 * member independently (Lifeguard's dynamic suspicion timeout; memberlist suspicion.go).
 */
import type { Clock, Timer, TimerGroup } from '../clock.ts';
import type { MembershipTiming } from './timing.ts';

export interface SuspicionBounds {
  /** Confirmations after which the timeout is at its minimum; 0: from the start. */
  readonly wanted: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** MembershipTiming.stallMs. */
  readonly stallMs: number;
}

/** The bounds in a cluster where `nodes` are alive or suspect; the formulas are in timing.ts. */
export function suspicionBounds(timing: MembershipTiming, nodes: number): SuspicionBounds {
  const wanted = timing.suspicionMultiplier - 2;
  const minMs =
    timing.suspicionMultiplier * Math.max(1, Math.log10(Math.max(1, nodes))) * timing.probeIntervalMs;
  return {
    // Neither the suspect nor this node can confirm.
    wanted: nodes - 2 < wanted ? 0 : wanted,
    minMs,
    maxMs: timing.suspicionMaxMultiplier * minMs,
    stallMs: timing.stallMs,
  };
}

/** The whole timeout after `confirmations`, counted from the suspicion's start. */
export function suspicionTimeoutMs(bounds: SuspicionBounds, confirmations: number): number {
  if (bounds.wanted < 1) return bounds.minMs;
  const fraction = Math.log(confirmations + 1) / Math.log(bounds.wanted + 1);
  return Math.max(bounds.minMs, bounds.maxMs - fraction * (bounds.maxMs - bounds.minMs));
}

export class Suspicion {
  readonly #bounds: SuspicionBounds;
  readonly #clock: Clock;
  readonly #timers: TimerGroup;
  readonly #onTimeout: () => void;
  readonly #startedAtMs: number;
  /** Who suspects; bounded by `wanted` + 1. */
  readonly #accusers: Set<string>;
  #timer: Timer | undefined;

  constructor(
    accuser: string,
    bounds: SuspicionBounds,
    clock: Clock,
    timers: TimerGroup,
    onTimeout: () => void,
  ) {
    this.#bounds = bounds;
    this.#clock = clock;
    this.#timers = timers;
    this.#onTimeout = onTimeout;
    this.#startedAtMs = clock.now();
    this.#accusers = new Set([accuser]);
    this.#arm(suspicionTimeoutMs(bounds, 0));
  }

  /** Another node suspects the same; true if that is news that should be passed on. */
  confirm(accuser: string): boolean {
    const confirmations = this.#accusers.size - 1;
    if (confirmations >= this.#bounds.wanted || this.#accusers.has(accuser)) return false;
    this.#accusers.add(accuser);
    const elapsedMs = this.#clock.now() - this.#startedAtMs;
    this.#arm(Math.max(0, suspicionTimeoutMs(this.#bounds, confirmations + 1) - elapsedMs));
    return true;
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    const dueAtMs = this.#clock.now() + delayMs;
    this.#timer = this.#timers.after(delayMs, () => {
      if (this.#clock.now() - dueAtMs > this.#bounds.stallMs) this.#arm(this.#bounds.minMs);
      else this.#onTimeout();
    });
  }
}
