/**
 * A small harness for functions of some nanoseconds: batches long enough for the clock, a warm-up that lets the
 * compiler finish, the median of several batches. It is so short that what happens around the measured
 * function can be read: no closure, promise or allocation per call. (Of the libraries, tinybench times each call by
 * itself, which costs more than the calls here, and mitata brings native code.)
 */
import { type Summary, summarise } from '../statistics.ts';

export interface MicroBenchmark {
  readonly name: string;
  /** What one operation is: `look-up`, `segment`. */
  readonly unit: string;
  /** Operations of one iteration. */
  readonly operations: number;
  /**
   * Runs that many iterations and returns something that was computed from all of them, so that none can be left
   * out by the compiler. Must not allocate.
   */
  run(iterations: number): number;
}

export interface MicroResult {
  readonly name: string;
  readonly unit: string;
  /** Of one operation. */
  readonly nanoseconds: Summary;
  /** From the median. */
  readonly operationsPerSecond: number;
}

export interface MicroOptions {
  /** Of one batch; default 100. */
  readonly batchMs?: number;
  /** Default 9. */
  readonly batches?: number;
}

const WARM_UP_BATCHES = 3;

/** What the benchmarks computed; read by whoever doubts that they did. */
let sink = 0;
export const consumed = (): number => sink;

export function runMicro(benchmark: MicroBenchmark, options: MicroOptions = {}): MicroResult {
  const batchMs = options.batchMs ?? 100;
  const batches = options.batches ?? 9;
  let iterations = 1;
  // Grows until a batch is long enough; by then the function has been compiled.
  while (timeMs(benchmark, iterations) < batchMs) iterations *= 2;
  for (let i = 0; i < WARM_UP_BATCHES; i++) timeMs(benchmark, iterations);
  const operations = iterations * benchmark.operations;
  const samples = Array.from({ length: batches }, () => (timeMs(benchmark, iterations) * 1e6) / operations);
  const nanoseconds = summarise(samples)!;
  const { name, unit } = benchmark;
  return { name, unit, nanoseconds, operationsPerSecond: 1e9 / nanoseconds.median };
}

function timeMs(benchmark: MicroBenchmark, iterations: number): number {
  const startMs = performance.now();
  sink = (sink + benchmark.run(iterations)) % 2 ** 32;
  return performance.now() - startMs;
}

/** A random generator whose numbers are the same in every run (mulberry32): uint32. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
