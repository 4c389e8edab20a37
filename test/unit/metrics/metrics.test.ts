/** Metrics as Prometheus' own tools see them, and how many there are at most. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { type Clock, realClock } from '../../../src/clock.ts';
import { DURATION_BOUNDS_S, HISTOGRAM_SLOTS, Histogram } from '../../../src/histogram.ts';
import { listedPeers, MAX_LISTED_PEERS } from '../../../src/metrics/listed-peers.ts';
import { renderMetrics } from '../../../src/metrics/prometheus.ts';
import { RuntimeMetrics } from '../../../src/metrics/runtime.ts';
import type { PeerReport } from '../../../src/readmodel/reports.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';
import { ROOT } from '../../helpers/markdown.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const clock = new VirtualClock();
const open: RuntimeMetrics[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

function runtime(): RuntimeMetrics {
  const one = new RuntimeMetrics(clock);
  open.push(one);
  return one;
}

function peers(count: number): PeerReport[] {
  return Array.from({ length: count }, (_, i) => ({
    ...fakePeers[0]!,
    ...{ name: `node-${i}`, id: String(i).padStart(8, '0'), status: 'alive' as const },
    outbound: { packets: i, bytes: 100 * i },
  }));
}

describe('peers one by one', () => {
  it('are so many at most, however many there are; all are in the totals', () => {
    const text = renderMetrics(fakeStatus, peers(10_000));
    expect(text.length).toBeLessThan(200_000);
    expect([...text.matchAll(/^warren_peer_status\{/gm)]).toHaveLength(MAX_LISTED_PEERS);
    expect(text).toContain('\nwarren_peers{status="alive"} 10000\n');
    expect(text).toContain('\nwarren_peers_unlisted 9900\n');
  });

  it('are those that something is wrong with, then those with the most traffic', () => {
    const all = peers(300);
    const ill: Partial<PeerReport>[] = [
      ...([
        { status: 'dead' },
        { status: 'suspect' },
        { sentSingly: true },
        { unreachable: 'no key' },
      ] as const),
    ];
    for (const [i, facts] of ill.entries()) Object.assign(all[i]!, facts);
    const listed = listedPeers(all).map(({ name }) => name);
    expect(listed.slice(0, 4).sort()).toEqual(['node-0', 'node-1', 'node-2', 'node-3']);
    expect(listed.slice(4, 6)).toEqual(['node-299', 'node-298']);
    expect(listedPeers([...all].reverse()).map(({ name }) => name)).toEqual(listed);
  });
});

describe('a histogram', () => {
  it('counts each value once, in the first bucket that holds it', () => {
    const slots = new Float64Array(HISTOGRAM_SLOTS);
    const one = new Histogram(slots);
    for (const seconds of [0, DURATION_BOUNDS_S[0], 0.0002, 9.9, 11]) one.observe(seconds);
    const { sum, counts } = new Histogram(slots).report();
    expect(sum).toBeCloseTo(20.9003, 6);
    expect([counts[0], counts[1], counts.at(-2), counts.at(-1)]).toEqual([2, 1, 1, 1]);
    expect(counts.reduce((all, count) => all + count)).toBe(5);
  });

  it('is rendered with totals that grow, and as many as there were at the end', () => {
    const text = renderMetrics(fakeStatus, []);
    expect(text).toContain('warren_probe_rtt_seconds_bucket{le="5"} 0\n');
    expect(text).toContain('warren_probe_rtt_seconds_bucket{le="10"} 1\n');
    expect(text).toContain('warren_probe_rtt_seconds_bucket{le="+Inf"} 3\n');
    expect(text).toContain('warren_probe_rtt_seconds_sum 0.5\nwarren_probe_rtt_seconds_count 3\n');
  });
});

describe('what Node.js does', () => {
  it('says how late the event loop is', async () => {
    const one = runtime();
    await clock.run(5000);
    expect(one.render()).toMatch(/\nwarren_event_loop_lag_seconds_count [1-9]/);
  });

  it('has no value that is no number', () => {
    for (const line of runtime().render().split('\n')) {
      if (line !== '' && !line.startsWith('#'))
        expect(Number.isFinite(Number(line.split(' ').at(-1))), line).toBe(true);
    }
  });

  it('was started at one time, whenever that is asked', async () => {
    const one = new RuntimeMetrics(realClock);
    open.push(one);
    const started = () => /^process_start_time_seconds (\S+)$/m.exec(one.render())![1];
    const before = started();
    for (let i = 0; i < 50; i++) expect(started()).toBe(before);
  });

  it('leaves no timer behind', async () => {
    let running = 0;
    const counted: Clock = {
      ...{ now: () => clock.now(), wallTime: () => clock.wallTime() },
      after: (delayMs, callback) => {
        running++;
        const timer = clock.after(delayMs, () => {
          running--;
          callback();
        });
        const cancel = () => {
          running--;
          timer.cancel();
        };
        return { cancel };
      },
    };
    const one = new RuntimeMetrics(counted);
    await clock.run(2000);
    expect(running).toBe(1);
    one.close();
    expect(running).toBe(0);
  });
});

const MONITORING = join(ROOT, 'deploy/monitoring');

function promtool(argv: readonly string[], input = ''): { status: number | null; said: string } {
  const { status, stdout, stderr } = spawnSync('promtool', argv, {
    input,
    encoding: 'utf8',
    cwd: MONITORING,
  });
  return { status, said: stdout + stderr };
}

const policies = {
  ...{ policies: 3, staged: 1 },
  denied: [
    { policy: 'shop/db', direction: 'ingress', packets: 7, isStaged: false },
    { policy: 'shop/new', direction: 'egress', packets: 2, isStaged: true },
  ],
} as const;

describe('metrics of network policies', () => {
  it('are there where there are policies', () => {
    expect(renderMetrics(fakeStatus, [])).not.toContain('warren_polic');
    const lines = renderMetrics({ ...fakeStatus, policies }, []).split('\n');
    expect(lines.filter((line) => /^warren_polic/.test(line))).toEqual([
      'warren_policies{state="enforced"} 2',
      'warren_policies{state="staged"} 1',
      'warren_policy_denied_packets_total{policy="shop/db",direction="ingress"} 7',
      'warren_policy_staged_packets_total{policy="shop/new",direction="egress"} 2',
    ]);
  });
});

describeUnless(lacking('promtool'), 'promtool', () => {
  it('finds nothing wrong with names, types and help', () => {
    const text = renderMetrics({ ...fakeStatus, policies }, peers(3)) + runtime().render();
    expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
  });

  it('finds what is wrong', () => {
    const { status } = promtool(['check', 'metrics'], '# TYPE some_total gauge\nsome_total 1\n');
    expect(status).not.toBe(0);
  });

  it('finds each alert to fire as it should', () => {
    expect(promtool(['check', 'rules', 'warren.rules.yml'])).toMatchObject({ status: 0 });
    expect(promtool(['test', 'rules', 'warren.rules.test.yml'])).toMatchObject({ status: 0 });
  });
});

describe('alerts and dashboard', () => {
  const rules = parseYaml(readFileSync(join(MONITORING, 'warren.rules.yml'), 'utf8')) as {
    groups: { rules: { alert: string; expr: string }[] }[];
  };
  const alerts = rules.groups.flatMap((group) => group.rules);
  const dashboard = JSON.parse(readFileSync(join(MONITORING, 'grafana-dashboard.json'), 'utf8')) as {
    panels: { title: string; gridPos: { x: number; w: number }; targets: { expr: string }[] }[];
  };

  it('each alert has a test', () => {
    const tests = parseYaml(readFileSync(join(MONITORING, 'warren.rules.test.yml'), 'utf8')) as {
      tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[];
    };
    const fired = tests.tests.flatMap(({ alert_rule_test: cases }) =>
      cases.filter(({ exp_alerts: expected }) => expected.length > 0).map(({ alertname }) => alertname),
    );
    expect(fired.sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it('ask for metrics that there are', () => {
    const gossip = {
      probes: 0,
      probesFailed: 0,
      probesOnlyTcp: 0,
      suspicions: 0,
      bugs: 0,
      sentBytes: 0,
      receivedBytes: 0,
    };
    const text = renderMetrics({ ...fakeStatus, gossip }, fakePeers) + runtime().render();
    const names = new Set([...text.matchAll(/^(\w+)/gm)].map(([, name]) => name));
    const expressions = [
      ...alerts.map(({ expr }) => expr),
      ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ];
    for (const expr of expressions) {
      for (const [name] of expr.matchAll(/\b(?:warren|process|nodejs)_\w+/g))
        expect(names, expr).toContain(name);
    }
  });

  it('no panel stands beside the dashboard', () => {
    for (const { gridPos, title } of dashboard.panels)
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
  });
});
