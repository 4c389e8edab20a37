/**
 * CLOCK_MONOTONIC in milliseconds, the same in all threads of a process: `performance.now()` counts from the start of the
 * thread that asks.
 */
const OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export function monotonicMs(): number {
  return performance.now() + OFFSET_MS;
}
