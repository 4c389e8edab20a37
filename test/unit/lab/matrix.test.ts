import { describe, expect, test } from 'vitest';
import { buildMatrix, type Endpoint } from '../../../src/lab/matrix.ts';
import type { CheckReport, CheckResult } from '../../../src/readmodel/check-reports.ts';

const endpoints: Endpoint[] = [
  { node: 'node-a', pod: null },
  { node: 'node-a', pod: 'web' },
  { node: 'node-b', pod: null },
];

/** What a node that reaches everything in both families reports, changed by `edit` (undefined: not tried). */
function report(
  node: string,
  from: string,
  edit: (result: CheckResult) => CheckResult | undefined = (result) => result,
): CheckReport {
  const results = endpoints.flatMap(({ node: toNode, pod: toPod }) =>
    ['10.42.0.1', 'fd42::1'].flatMap(
      (address) => edit({ from, toNode, toPod, address, ok: true, rttMs: 0.25 }) ?? [],
    ),
  );
  return { node, ok: true, problems: [], unreachable: [], results };
}

const full = [report('node-a', 'node'), report('node-a', 'web'), report('node-b', 'node')];

describe('the all-pairs matrix', () => {
  test('shows round trips, nodes above their columns and before their rows', () => {
    expect(buildMatrix(full, endpoints, 4)).toEqual({
      text:
        '                | node-a        | node-b\n' +
        'IPv4, ms        | node     web  | node\n' +
        'node-a    node  | 0.25    0.25  | 0.25\n' +
        '          web   | 0.25    0.25  | 0.25\n' +
        'node-b    node  | 0.25    0.25  | 0.25\n',
      answered: 6,
      failed: 0,
      untried: 0,
    });
  });

  test('counts the families apart, and a pair that failed once as failed', () => {
    const failing = report('node-b', 'node', (result) =>
      result.toPod === 'web' && result.address.includes(':') ? { ...result, ok: false, rttMs: null } : result,
    );
    // The same pair tried again over another address that answers.
    const reports = [...full.slice(0, 2), failing, report('node-b', 'node')];
    expect(buildMatrix(reports, endpoints, 4)).toMatchObject({ answered: 6, failed: 0 });
    const ipv6 = buildMatrix(reports, endpoints, 6);
    expect(ipv6).toMatchObject({ answered: 5, failed: 1, untried: 0 });
    expect(ipv6.text).toContain('FAIL');
  });

  test('a pair that nobody tried is not a pair that answered; an endpoint need not ping itself', () => {
    const toOthers = [
      report('node-a', 'node', (result) => (result.toPod === 'web' ? result : undefined)),
      report('node-a', 'web', (result) => (result.toPod === 'web' ? undefined : result)),
      report('node-b', 'node', (result) => (result.toNode === 'node-b' ? undefined : result)),
    ];
    expect(buildMatrix(toOthers, endpoints, 4)).toMatchObject({ answered: 5, failed: 0, untried: 1 });
  });
});
