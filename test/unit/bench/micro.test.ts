/** The micro-benchmarks measure what they say: each runs, and its own checks hold. */
import { afterEach, expect, test, vi } from 'vitest';
import { benchmarks as checksum } from '../../../src/bench/micro/checksum.ts';
import { benchmarks as coalesce } from '../../../src/bench/micro/coalesce.ts';
import { benchmarks as fdb } from '../../../src/bench/micro/fdb.ts';
import { type MicroBenchmark, runMicro, seededRandom } from '../../../src/bench/micro/harness.ts';
import { benchmarks as headerWrite } from '../../../src/bench/micro/header-write.ts';
import { benchmarks as segment } from '../../../src/bench/micro/segment.ts';

const all = [...headerWrite(), ...segment(), ...coalesce(), ...checksum(), ...fdb()];

afterEach(() => {
  vi.restoreAllMocks();
});

/** A clock that stands still but for what `advance` adds. */
function virtualClock(): { advance(ms: number): void } {
  let nowMs = 1000;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  return {
    advance: (ms) => {
      nowMs += ms;
    },
  };
}

test.each(all.map((benchmark) => [benchmark.name, benchmark] as const))('%s', (_name, benchmark) => {
  const clock = virtualClock();
  let iterationsRun = 0;
  const measured: MicroBenchmark = {
    ...benchmark,
    run: (iterations) => {
      iterationsRun += iterations;
      clock.advance(2 * iterations);
      return benchmark.run(iterations);
    },
  };
  const result = runMicro(measured, { batchMs: 1, batches: 2 });
  expect(result.name).toBe(benchmark.name);
  expect(result.nanoseconds.median).toBeCloseTo(2e6 / benchmark.operations, 6);
  expect(result.operationsPerSecond).toBeCloseTo(benchmark.operations * 500, 3);
  // One to find the batch's size, three to warm up, two that count.
  expect(iterationsRun).toBe(1 + 3 + 2);
});

test('takes the median of batches that are long enough, per operation', () => {
  const clock = virtualClock();
  const runs: number[] = [];
  // Eight iterations take a millisecond; of the five batches that count, one is disturbed.
  const result = runMicro(
    {
      name: 'virtual',
      unit: 'operation',
      operations: 50,
      run: (iterations) => {
        runs.push(iterations);
        const isDisturbed = runs.length === 4 + 3 + 2;
        clock.advance((iterations / 8) * (isDisturbed ? 10 : 1));
        return 0;
      },
    },
    { batchMs: 1, batches: 5 },
  );
  expect(runs).toEqual([1, 2, 4, 8, ...new Array(3 + 5).fill(8)]);
  expect(result.nanoseconds.median).toBeCloseTo(1e6 / (8 * 50), 6);
  expect(result.nanoseconds.max).toBeCloseTo(1e7 / (8 * 50), 6);
  expect(result.operationsPerSecond).toBeCloseTo(400_000, 3);
});

test('segments leave as few messages: 44 segments fit one send', () => {
  for (const benchmark of segment()) {
    const before = benchmark.run(0);
    expect(benchmark.run(10) - before, benchmark.name).toBe(10);
  }
});

test('the random numbers are the same in every run', () => {
  const random = seededRandom(7);
  const first = Array.from({ length: 4 }, random);
  const again = seededRandom(7);
  expect(Array.from({ length: 4 }, again)).toEqual(first);
  expect(new Set(first).size).toBe(4);
});
