import { expect, test } from 'vitest';
import type { Dissemination } from '../../../src/simulate/dissemination.ts';
import type { FalsePositives } from '../../../src/simulate/false-positives.ts';
import type { InventorySpread } from '../../../src/simulate/inventory-spread.ts';
import { renderReport } from '../../../src/simulate/report.ts';
import type { SimulationResults } from '../../../src/simulate/results.ts';
import {
  evaluateTargets,
  fitLog,
  fitText,
  NEWS_BASE,
  NEWS_PER_DECADE,
} from '../../../src/simulate/targets.ts';

const PERIOD_MS = 200;

/** All news takes so many periods. */
function size(nodes: number, periods: number, bytesPerSecond = 400): Dissemination {
  const spread = { toMost: periods * PERIOD_MS, toAll: periods * PERIOD_MS };
  return {
    ...{ nodes, join: spread, leave: spread, death: spread, detectedMs: 4000, bytesPerSecond },
    ...{ pushPullBytesPerSecond: undefined, bytesForNews: 300 },
  };
}

function alarms(healthyDeclaredDead: number): FalsePositives {
  return {
    ...{ nodes: 1000, durationMs: 3_600_000, pauses: 7200, suspicions: 9, pausedDeclaredDead: 9 },
    ...{ healthyDeclaredDead, examples: [] },
  };
}

/** 99 % of its changes are known to all after so long. */
function spread(p99: number, loss = 0, first: InventorySpread['first'] = 'teller'): InventorySpread {
  const delays = { p50: p99 / 2, p99, most: p99 };
  const bytes = { udp: 250, stream: 2 };
  return {
    ...{ nodes: 100, attachments: 100, changes: 200, loss, first, knownToAll: delays, knownToOne: delays },
    ...{
      shares: [[p99, 1]],
      bytesPerChange: bytes,
      bytesAtRest: bytes,
      callsPerChange: 1,
      mostCallsAtOnce: 6,
    },
    ...{ startMs: 1000, lateJoinMs: 300, lateJoinBytes: 3_000_000, healMs: 20_000, healKnownMs: 19_990 },
  };
}

const good: SimulationResults = {
  seed: 1,
  gossipIntervalMs: PERIOD_MS,
  dissemination: [size(10, 2), size(100, 3), size(1000, 4), size(10_000, 5)],
  falsePositives: { withLifeguard: alarms(1), without: alarms(50) },
  leases: { firstSeed: 100_000, histories: 10_000, failures: [], slowestAgreementMs: 40_000 },
  inventory: [spread(600), spread(900, 0.01), spread(2000, 0, 'owner')],
};

function missedBy(change: Partial<SimulationResults>): string[] {
  return evaluateTargets({ ...good, ...change }).flatMap(({ verdict, name }) =>
    verdict === 'missed' ? name : [],
  );
}

test('all are met where all is well', () => {
  expect(evaluateTargets(good).map(({ verdict }) => verdict)).toEqual(Array(7).fill('met'));
});

test('news that grows faster than log N is missed', () => {
  const linear = [10, 100, 1000, 10_000].map((nodes) => size(nodes, 2 + nodes / 500));
  const rootN = [10, 100, 1000, 10_000].map((nodes) => size(nodes, Math.sqrt(nodes) / 8));
  const all = ['join known to 99.9 %', 'leave known to 99.9 %', 'death known to 99.9 %'];
  expect(missedBy({ dissemination: linear })).toEqual(all);
  expect(missedBy({ dissemination: rootN })).toEqual(all);
  const limit = NEWS_BASE + NEWS_PER_DECADE * 3;
  expect(missedBy({ dissemination: [size(1000, limit - 0.01)] })).toEqual([]);
  expect(missedBy({ dissemination: [size(1000, limit + 0.01)] })).toEqual(all);
});

test('traffic that differs by more than 5 % of the median is missed', () => {
  const withLargest = (bytes: number) => [size(10, 2, 400), size(100, 3, 400), size(1000, 4, bytes)];
  expect(missedBy({ dissemination: withLargest(419) })).toEqual([]);
  expect(missedBy({ dissemination: withLargest(421) })).toEqual(['bytes a node sends at rest']);
  expect(missedBy({ dissemination: withLargest(379) })).toEqual(['bytes a node sends at rest']);
});

test('a second healthy node declared dead, or one failed history, is missed', () => {
  expect(missedBy({ falsePositives: { withLifeguard: alarms(2), without: alarms(50) } })).toEqual([
    'healthy nodes declared dead',
  ]);
  const failures = [{ seed: 100_007, violation: 'both hold it' }];
  expect(missedBy({ leases: { ...good.leases, failures } })).toEqual([
    'lease histories that break a promise',
  ]);
});

test('an attach that 99 of 100 times is not known to all after a second is missed, with loss too', () => {
  const all = ['attaches known to all nodes (99 % of them)'];
  expect(missedBy({ inventory: [spread(1000), spread(1000, 0.01)] })).toEqual([]);
  expect(missedBy({ inventory: [spread(1001)] })).toEqual(all);
  expect(missedBy({ inventory: [spread(600), spread(1001, 0.01)] })).toEqual(all);
});

test('what was not run is said to be not measured', () => {
  const leases = { firstSeed: 0, histories: 0, failures: [], slowestAgreementMs: 0 };
  const nothing = { seed: 1, gossipIntervalMs: PERIOD_MS, dissemination: [], leases, inventory: [] };
  for (const { verdict } of evaluateTargets(nothing)) expect(verdict).toBe('not measured');
});

test('the line that fits points on a line is that line', () => {
  const { base, perDecade } = fitLog([10, 100, 1000].map((x) => [x, 0.5 + 2 * Math.log10(x)] as const));
  expect(base).toBeCloseTo(0.5);
  expect(perDecade).toBeCloseTo(2);
});

test.each([
  [0.5, '2.0 log10 N + 0.5'],
  [-0.2, '2.0 log10 N - 0.2'],
  [-0.04, '2.0 log10 N'],
])('a line from %f is written %s', (base, text) => {
  expect(fitText([10, 100, 1000].map((x) => [x, base + 2 * Math.log10(x)] as const))).toBe(text);
});

test('the report has every verdict, and names the seeds that failed', () => {
  const failures = [{ seed: 100_007, violation: 'both hold it' }];
  const results = { ...good, leases: { ...good.leases, failures } };
  const page = renderReport(results, evaluateTargets(results)).get('simulation.md')!;
  expect(page.match(/\| met \|/g)).toHaveLength(6);
  expect(page).toContain('| 1 of 10,000 | missed |');
  expect(page).toContain('- seed 100007: both hold it');
  expect(page).toContain('0.60 s, 0.90 s with 1 % loss (100 nodes of 100)');
  expect(page).toContain('| who told of it, 1 % loss |');
  expect(page).not.toMatch(/undefined|NaN/);
});
