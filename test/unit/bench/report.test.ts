/** From samples to ratios, verdicts, tables and the page. */
import { describe, expect, test } from 'vitest';
import type { MetricId } from '../../../src/bench/metrics.ts';
import { METRICS } from '../../../src/bench/metrics.ts';
import { renderPage } from '../../../src/bench/page.ts';
import { ratiosOf } from '../../../src/bench/ratios.ts';
import type { BenchReport, LaneReport, MetricReport, SystemReport } from '../../../src/bench/report.ts';
import { describeAgent, type SoakReport } from '../../../src/bench/soak.ts';
import { summarise } from '../../../src/bench/statistics.ts';
import type { SystemRole } from '../../../src/bench/system.ts';
import { evaluateTargets } from '../../../src/bench/targets.ts';
import { renderReport } from '../../../src/bench/text.ts';

function system(id: string, role: SystemRole, extra: Partial<SystemReport> = {}): SystemReport {
  return {
    id,
    title: id.toUpperCase(),
    role,
    encrypted: false,
    version: '1',
    settings: 'MTU 1500',
    ...extra,
  };
}

function lane(id: string, samples: Partial<Record<MetricId, number[]>>): LaneReport {
  const [name, path] = id.split('/');
  const metrics: Partial<Record<MetricId, MetricReport>> = {};
  for (const [metric, values] of Object.entries(samples)) {
    metrics[metric as MetricId] = { unit: METRICS[metric as MetricId].unit, ...summarise(values)! };
  }
  return {
    id,
    system: name!,
    path: path === 'pod' ? 'pod' : 'node',
    title: `<${id}>`,
    metrics,
    failures: [],
  };
}

const SYSTEMS = [
  system('vxlan', 'kernel'),
  system('roofline', 'roofline'),
  system('warren', 'warren', { idlePercent: 0.1 }),
  system('nebula', 'userspace'),
  system('tinc', 'userspace'),
  system('tinc-plain', 'userspace', { skipped: 'no <tinc> & co' }),
];
const LANES = [
  lane('vxlan', { tcp1: [9, 10, 11], rttP50: [6] }),
  lane('vxlan/pod', { tcp1: [8] }),
  lane('roofline', { tcp1: [8] }),
  lane('warren', {
    ...{ tcp1: [7, 7.5, 6], rttP50: [20], cpuSender: [0.3, 0.5, 0.4], cpuReceiver: [0.6] },
    ...{ memory: [105], memorySender: [105], memoryReceiver: [98] },
  }),
  lane('warren/pod', { tcp1: [4], memory: [111], memorySender: [107], memoryReceiver: [111] }),
  lane('nebula', { tcp1: [0.7], rttP50: [22] }),
  lane('tinc', { tcp1: [0.9], rttP50: [30] }),
];

function report(lanes = LANES): BenchReport {
  return {
    format: 1,
    warren: '0.0.0',
    startedAt: '2020-01-01T00:00:00.000Z',
    durationSeconds: 9,
    rounds: 3,
    seconds: 1,
    machine: { kernel: '6.1', node: '20', cpu: 'CPU', cpus: 2, memoryMb: 4000, loadBefore: 0.1 },
    tools: { iperf3: 'iperf 3', roundTrip: 'ping' },
    systems: SYSTEMS,
    lanes,
    ratios: ratiosOf(lanes, SYSTEMS),
    targets: evaluateTargets({ lanes, systems: SYSTEMS, soak: undefined, fdbLookupsPerSecond: 25e6 }),
  };
}

/** What would make a browser ask for anything else. */
const ELSEWHERE =
  /\b(src|href|data|action|poster)=|url\(|@import|<(script|link|img|iframe|object|base)|https?:/;

describe('ratios', () => {
  test('compare medians, path with path, and take the best other overlay of each column', () => {
    const ratios = report().ratios;
    const find = (id: string, to: string) => ratios.find((ratio) => ratio.lane === id && ratio.to === to);
    expect(find('warren', 'kernel VXLAN')?.values).toEqual({ tcp1: 0.7, rttP50: 20 / 6 });
    expect(find('warren', 'C roofline')?.values).toEqual({ tcp1: 7 / 8 });
    const best = find('warren', 'best other overlay')!;
    expect(best.values.tcp1).toBeCloseTo(7 / 0.9);
    expect(best.values.rttP50).toBeCloseTo(20 / 22);
    expect(best.systems).toEqual({ tcp1: '<tinc>', rttP50: '<nebula>' });
    expect(find('warren/pod', 'kernel VXLAN')?.values).toEqual({ tcp1: 0.5 });
    expect(find('warren/pod', 'C roofline')).toBeUndefined();
  });

  test('hold what is encrypted to the roofline that is, and the rest to the other', () => {
    const lanes = [
      ...[lane('warren', { tcp1: [6] }), lane('roofline', { tcp1: [8] })],
      ...[lane('warren-wireguard', { tcp1: [3] }), lane('sealed-roofline', { tcp1: [4] })],
      lane('wireguard-go', { tcp1: [1], rttP50: [100] }),
    ];
    const sealed = { encrypted: true };
    const systems = [
      ...[system('warren', 'warren'), system('roofline', 'roofline')],
      ...[system('warren-wireguard', 'warren', sealed), system('sealed-roofline', 'roofline', sealed)],
      system('wireguard-go', 'userspace', sealed),
    ];
    const shares = ratiosOf(lanes, systems).filter(({ to }) => to === 'C roofline');
    expect(shares.map(({ lane: id, values }) => [id, values.tcp1])).toEqual([
      ['warren', 6 / 8],
      ['warren-wireguard', 3 / 4],
    ]);
    const targets = evaluateTargets({ lanes, systems, soak: undefined, fdbLookupsPerSecond: undefined });
    const encrypted = targets.filter(
      ({ name, figure }) => name.startsWith('encrypted') && figure !== undefined,
    );
    expect(encrypted.map(({ name, figure, verdict }) => [name, figure, verdict])).toEqual([
      ['encrypted: TCP 1 stream, times wireguard-go', 3, 'met'],
      ['encrypted: TCP 1 stream, of the sealed C roofline', 0.75, 'missed'],
    ]);
  });
});

describe('targets', () => {
  test('are met, missed, or not measured', () => {
    const verdicts = report().targets.map(({ name, figure, verdict }) => [name, figure, verdict]);
    expect(verdicts).toEqual([
      ['TCP 1 stream, of kernel VXLAN, node to node', 0.7, 'met'],
      ['TCP 1 stream, of kernel VXLAN, pod to pod', 0.5, 'missed'],
      ['TCP 1 stream, times the faster tinc', 7 / 0.9, 'met'],
      ['TCP 1 stream, times nebula', 7 / 0.7, 'met'],
      ['TCP 1 stream, of the C roofline', 0.875, 'missed'],
      ['UDP 64 B received, of kernel VXLAN', undefined, 'not measured'],
      ['RTT p50, of tinc as shipped', 20 / 30, 'met'],
      ['RTT p50, of tinc without cipher', undefined, 'not measured'],
      ['peak memory of one agent', 111, 'missed'],
      ['resident memory of one agent, --soak', undefined, 'not measured'],
      ['growth of its own memory, second half of --soak', undefined, 'not measured'],
      ['idle agent', 0.1, 'met'],
      ['FDB look-ups, 100,000 prefixes', 25, 'met'],
    ]);
  });

  test('count a figure that just reaches them', () => {
    const lanes = [lane('vxlan', { tcp1: [10] }), lane('warren', { tcp1: [6.5], memory: [110] })];
    const met = evaluateTargets({ lanes, systems: [], soak: undefined, fdbLookupsPerSecond: 20e6 }).filter(
      ({ verdict }) => verdict === 'met',
    );
    expect(met).toHaveLength(3);
  });
});

describe('memory under load', () => {
  const at = Array.from({ length: 120 }, (_, second) => second + 1);
  const agent = (side: 'sender' | 'receiver', mb: (second: number) => number) =>
    describeAgent(
      side,
      // Of what is resident, 40 MB are pages of files, half of which the kernel takes back at the end.
      at.map((second) => ({
        ...{ atSeconds: second, anonymousMb: mb(second) - 40 },
        residentMb: mb(second) - (second > 100 ? 20 : 0),
      })),
    );
  const soak = (receiver: (second: number) => number, extra: Partial<SoakReport> = {}): SoakReport => ({
    ...{ lane: 'warren', title: '<warren>', seconds: 120, gigabitsPerSecond: 5 },
    agents: [...agent('sender', () => 90), ...agent('receiver', receiver)],
    ...extra,
  });
  const verdicts = (report: SoakReport) =>
    evaluateTargets({ lanes: [], systems: [], soak: report, fdbLookupsPerSecond: undefined })
      .filter(({ verdict }) => verdict !== 'not measured')
      .map(({ name, figure, verdict }) => [name, Math.round(figure! * 100) / 100, verdict]);

  test('is flat when it only grew in the first half', () => {
    expect(verdicts(soak((second) => (second < 55 ? 60 + second / 2 : 88 + (second % 2))))).toEqual([
      ['resident memory of one agent, 120 s of load', 90, 'met'],
      ['growth of its own memory, second half of 120 s of load', 0, 'met'],
    ]);
  });

  test('is not when it goes on growing, and the greater agent counts', () => {
    expect(verdicts(soak((second) => 105 + second / 10))).toEqual([
      ['resident memory of one agent, 120 s of load', 115, 'missed'],
      ['growth of its own memory, second half of 120 s of load', 6, 'missed'],
    ]);
  });

  test('is not judged when the load ended early, or an agent', () => {
    expect(verdicts(soak(() => 50, { failure: 'iperf3: no result' }))).toEqual([]);
    expect(describeAgent('sender', [{ atSeconds: 1, residentMb: 50, anonymousMb: 9 }])).toEqual([]);
  });

  test('shows in the text and as lines on the page', () => {
    const whole = { ...report(), soak: soak((second) => 60 + second / 6) };
    expect(renderReport(whole)).toMatch(
      /^soak {2}<warren>, 120 s of TCP: 5\.00 Gbit\/s; sender's agent at most 90\.0 MB, .* \+0 MB\/min; receiver's agent at most 76\.7 MB, its own in the second half \+10\.0 MB\/min$/m,
    );
    const page = renderPage(whole);
    const plot = /<svg[^>]*aria-label="Resident memory, MB">.*?<\/svg>/s.exec(page)![0];
    expect(plot.match(/<polyline /g)).toHaveLength(4);
    expect(plot.match(/ points="([^"]+)"/)![1]!.split(' ')).toHaveLength(120);
    expect(page).toContain('&lt;warren&gt;, 120 s of TCP: 5.00 Gbit/s');
    expect(page).not.toMatch(ELSEWHERE);
  });
});

describe('text', () => {
  test('shows medians with least and most, what was skipped and what failed', () => {
    const failing = {
      ...LANES[5]!,
      failures: [1, 2].map((round) => ({ round, measure: 'udp64' as const, reason: 'iperf3: no result' })),
    };
    const text = renderReport(report([...LANES.slice(0, 5), failing, LANES[6]!]));
    expect(text).toMatch(/^<vxlan> +10\.0 \(9\.00 - 11\.0\)$/m);
    expect(text).toMatch(/^<warren> +20\.0 +105$/m);
    expect(text).toMatch(/^tinc-plain +skipped +no <tinc> & co/m);
    expect(text).toContain('<nebula>, udp64: iperf3: no result (2 times)');
    expect(text).toMatch(/^missed +TCP 1 stream, of the C roofline +0\.88 \(>= 0\.9\)$/m);
    expect(text).not.toContain('UDP 64 B, kpps');
  });
});

describe('the page', () => {
  const page = renderPage(report());

  test('is self-contained', () => {
    expect(page).not.toMatch(ELSEWHERE);
    expect(page).toMatch(/^<!doctype html>/);
  });

  test('escapes whatever comes from outside', () => {
    expect(page).toContain('no &lt;tinc&gt; &amp; co');
    expect(page).not.toContain('<tinc>');
    expect(page).not.toContain('<vxlan>');
  });

  test('has a plot for each metric that was measured, with every lane that has it, pods paler', () => {
    const plots = page.match(/<svg.*?<\/svg>/gs)!;
    expect(plots).toHaveLength(6);
    expect(plots[0]!.match(/<rect /g)).toHaveLength(7);
    expect(plots[0]).toContain('&lt;vxlan&gt;: 10.0 (9.00 to 11.0)');
    expect(page).toContain('<b>TCP, 1 stream</b>, Gbit/s; more is better');
    expect(plots[0]!.match(/<rect class="bar-\w+ pale"/g)).toHaveLength(2);
    expect(page).toContain('<td class="number">7.00<br><small>(6.00 - 7.50)</small></td>');
  });
});
