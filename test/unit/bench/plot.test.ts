import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Bar, renderPlot, scaleFor } from '../../../src/bench/plot.ts';

function bar(median: number, min = median, max = median): Bar {
  return { label: `bar ${median}`, role: 'warren', isPale: false, median, min, max };
}

describe('the scale', () => {
  test('is linear from 0 over figures of one size', () => {
    const scale = scaleFor([bar(4), bar(9, 8, 11)]);
    expect(scale.isLog).toBe(false);
    expect(scale.ticks).toEqual([0, 5, 10, 15]);
    expect(scale.position(7.5)).toBeCloseTo(0.5);
  });

  test('is logarithmic over figures that are far apart', () => {
    const scale = scaleFor([bar(0.5), bar(40)]);
    expect(scale.isLog).toBe(true);
    expect(scale.ticks).toEqual([0.5, 1, 2, 5, 10, 20, 50].map((tick) => expect.closeTo(tick)));
    expect(scale.position(5)).toBeCloseTo(0.5);
    expect(scale.position(0)).toBe(0);
  });

  test('holds every bar, and orders them as their figures', () => {
    const figure = fc.double({ min: 1e-6, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(fc.array(figure, { minLength: 1, maxLength: 20 }), (medians) => {
        const bars = medians.map((median) => bar(median));
        const scale = scaleFor(bars);
        expect(scale.ticks.length).toBeLessThan(60);
        const sorted = medians.toSorted((a, b) => a - b).map((median) => scale.position(median));
        expect(sorted).toEqual(sorted.toSorted((a, b) => a - b));
        expect(sorted[0]!).toBeGreaterThanOrEqual(0);
        expect(sorted.at(-1)!).toBeLessThanOrEqual(1);
      }),
    );
  });
});

test('a bar ends at its median, its whisker at least and most', () => {
  const svg = renderPlot('T', 'x', [bar(5, 2.5, 10)]);
  const width = Number(/<rect[^>]* width="([\d.]+)"/.exec(svg)![1]);
  const whisker = /<line class="whisker" x1="([\d.]+)" x2="([\d.]+)" y1="12" y2="12"/.exec(svg)!;
  const left = Number(/<rect[^>]* x="([\d.]+)"/.exec(svg)![1]);
  expect(Number(whisker[1]) - left).toBeCloseTo(width / 2, 0);
  expect(Number(whisker[2]) - left).toBeCloseTo(width * 2, 0);
});

test('nothing measured but zeros does not break the plot', () => {
  expect(renderPlot('T', 'x', [bar(0)])).not.toContain('NaN');
});
