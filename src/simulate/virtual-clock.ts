/** Time that passes only when it is told to, so that hours of protocol run in seconds, the same every time. */
import type { Clock, Timer } from '../clock.ts';
import { settled } from './in-time.ts';

interface Event {
  readonly atMs: number;
  /** Events of one instant happen in the order in which they were scheduled. */
  readonly order: number;
  /** Undefined once cancelled. */
  callback: (() => void) | undefined;
}

/** 2026-01-01T00:00:00Z: what `wallTime` begins with. */
const START_WALL_TIME_MS = 1_767_225_600_000;

export class VirtualClock implements Clock {
  /** A binary heap, the next event first; bounded by what the simulated nodes schedule. */
  readonly #heap: Event[] = [];
  #nowMs = 0;
  /** By how much the hosts' clocks were set: forward, or back. */
  wallOffsetMs = 0;
  #scheduled = 0;

  now(): number {
    return this.#nowMs;
  }

  wallTime(): number {
    return START_WALL_TIME_MS + this.wallOffsetMs + this.#nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const event: Event = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#scheduled++,
      callback,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.callback = undefined;
      },
    };
  }

  /** Runs everything that is due in the next `durationMs`. */
  advance(durationMs: number): void {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      const next = this.#heap[0];
      if (!next || next.atMs > endMs) break;
      this.#pop();
      this.#nowMs = next.atMs;
      next.callback?.();
    }
    this.#nowMs = endMs;
  }

  /** The same for code with promises: what waits for one goes on before time does. */
  async run(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs;
    for (;;) {
      await settled();
      const next = this.#heap[0];
      if (!next || next.atMs > endMs) break;
      this.#pop();
      this.#nowMs = next.atMs;
      next.callback?.();
    }
    this.#nowMs = endMs;
  }

  /** `advanceUntil` for code with promises. */
  async runUntil(holds: () => boolean, limitMs: number, stepMs = 10): Promise<number | undefined> {
    const startMs = this.#nowMs;
    while (!holds()) {
      if (this.#nowMs - startMs >= limitMs) return undefined;
      await this.run(stepMs);
    }
    return this.#nowMs - startMs;
  }

  /** Runs until `holds`, looking every `stepMs`; the time it took, or undefined after `limitMs`. */
  advanceUntil(holds: () => boolean, limitMs: number, stepMs = 10): number | undefined {
    const startMs = this.#nowMs;
    while (!holds()) {
      if (this.#nowMs - startMs >= limitMs) return undefined;
      this.advance(stepMs);
    }
    return this.#nowMs - startMs;
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
