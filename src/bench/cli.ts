/** `warren bench`. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Interrupted, interruptible } from '../lab/interrupt.ts';
import { requireForLab } from '../lab/program.ts';
import { registerAgentsCommand } from './agents-cli.ts';
import { registerAttachCommand } from './attach-cli.ts';
import { runBench } from './bench.ts';
import { registerFloodCommand } from './flood-cli.ts';
import { LiveLine } from './live-line.ts';
import { MEASURES, type MeasureId } from './metrics.ts';
import { checkWritable, outputFiles, writeReport } from './output.ts';
import type { BenchReport } from './report.ts';
import type { System } from './system.ts';
import { SYSTEMS, selectSystems } from './systems/catalogue.ts';
import { renderReport } from './text.ts';

interface Options {
  readonly systems: readonly System[];
  readonly paths: 'node' | 'pod' | 'all';
  readonly measures: readonly MeasureId[];
  readonly rounds?: number;
  readonly seconds?: number;
  readonly quick?: true;
  readonly soak?: number;
  readonly json?: string;
  readonly html?: string;
}

const FULL = { rounds: 5, seconds: 3, coolDownSeconds: 15, idleSeconds: 20 };
const QUICK = { rounds: 1, seconds: 1, coolDownSeconds: 1, idleSeconds: 2 };
const SYSTEM_IDS = SYSTEMS.map((system) => system.id).join(', ');
const MEASURE_IDS = MEASURES.map((measure) => measure.id);
const MAX_ROUNDS = 1000;
const MAX_SECONDS = 3600;
const MAX_SOAK_SECONDS = 86_400;
const DEFAULT_FILES = outputFiles({});

/** Adds `bench` to `program`. Failures are thrown as WarrenError. */
export function registerBenchCommands(program: Command): void {
  const command = program
    .command('bench')
    .description('measure this overlay beside others, in namespaces on this machine (needs root)')
    .addOption(
      new Option('--systems <list>', 'which, separated by commas')
        .argParser(parseSystems)
        .default(SYSTEMS, 'all that are installed'),
    )
    .addOption(
      new Option('--paths <which>', 'traffic from node to node, from pod to pod, or both')
        .choices(['node', 'pod', 'all'])
        .default('all'),
    )
    .addOption(
      new Option('--measures <list>', `of ${MEASURE_IDS.join(', ')}`)
        .argParser(parseMeasures)
        .default(MEASURE_IDS, 'all'),
    )
    .option(
      '--rounds <number>',
      `how often everything is measured (default: ${FULL.rounds})`,
      upTo(MAX_ROUNDS),
    )
    .option('--seconds <number>', `of each measurement (default: ${FULL.seconds})`, upTo(MAX_SECONDS))
    .option('--quick', `${QUICK.rounds} round of ${QUICK.seconds} s: to see that it works, not how fast`)
    .option(
      '--soak <seconds>',
      'then watch the memory of warren under load for so long (default: not)',
      upTo(MAX_SOAK_SECONDS),
    )
    .option('--json <file>', `where to write all figures (default: ${DEFAULT_FILES.json})`)
    .option('--html <file>', `where to write a page with plots (default: ${DEFAULT_FILES.html})`)
    .addHelpText(
      'after',
      `\nSystems: ${SYSTEM_IDS}.\nFrom a full run: docs/benchmarks.md says how to read it.`,
    )
    .action((options: Options) => untilInterrupted((signal) => bench(options, signal)));
  registerAgentsCommand(command, fromTo, untilInterrupted);
  registerAttachCommand(command, fromTo, untilInterrupted);
  registerFloodCommand(command, fromTo, untilInterrupted);
}

async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  try {
    await interruptible(work);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    console.error(error.message);
    process.exitCode = error.exitCode;
  }
}

async function bench(options: Options, signal: AbortSignal): Promise<void> {
  requireForLab('a benchmark', ['ip', 'nsenter', 'tee', 'ping', 'iperf3']);
  const files = outputFiles(options);
  checkWritable(files);
  const preset = options.quick ? QUICK : FULL;
  const line = new LiveLine(process.stderr);
  const report = await runBench({
    systems: options.systems,
    measures: options.measures,
    paths: options.paths === 'all' ? ['node', 'pod'] : [options.paths],
    rounds: options.rounds ?? preset.rounds,
    seconds: options.seconds ?? preset.seconds,
    coolDownSeconds: preset.coolDownSeconds,
    idleSeconds: preset.idleSeconds,
    soakSeconds: options.soak ?? 0,
    line,
    signal,
  });
  process.stdout.write(`\n${renderReport(report)}`);
  writeReport(report, files);
  process.stdout.write(`\nAll figures: ${files.json}\nWith plots:  ${files.html}\n`);
  if (!isComplete(report)) process.exitCode = 1;
}

/** Others may be missing; warren itself and its baselines must have been measured wherever they were asked for. */
function isComplete({ systems, lanes, soak }: BenchReport): boolean {
  const ours = systems.filter(({ role }) => role === 'warren' || role === 'bare' || role === 'kernel');
  const isOurs = new Set(ours.map((system) => system.id));
  return (
    soak?.failure === undefined &&
    ours.every((system) => system.skipped === undefined) &&
    lanes.every((lane) => !isOurs.has(lane.system) || lane.failures.length === 0)
  );
}

function upTo(most: number): (text: string) => number {
  return fromTo(1, most);
}

function fromTo(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}

function parseMeasures(text: string): MeasureId[] {
  return text.split(',').map((name) => {
    const found = MEASURE_IDS.find((id) => id === name);
    if (found === undefined) {
      throw new InvalidArgumentError(`There is no measure ${name}; there are: ${MEASURE_IDS.join(', ')}.`);
    }
    return found;
  });
}

function parseSystems(text: string): System[] {
  const found = selectSystems(text.split(','));
  if (found === undefined) throw new InvalidArgumentError(`The systems are: ${SYSTEM_IDS}.`);
  return found;
}
