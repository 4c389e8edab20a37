import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatFigure } from '../../../src/bench/metrics.ts';
import { quantile, slope, summarise } from '../../../src/bench/statistics.ts';

describe('summarise', () => {
  test('gives the middle of an odd number, the mean of the two middles of an even one', () => {
    expect(summarise([3, 1, 2])).toEqual({ samples: [3, 1, 2], median: 2, min: 1, max: 3 });
    expect(summarise([4, 1, 2, 3])).toMatchObject({ median: 2.5, min: 1, max: 4 });
    expect(summarise([7])).toMatchObject({ median: 7, min: 7, max: 7 });
    expect(summarise([])).toBeUndefined();
  });

  test('leaves half of the samples on either side of the median, whatever their order', () => {
    const numbers = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(numbers, (samples) => {
        const { median, min, max } = summarise(samples)!;
        const below = samples.filter((sample) => sample < median).length;
        const above = samples.filter((sample) => sample > median).length;
        expect(Math.max(below, above)).toBeLessThanOrEqual(samples.length / 2);
        expect(min).toBeLessThanOrEqual(median);
        expect(max).toBeGreaterThanOrEqual(median);
        expect(summarise(samples.toReversed())).toMatchObject({ median, min, max });
      }),
    );
  });

  test('interpolates quantiles', () => {
    const sorted = Array.from({ length: 101 }, (_, i) => i * 10);
    expect(quantile(sorted, 0.99)).toBeCloseTo(990);
    expect(quantile([0, 10], 0.25)).toBeCloseTo(2.5);
  });
});

test.each([
  [0, '0'],
  [0.0012, '0.001'],
  [0.5, '0.50'],
  [9.876, '9.88'],
  [12.34, '12.3'],
  [1234.5, '1235'],
])('formats %d as %s', (value, text) => {
  expect(formatFigure(value)).toBe(text);
});

describe('the slope', () => {
  test('is that of a straight line', () => {
    const line = fc.tuple(fc.integer({ min: -100, max: 100 }), fc.integer({ min: -100, max: 100 }));
    fc.assert(
      fc.property(line, ([a, b]) => {
        expect(slope([1, 2, 5, 9].map((x) => [x, a * x + b]))).toBeCloseTo(a);
      }),
    );
  });

  test('goes through the middle of points beside it', () => {
    expect(slope([-1, 1, -1, 1].flatMap((d, x) => [[x, 2 * x + d] as const, [x, 2 * x - d] as const]))).toBe(
      2,
    );
  });
});
