/** A report as text for a terminal. */
import { type Cell, renderTable } from '../terminal/table.ts';
import type { Sample } from './measure.ts';
import { formatFigure, METRICS, type MetricId } from './metrics.ts';
import { RATIO_METRICS, type Ratio } from './ratios.ts';
import type { BenchReport, LaneReport, SystemReport } from './report.ts';
import type { SoakReport } from './soak.ts';
import { targetText } from './targets.ts';

const SPEED: readonly MetricId[] = ['tcp1', 'tcp4', 'udp64', 'udp64Loss', 'udp1200', 'udp1200Loss'];
const COST: readonly MetricId[] = ['rttP50', 'rttP99', 'cpuAgents', 'cpuMachine', 'memory'];

/** One lane's round on one line: what was measured of it. */
export function roundLine(sample: Sample): string {
  const part = (name: string, ids: readonly MetricId[], unit: string): string[] => {
    const figures = ids.flatMap((id) => (sample[id] === undefined ? [] : formatFigure(sample[id])));
    return figures.length === 0 ? [] : [`${name} ${figures.join(' / ')} ${unit}`];
  };
  const parts = [
    ...part('TCP', ['tcp1', 'tcp4'], 'Gbit/s'),
    ...part('UDP', ['udp64', 'udp1200'], 'kpps'),
    ...part('RTT', ['rttP50', 'rttP99'], 'us'),
  ];
  return parts.join(', ') || 'nothing measured';
}

export function renderReport(report: BenchReport): string {
  const { lanes, systems, ratios, targets } = report;
  const sections = [
    machineText(report),
    `${systemTable(systems)}`,
    `Medians of ${count(report.rounds, 'round')} of ${report.seconds} s, least and most in brackets.\n`,
    metricTable(lanes, SPEED),
    metricTable(lanes, COST),
  ];
  if (ratios.length > 0) {
    sections.push(
      "Medians as multiples of the other's (more is better, for RTT less).\n",
      ratioTable(ratios, lanes),
    );
  }
  if (targets.some((target) => target.verdict !== 'not measured')) {
    const rows = targets.map((target) => [target.verdict, target.name, targetText(target)]);
    sections.push(plainTable(['TARGET', 'FOR', 'FIGURE'], rows));
  }
  if (report.soak !== undefined) sections.push(`${soakLine(report.soak)}\n`);
  const failures = failureLines(lanes);
  if (failures.length > 0) sections.push(`Failed:\n${failures.map((text) => `  ${text}\n`).join('')}`);
  return sections.filter((text) => text !== '').join('\n');
}

/** What went wrong, and how often. */
export function failureLines(lanes: readonly LaneReport[]): string[] {
  return lanes.flatMap((lane) => {
    const times = new Map<string, number>();
    for (const { measure, reason } of lane.failures) {
      const text = `${lane.title}, ${measure}: ${reason}`;
      times.set(text, (times.get(text) ?? 0) + 1);
    }
    return [...times].map(([text, n]) => (n === 1 ? text : `${text} (${n} times)`));
  });
}

/** What a soak came to, on one line. */
export function soakLine({ title, seconds, failure, gigabitsPerSecond, agents }: SoakReport): string {
  const memory = agents.map(
    ({ side, maxMb, growthMbPerMinute }) =>
      `${side}'s agent at most ${formatFigure(maxMb)} MB, its own in the second half ${growth(growthMbPerMinute)} MB/min`,
  );
  const load = failure ?? `${formatFigure(gigabitsPerSecond ?? 0)} Gbit/s`;
  return [`soak  ${title}, ${seconds} s of TCP: ${load}`, ...memory].join('; ');
}

function growth(mbPerMinute: number): string {
  return `${mbPerMinute < 0 ? '-' : '+'}${formatFigure(Math.abs(mbPerMinute))}`;
}

/** "11.5 (10.9 - 12.1)"; with one sample just the figure. */
export function cellText(lane: LaneReport, metric: MetricId): string {
  const found = lane.metrics[metric];
  if (found === undefined) return '-';
  const [median, min, max] = [found.median, found.min, found.max].map(formatFigure);
  return found.samples.length === 1 ? median! : `${median} (${min} - ${max})`;
}

export function machineText({ machine, tools, warren, startedAt, durationSeconds }: BenchReport): string {
  return [
    `warren ${warren}, Node ${machine.node}, Linux ${machine.kernel}, ${machine.cpus} x ${machine.cpu}, ` +
      `${machine.memoryMb} MB`,
    `${startedAt}, ${durationSeconds} s; load before: ${machine.loadBefore}`,
    `throughput: ${tools.iperf3}; round trips: ${tools.roundTrip}`,
    '',
  ].join('\n');
}

function systemTable(systems: readonly SystemReport[]): string {
  const rows = systems.map((system) => [
    system.id,
    system.skipped === undefined ? (system.version ?? '') : 'skipped',
    system.skipped ?? system.settings ?? '',
    system.idlePercent === undefined ? '-' : `${formatFigure(system.idlePercent)} %`,
  ]);
  return plainTable(['SYSTEM', 'VERSION', 'SETTINGS', 'IDLE CPU'], rows);
}

function metricTable(lanes: readonly LaneReport[], wanted: readonly MetricId[]): string {
  const metrics = wanted.filter((id) => lanes.some((lane) => lane.metrics[id] !== undefined));
  if (metrics.length === 0) return '';
  const header = ['', ...metrics.map((id): Cell => right(`${METRICS[id].short}, ${METRICS[id].unit}`))];
  const rows = lanes.map((lane) => [lane.title, ...metrics.map((id) => right(cellText(lane, id)))]);
  return renderTable(header, rows, (text) => text);
}

function ratioTable(ratios: readonly Ratio[], lanes: readonly LaneReport[]): string {
  const titles = new Map(lanes.map((lane) => [lane.id, lane.title]));
  const header = ['', 'TO', ...RATIO_METRICS.map((id): Cell => right(METRICS[id].short))];
  const rows = ratios.map((ratio) => [
    titles.get(ratio.lane) ?? ratio.lane,
    ratio.to,
    ...RATIO_METRICS.map((id) => right(ratioText(ratio, id))),
  ]);
  return renderTable(header, rows, (text) => text);
}

/** "0.71", or "3.4 wireguard-go" where it is not said elsewhere to whom. */
export function ratioText({ values, systems }: Ratio, metric: (typeof RATIO_METRICS)[number]): string {
  const value = values[metric];
  if (value === undefined) return '-';
  const name = systems?.[metric]?.replace(/, node to node$/, '');
  return name === undefined ? formatFigure(value) : `${formatFigure(value)} ${name}`;
}

function plainTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return renderTable(header, rows, (text) => text);
}

function right(text: string): Cell {
  return { text, right: true };
}

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
