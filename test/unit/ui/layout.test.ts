/** The map's layout: the same for the same cluster, without overlap, whatever the cluster. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  boundsOf,
  layout,
  MAX_PODS_DRAWN,
  NODE_RADIUS,
  POD_RADIUS,
  podOffsets,
  radiusOf,
  type ToPlace,
} from '../../../ui/model/layout.ts';

function nodes(pods: readonly number[]): ToPlace[] {
  return pods.map((count, i) => ({ key: `k${i}`, name: `node-${i}`, isSelf: i === 0, pods: count }));
}

describe('the layout of the map', () => {
  it('never lets two nodes overlap, with their pods', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(300), { minLength: 1, maxLength: 120 }), (pods) => {
        const placed = layout(nodes(pods));
        expect(placed).toHaveLength(pods.length);
        for (const [i, a] of placed.entries()) {
          for (const b of placed.slice(i + 1)) {
            const distance = Math.hypot(a.x - b.x, a.y - b.y);
            if (distance < a.radius + b.radius) {
              expect.fail(
                `${a.key} and ${b.key} are ${distance} apart, and ${a.radius} and ${b.radius} wide`,
              );
            }
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('is the same for the same cluster, in whatever order it is told', () => {
    const cluster = nodes(Array.from({ length: 50 }, (_, i) => (i * 7) % 13));
    const byKey = (all: readonly ToPlace[]) => [...layout(all)].sort((a, b) => (a.key < b.key ? -1 : 1));
    expect(byKey([...cluster].reverse())).toEqual(byKey(cluster));
  });

  it('has this node in the middle, and all of it in its bounds', () => {
    const placed = layout(nodes([3, 4, 5]));
    expect(placed[0]).toMatchObject({ key: 'k0', x: 0, y: 0 });
    const { x, y, width, height } = boundsOf(placed);
    for (const one of placed) {
      expect(one.x - one.radius).toBeGreaterThanOrEqual(x);
      expect(one.x + one.radius).toBeLessThanOrEqual(x + width + 1e-9);
      expect(one.y - one.radius).toBeGreaterThanOrEqual(y);
      expect(one.y + one.radius).toBeLessThanOrEqual(y + height + 1e-9);
    }
  });

  it('is there without nodes, without this node, and with a thousand', () => {
    expect(layout([])).toEqual([]);
    expect(boundsOf([])).toMatchObject({ width: 2, height: 2 });
    expect(layout(nodes([1, 1]).slice(1))).toHaveLength(1);
    expect(layout(nodes(new Array(1000).fill(10)))).toHaveLength(1000);
  });

  it('keeps pods apart from each other and from their node, within its circle', () => {
    for (const count of [0, 1, 7, 60, MAX_PODS_DRAWN, 5000]) {
      const offsets = podOffsets(count);
      expect(offsets).toHaveLength(Math.min(count, MAX_PODS_DRAWN));
      for (const [i, a] of offsets.entries()) {
        expect(Math.hypot(a.x, a.y)).toBeGreaterThan(NODE_RADIUS + POD_RADIUS);
        expect(Math.hypot(a.x, a.y) + POD_RADIUS).toBeLessThanOrEqual(radiusOf(count));
        for (const b of offsets.slice(i + 1))
          expect(Math.hypot(a.x - b.x, a.y - b.y)).toBeGreaterThan(2 * POD_RADIUS);
      }
    }
  });
});
