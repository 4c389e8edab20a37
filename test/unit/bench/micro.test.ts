/** The micro-benchmarks measure what they say: each runs, and its own checks hold. */
import { expect, test } from 'vitest';
import { benchmarks as checksum } from '../../../src/bench/micro/checksum.ts';
import { benchmarks as coalesce } from '../../../src/bench/micro/coalesce.ts';
import { benchmarks as fdb } from '../../../src/bench/micro/fdb.ts';
import { runMicro, seededRandom } from '../../../src/bench/micro/harness.ts';
import { benchmarks as headerWrite } from '../../../src/bench/micro/header-write.ts';
import { benchmarks as segment } from '../../../src/bench/micro/segment.ts';

const all = [...headerWrite(), ...segment(), ...coalesce(), ...checksum(), ...fdb()];

test.each(all.map((benchmark) => [benchmark.name, benchmark] as const))('%s', (_name, benchmark) => {
  const result = runMicro(benchmark, { batchMs: 0.01, batches: 1 });
  expect(result.operationsPerSecond).toBeGreaterThan(0);
  expect(result.nanoseconds.median).toBeCloseTo(1e9 / result.operationsPerSecond);
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
