import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { renderCheck } from '../../../src/check/check-matrix.ts';
import { largestThatPasses, mtuOfRoute } from '../../../src/check/mtu.ts';
import { renderDisrupt, renderMtu, renderPerf } from '../../../src/check/pair-tables.ts';
import { PairWatch } from '../../../src/check/pair-watch.ts';
import { perfPairs } from '../../../src/check/perf.ts';
import { MAX_TRACES, withTraces } from '../../../src/check/trace-failed.ts';
import type { CheckResult, Gap } from '../../../src/readmodel/check-reports.ts';
import type { TraceReport } from '../../../src/trace/model.ts';

const plain = (text: string) => text;

it('the path MTU that a host was told of is read, if there is one', () => {
  const route = 'fd42::2 from :: via fe80::1 dev eth0 src fd42::1 metric 1024 expires 597sec';
  expect(mtuOfRoute(`${route} mtu 1344 pref medium`)).toBe(1344);
  expect(mtuOfRoute(`${route} pref medium`)).toBeUndefined();
});

describe('the largest packet that passes', () => {
  it('is found, with few questions', async () => {
    const path = fc.record({
      least: fc.constant(576),
      most: fc.integer({ min: 576, max: 65_535 }),
      limit: fc.nat(70_000),
    });
    await fc.assert(
      fc.asyncProperty(path, async ({ least, most, limit }) => {
        let asked = 0;
        const found = await largestThatPasses(least, most, async (bytes) => {
          asked++;
          return bytes <= limit;
        });
        expect(found).toBe(limit < least ? null : Math.min(limit, most));
        expect(asked).toBeLessThanOrEqual(limit >= most ? 1 : 18);
      }),
    );
  });
});

describe('a connection that is watched', () => {
  function watched(): { watch: PairWatch; told: Gap[] } {
    const told: Gap[] = [];
    return { watch: new PairWatch(0, 500, (gap) => told.push(gap)), told };
  }

  it('tells of a silence when it is over, and of none that is short', () => {
    const { watch, told } = watched();
    for (const atMs of [100, 599, 1000, 2600, 2700]) watch.answered(atMs);
    expect(told).toEqual([{ atSeconds: 1, durationMs: 1600, brokeOff: false }]);
    expect(watch.end(2800)).toEqual({ gaps: told, gapCount: 1, longestGapMs: 1600, broken: 0 });
  });

  it('that is silent to the end has a gap, too', () => {
    const { watch } = watched();
    watch.answered(100);
    expect(watch.end(5100)).toMatchObject({ gapCount: 1, longestGapMs: 5000 });
    expect(watched().watch.end(700)).toMatchObject({ gapCount: 1 });
  });

  it('that breaks off says so, once for each time, however soon there is another one', () => {
    const { watch, told } = watched();
    watch.answered(100);
    watch.brokeOff();
    watch.brokeOff();
    watch.answered(300);
    watch.answered(400);
    expect(told).toEqual([{ atSeconds: 0.1, durationMs: 200, brokeOff: true }]);
    expect(watch.end(500)).toMatchObject({ broken: 1, gapCount: 1 });
  });

  it('keeps a hundred gaps, and counts all', () => {
    const { watch } = watched();
    for (let i = 1; i <= 300; i++) watch.answered(i * 1000);
    const { gaps, gapCount } = watch.end(300_000);
    expect([gaps.length, gapCount]).toEqual([100, 300]);
  });
});

describe('speed', () => {
  const endpoint = (pod: string | null, port: number) => ({ pod, address: '10.42.7.2', port });

  it('is measured between nodes and between first pods, with each other node', () => {
    const sources = [
      { name: 'node', netns: undefined },
      { name: 'web', netns: '/run/netns/web' },
      { name: 'db', netns: '/run/netns/db' },
    ];
    const nodes = ['a', 'b', 'c'].map((node, i) => ({
      ...{ node, token: `0${i}` },
      endpoints: node === 'c' ? [endpoint(null, 1)] : [endpoint(null, 1), endpoint('x', 2), endpoint('y', 3)],
    }));
    const pairs = (some: typeof sources) =>
      perfPairs('a', some, { nodes, unreachable: [] }).map(({ source, toNode, token, endpoint: { pod } }) => [
        ...[source.name, toNode, token, pod],
      ]);
    expect(pairs(sources)).toEqual([
      ['node', 'b', '01', null],
      ['web', 'b', '01', 'x'],
      ['node', 'c', '02', null],
    ]);
    expect(pairs(sources.slice(0, 1)).length).toBe(2);
  });
});

describe('tables', () => {
  const pair = { from: 'web', toNode: 'node-b', toPod: 'db', address: '10.42.7.2' };
  const head = {
    node: 'node-a',
    ok: false,
    problems: ['no lease'],
    unreachable: [{ node: 'node-c', reason: 'gone' }],
  };
  const below = '\nno lease\nnode-c is missing: gone\n';

  it('of path MTUs', () => {
    const results = [
      { ...pair, mtu: 1440, expected: 1440, ok: true },
      { ...pair, from: 'node', mtu: null, expected: null, ok: false },
    ];
    expect(renderMtu({ ...head, results }, plain)).toBe(
      'from        to         address    bytes  agent\n' +
        'node-a/web  node-b/db  10.42.7.2   1440   1440\n' +
        `node-a      node-b/db  10.42.7.2   FAIL      -\n${below}1 of 2 carry what the agent goes by.\n`,
    );
  });

  it('of speed', () => {
    const results = [
      { ...pair, ok: true, bitsPerSecond: 1_234_000_000, rttMs: 0.256, worstRttMs: 2 },
      { ...pair, ok: false, bitsPerSecond: null, rttMs: null, worstRttMs: null, error: 'no answer' },
    ];
    expect(renderPerf({ ...head, results }, plain)).toContain(
      'node-a/web  node-b/db  1.23 Gbit/s     0.26   2.00  \n' +
        `node-a/web  node-b/db         FAIL        -      -  no answer\n${below}1 of 2 answered.\n`,
    );
  });

  it('of silences: only those that were silent', () => {
    const calm = { ...pair, gaps: [], gapCount: 0, longestGapMs: 0, broken: 0 };
    const hurt = { ...calm, from: 'node', gapCount: 2, longestGapMs: 1234, broken: 1 };
    const some = renderDisrupt({ ...head, seconds: 9.5, results: [calm, hurt] }, plain);
    expect(some).toContain('node-a  node-b/db     2         1.2           1\n');
    expect(some).not.toContain('node-a/web');
    expect(some).toContain('2 connections held for 9.5 s: 1 were silent.\n');
    const none = renderDisrupt(
      { ...head, ok: true, problems: [], unreachable: [], seconds: 3, results: [calm] },
      plain,
    );
    expect(none).toBe('1 connections held for 3 s: none was silent.\n');
  });
});

describe('pairs that fail', () => {
  const pair = (from: string, address: string, ok = false): CheckResult => ({
    ...{ from, toNode: 'node-b', toPod: 'db', address, ok, rttMs: ok ? 1 : null },
  });

  it('are traced, one to each target first, so many at most, and their lines stand below', async () => {
    const asked: string[] = [];
    const client = {
      trace: async ({ source, destination }: { source: string; destination: string }) => {
        asked.push(`${source} ${destination}`);
        if (destination === '10.42.2.3') throw new Error('no');
        return { line: `${source}: dies\u001b[2J`, verdict: { cause: 'firewall' } } as TraceReport;
      },
    };
    const many = Array.from({ length: 20 }, (_, i) => pair(`pod-${i}`, '10.42.2.2'));
    const results = [...many, pair('web', '10.42.2.9', true), pair('node', '10.42.2.3')];
    const traced = await withTraces(client, 'node-a', results, () => {});
    expect(asked.slice(0, 2)).toEqual(['pod-0.node-a 10.42.2.2', 'node:node-a 10.42.2.3']);
    expect(asked).toHaveLength(MAX_TRACES);
    expect(traced.filter(({ trace }) => trace)).toHaveLength(MAX_TRACES);
    expect(traced.at(-1)!.trace).toEqual({ cause: 'not-tried', line: 'could not be traced: no' });
    const report = { node: 'node-a', ok: false, problems: [], unreachable: [], results: traced };
    const text = renderCheck(report, 80, plain);
    expect(text).toContain('21 of 22 did not answer.\npod-0.node-a: dies [2J\n');
    expect(text).toContain('Others were not traced');
  });
});
