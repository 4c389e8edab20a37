/** What a run of `warren bench agents` comes to: the shape of its `--json`, its verdicts, and both as text. */
import { type Cell, renderTable } from '../terminal/table.ts';
import type { AgentTimes } from './agents.ts';
import { formatFigure } from './metrics.ts';
import type { MachineReport } from './report.ts';
import { type Summary, summarise } from './statistics.ts';
import { atMost, type TargetResult, targetText } from './targets.ts';

/** What is measured, in the order of the table's columns. */
export const AGENT_METRICS = {
  joinMs: { title: 'join', unit: 's', scale: 1000 },
  deathMs: { title: 'five killed', unit: 's', scale: 1000 },
  healMs: { title: 'healed', unit: 's', scale: 1000 },
  bytesPerSecond: { title: 'at rest, per node', unit: 'B/s', scale: 1 },
} as const;
export type AgentMetric = keyof typeof AGENT_METRICS;

const METRIC_IDS = Object.keys(AGENT_METRICS) as AgentMetric[];

export interface ProgramReport {
  readonly name: string;
  readonly version: string;
  /** Milliseconds, and bytes a second. */
  readonly metrics: Readonly<Record<AgentMetric, Summary>>;
}

export interface AgentsReport {
  /** Grows when a field changes its meaning. */
  readonly format: 1;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly agents: number;
  readonly rounds: number;
  readonly machine: MachineReport;
  /** warren first. */
  readonly programs: readonly ProgramReport[];
  readonly targets: readonly TargetResult[];
}

/** `rounds`: one at least. */
export function programReport(name: string, version: string, rounds: readonly AgentTimes[]): ProgramReport {
  const metrics = Object.fromEntries(
    METRIC_IDS.map((id) => [id, summarise(rounds.map((times) => times[id]))!]),
  ) as Record<AgentMetric, Summary>;
  return { name, version, metrics };
}

/** Not slower than the other in any of it, and no more bytes: medians to the other's. */
export function agentTargets(own: ProgramReport, other: ProgramReport | undefined): TargetResult[] {
  return METRIC_IDS.map((id) => {
    const ratio = other && own.metrics[id].median / other.metrics[id].median;
    return atMost(`${AGENT_METRICS[id].title}, of serf`, 1, '', ratio);
  });
}

export function renderAgents({ agents, rounds, programs, targets, machine }: AgentsReport): string {
  const header = [
    `${agents} AGENTS`,
    'VERSION',
    ...METRIC_IDS.map((id): Cell => right(`${AGENT_METRICS[id].title}, ${AGENT_METRICS[id].unit}`)),
  ];
  const rows = programs.map(({ name, version, metrics }) => [
    name,
    version,
    ...METRIC_IDS.map((id): Cell => right(summaryText(metrics[id], AGENT_METRICS[id].scale))),
  ]);
  const verdicts = targets.map((target) => [target.verdict, target.name, targetText(target)]);
  return [
    `Linux ${machine.kernel}, ${machine.cpus} x ${machine.cpu}; load before: ${machine.loadBefore}`,
    `Medians of ${rounds} round${rounds === 1 ? '' : 's'}, least and most in brackets.\n`,
    renderTable(header, rows, (text) => text),
    renderTable(['TARGET', 'FOR', 'RATIO'], verdicts, (text) => text),
  ].join('\n');
}

function summaryText({ median, min, max, samples }: Summary, scale: number): string {
  const [middle, least, most] = [median, min, max].map((value) => formatFigure(value / scale));
  return samples.length === 1 ? middle! : `${middle} (${least} - ${most})`;
}

function right(text: string): Cell {
  return { text, right: true };
}
