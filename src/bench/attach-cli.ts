/** `warren bench attach`. */
import { existsSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { requireForLab } from '../lab/program.ts';
import { VERSION } from '../package.ts';
import { type Cell, renderTable } from '../terminal/table.ts';
import { type AttachProgram, type AttachTimes, CNI_FOLDER, measureAttach } from './attach.ts';
import { LiveLine } from './live-line.ts';
import { describeMachine } from './machine.ts';
import { formatFigure } from './metrics.ts';
import { packageVersion } from './programs.ts';
import type { MachineReport } from './report.ts';
import { quantile, type Summary, summarise } from './statistics.ts';
import { atMost, type TargetResult, targetText } from './targets.ts';

export interface AttachOptions {
  readonly count: number;
  readonly atOnce: number;
  readonly rounds: number;
  readonly pods: number;
  readonly json?: string;
}

export interface AttachReport {
  /** Grows when a field changes its meaning. */
  readonly format: 1;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly count: number;
  readonly atOnce: number;
  readonly rounds: number;
  readonly machine: MachineReport;
  readonly programs: readonly AttachProgramReport[];
  /** The longest that the control thread was blocked while as many as `pods` were made. */
  readonly pods: number;
  readonly longestBlockMs: number;
  readonly targets: readonly TargetResult[];
}

export interface AttachProgramReport {
  readonly name: AttachProgram;
  readonly version: string;
  /** Milliseconds: of each round its median and the time that 99 of 100 do not exceed. */
  readonly p50: Summary;
  readonly p99: Summary;
}

const MAX_BLOCK_MS = 20;
const MAX_RATIO = 0.5;

/** Adds `attach` to `bench`. `number` makes an option's parser; `run` prints what an interruption says. */
export function registerAttachCommand(
  bench: Command,
  number: (least: number, most: number) => (text: string) => number,
  run: (work: (signal: AbortSignal) => Promise<void>) => Promise<void>,
): void {
  bench
    .command('attach')
    .description(
      'how long an attachment takes on the host, beside the CNI plugins ptp and host-local (needs root)',
    )
    .option('--count <number>', 'of attachments', number(1, 1000), 100)
    .option('--at-once <number>', 'of them', number(1, 100), 10)
    .option('--rounds <number>', 'how often everything is measured', number(1, 100), 3)
    .option('--pods <number>', 'during which the event loop is watched', number(1, 4000), 250)
    .option('--json <file>', 'write all figures to this file')
    .action((options: AttachOptions) => run((signal) => benchAttach(options, signal)));
}

async function benchAttach(options: AttachOptions, signal: AbortSignal): Promise<void> {
  const { count, atOnce, rounds, pods, json } = options;
  requireForLab('a benchmark', ['ip', 'nsenter', 'nft', 'tee', 'bash', 'xargs']);
  const startedAt = new Date().toISOString();
  const machine = describeMachine();
  const line = new LiveLine(process.stderr);
  const hasPlugins = existsSync(`${CNI_FOLDER}/ptp`);
  if (!hasPlugins)
    line.print('skipped  ptp: not installed (Debian: apt-get install containernetworking-plugins)');
  const programs: readonly AttachProgram[] = hasPlugins ? ['warren', 'ptp'] : ['warren'];
  const samples = new Map<AttachProgram, AttachTimes[]>(programs.map((program) => [program, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another one: a machine's speed drifts.
    for (let i = 0; i < programs.length; i++) {
      const program = programs[(i + round) % programs.length]!;
      const title = `round ${round + 1} of ${rounds}  ${program}`;
      line.show(`${title}: ${count} attachments`);
      const times = await measureAttach(program, count, atOnce, signal);
      samples.get(program)!.push(times);
      line.print(`${title}: p50 ${formatFigure(percentile(times, 0.5))} ms`);
    }
  }
  line.show(`${pods} attachments`);
  const { longestBlockMs = 0 } = await measureAttach('warren', pods, atOnce, signal);
  line.clear();
  const reports = await Promise.all(
    programs.map(async (name): Promise<AttachProgramReport> => {
      const summary = (q: number) => summarise(samples.get(name)!.map((times) => percentile(times, q)))!;
      const packaged = await packageVersion('containernetworking-plugins');
      const version = name === 'warren' ? VERSION : `Debian ${packaged ?? 'version unknown'}`;
      return { name, version, p50: summary(0.5), p99: summary(0.99) };
    }),
  );
  const [own, other] = reports;
  const ratio = other && own!.p50.median / other.p50.median;
  const targets = [
    atMost('p50, of ptp with host-local', MAX_RATIO, '', ratio),
    atMost(`event loop blocked, ${pods} attachments`, MAX_BLOCK_MS, ' ms', longestBlockMs),
  ];
  const report: AttachReport = {
    format: 1,
    startedAt,
    count,
    atOnce,
    rounds,
    machine,
    programs: reports,
    pods,
    longestBlockMs,
    targets,
  };
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(`\n${renderAttach(report)}`);
}

export function renderAttach({ count, atOnce, rounds, machine, programs, targets }: AttachReport): string {
  const header = [`${count} ATTACHMENTS, ${atOnce} AT ONCE`, 'VERSION', right('p50, ms'), right('p99, ms')];
  const rows = programs.map(({ name, version, p50, p99 }) => [
    name === 'ptp' ? 'ptp, host-local' : name,
    version,
    right(summaryText(p50)),
    right(summaryText(p99)),
  ]);
  const verdicts = targets.map((target) => [target.verdict, target.name, targetText(target)]);
  return [
    `Linux ${machine.kernel}, ${machine.cpus} x ${machine.cpu}; load before: ${machine.loadBefore}`,
    `Medians of ${rounds} round${rounds === 1 ? '' : 's'}, least and most in brackets.\n`,
    renderTable(header, rows, (text) => text),
    renderTable(['TARGET', 'FOR', 'FIGURE'], verdicts, (text) => text),
  ].join('\n');
}

function percentile({ milliseconds }: AttachTimes, q: number): number {
  return quantile(
    milliseconds.toSorted((a, b) => a - b),
    q,
  );
}

function summaryText({ median, min, max, samples }: Summary): string {
  const [middle, least, most] = [median, min, max].map(formatFigure);
  return samples.length === 1 ? middle! : `${middle} (${least} - ${most})`;
}

function right(text: string): Cell {
  return { text, right: true };
}
