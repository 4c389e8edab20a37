/** What docs/simulation.md shows in full, small and with fixed seeds. */
import { describe, expect, it } from 'vitest';
import { timingPresets, withoutLifeguard } from '../../src/membership/timing.ts';
import { measureDissemination } from '../../src/simulate/dissemination.ts';
import { measureFalsePositives } from '../../src/simulate/false-positives.ts';
import { runLeaseHistory } from '../../src/simulate/lease-history.ts';
import { logPlot } from '../../src/simulate/plot.ts';

const timing = timingPresets.lan;

describe('news', () => {
  it('reaches ten times as many nodes in a few gossip periods more, at the same cost at rest', async () => {
    const results = [];
    for (const nodes of [10, 100, 1000]) results.push(await measureDissemination({ seed: 5, nodes, timing }));
    for (const { nodes, join, leave, death, bytesPerSecond } of results) {
      // Grows with log N: at most 4 periods, and 3 for each factor of ten.
      const periods = 4 + 3 * Math.log10(nodes);
      for (const { toMost } of [join, leave, death]) {
        expect(toMost / timing.gossipIntervalMs, `${nodes} nodes`).toBeLessThan(periods);
      }
      expect(Math.abs(bytesPerSecond - results[0]!.bytesPerSecond)).toBeLessThan(20);
    }
  });

  it('is the same for the same seed', async () => {
    const options = { seed: 9, nodes: 30, timing };
    expect(await measureDissemination(options)).toEqual(await measureDissemination(options));
  });
});

describe('loss and pauses', () => {
  const pauses = { maxPauseMs: 10_000, paused: 0.02 };

  it('kill no healthy node with Lifeguard', async () => {
    const options = { seed: 3, nodes: 60, durationMs: 300_000, loss: 0.05, ...pauses };
    const result = await measureFalsePositives({ ...options, timing });
    expect(result.pauses).toBeGreaterThan(50);
    expect(result.pausedDeclaredDead).toBeGreaterThan(0);
    expect(result.examples).toEqual([]);
    expect(result.healthyDeclaredDead).toBe(0);
  });

  it('kill healthy nodes without it where the same loss kills none with it', async () => {
    const options = { seed: 3, nodes: 40, durationMs: 100_000, loss: 0.25, ...pauses };
    const on = await measureFalsePositives({ ...options, timing });
    const off = await measureFalsePositives({ ...options, timing: withoutLifeguard(timing) });
    expect(off.pauses).toBe(on.pauses);
    expect(on.healthyDeclaredDead).toBe(0);
    expect(off.healthyDeclaredDead).toBeGreaterThan(5);
    expect(off.examples.length).toBeGreaterThan(5);
  });
});

/** What a hundred histories must have had. */
const RARE = [
  /: lost 10/,
  /: exhausted/,
  /: released/,
  /partition/,
  /one-way/,
  /crash/,
  /forget/,
  /with 10\./,
];

describe('lease histories', () => {
  it.each([0, 1, 2, 3])('hold what leases promise (a hundred seeds from %i00)', async (block) => {
    const all: string[] = [];
    for (let seed = block * 100; seed < block * 100 + 100; seed++) {
      const { violations, events } = await runLeaseHistory(seed);
      expect(violations, `warren simulate history ${seed}\n${events.join('\n')}`).toEqual([]);
      all.push(...events);
    }
    // They are no proof of what they never come to.
    const missing = RARE.filter((what) => !all.some((event) => what.test(event)));
    expect(missing).toEqual([]);
  });

  it.each([
    [
      100043,
      'a node with the better claim that was called dead for a moment, by one that was back from being cut off',
    ],
    [
      101381,
      "a death that two nodes saw 1.5 s apart, and the first of them next in line for the dead one's subnet",
    ],
    [102942, 'a node forgotten with its pods, and cut off from the one that has its subnet now'],
    [104477, 'two that had let each other go, and whose go-betweens had just restarted'],
    [107046, 'one that told what it remembered from before its restart, and that was out of date'],
  ])('of seed %i hold what leases promise: %s', async (historySeed) => {
    const { violations, events } = await runLeaseHistory(historySeed);
    expect(violations, events.join('\n')).toEqual([]);
  });

  it('is the same for the same seed', async () => {
    expect(await runLeaseHistory(77)).toEqual(await runLeaseHistory(77));
  });
});

describe('plots', () => {
  it('are SVG with a point for each value', () => {
    const svg = logPlot({
      title: 'a < b',
      xLabel: 'x',
      yLabel: 'y',
      series: [
        {
          name: 's',
          colour: '#000',
          points: [
            [10, 1],
            [100, 3],
          ],
        },
      ],
    });
    expect(svg).toContain('a &lt; b');
    expect(svg.match(/<circle/g)).toHaveLength(2);
  });
});
