/** `warren simulate`: the protocol's behaviour in large clusters and bad networks, without a network. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { CliContext } from '../cli/io.ts';
import { EXIT_FAILURE } from '../cli/io.ts';
import { runCommand } from '../host/command.ts';
import { timingPresets, withoutLifeguard } from '../membership/timing.ts';
import { measureAgents } from './agents.ts';
import { type Dissemination, measureDissemination } from './dissemination.ts';
import { type FalsePositives, measureFalsePositives } from './false-positives.ts';
import { runLeaseHistory } from './lease-history.ts';
import { type LeaseResults, renderReport } from './report.ts';

const SIZES = [10, 30, 100, 300, 1000, 3000, 10_000];

interface Options {
  readonly seed: number;
  readonly report?: string;
  readonly nodes: number;
  readonly histories: number;
  readonly minutes: number;
}

export function registerSimulateCommand(program: Command, context: CliContext): void {
  const command = program
    .command('simulate')
    .description('run the protocol itself in a simulated cluster: news, false alarms, lease histories')
    .option('--seed <number>', 'decides everything; the same seed is the same run', whole(0), 1)
    .option('--nodes <number>', 'the largest cluster', whole(4), 1000)
    .option('--minutes <number>', 'virtual minutes of the run with loss and pauses; 0: none', whole(0), 2)
    .option('--histories <number>', 'random lease histories', whole(0), 200)
    .option('--report <folder>', 'write the results there as simulation.md with plots')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  warren simulate                                  a minute, small\n' +
        '  warren simulate --nodes 10000 --minutes 60 --histories 10000 --report docs    everything, an hour\n' +
        '  warren simulate history 4711                     one lease history, step by step',
    )
    .action((options: Options) => simulate(options, context));
  command
    .command('agents')
    .description("real agents in network namespaces (needs root), beside Serf's where serf is installed")
    .argument('[count]', 'how many', whole(12), 20)
    .action((count: number) => compareAgents(count, context.io));
  command
    .command('history')
    .description('replay one lease history and print what happens in it')
    .argument('<seed>', 'as a failure names it', whole(0))
    .action(async (seed: number) => {
      const { events, violations, agreedAfterMs } = await runLeaseHistory(seed);
      context.io.stdout.write(`${events.join('\n')}\n`);
      context.io.stdout.write(
        violations.length === 0
          ? `all held; agreed ${agreedAfterMs} ms after the last heal\n`
          : `${violations.join('\n')}\n`,
      );
      if (violations.length > 0) context.exitCode = EXIT_FAILURE;
    });
}

async function compareAgents(count: number, { stdout, stderr }: CliContext['io']): Promise<void> {
  const progress = (doing: string) => stderr.write(`${doing}\n`);
  const results = [await measureAgents('warren', count, progress)];
  if (await isInstalled('serf')) results.push(await measureAgents('serf', count, progress));
  else stderr.write('serf is not installed (apt-get install serf): warren alone\n');
  stdout.write(`${count} agents        join s  five killed s  healed s  bytes/s per node\n`);
  for (const { program, joinMs, deathMs, healMs, bytesPerSecond } of results) {
    const times = [joinMs, deathMs, healMs].map((ms) => (ms / 1000).toFixed(1));
    stdout.write(
      `${program.padEnd(16)}  ${times[0]!.padStart(6)}  ${times[1]!.padStart(13)}  ${times[2]!.padStart(8)}  ${String(Math.round(bytesPerSecond)).padStart(16)}\n`,
    );
  }
}

async function isInstalled(program: string): Promise<boolean> {
  try {
    await runCommand([program, 'version']);
    return true;
  } catch {
    return false;
  }
}

async function simulate(options: Options, context: CliContext): Promise<void> {
  const { seed, report } = options;
  const { stdout, stderr } = context.io;
  const timing = timingPresets.lan;
  const print = (text: string) => stdout.write(`${text}\n`);

  print('nodes   join s  leave s  dead s  then s  bytes/s');
  const dissemination: Dissemination[] = [];
  for (const nodes of SIZES.filter((size) => size <= options.nodes)) {
    const result = await measureDissemination({ seed, nodes, timing });
    dissemination.push(result);
    const times = [result.join.toMost, result.leave.toMost, result.detectedMs, result.death.toMost];
    print(
      `${String(nodes).padEnd(6)}  ${times.map((ms) => (ms / 1000).toFixed(2).padStart(6)).join('  ')}  ${Math.round(result.bytesPerSecond)}`,
    );
  }

  let falsePositives: { withLifeguard: FalsePositives; without: FalsePositives } | undefined;
  if (options.minutes > 0) {
    const nodes = Math.min(1000, options.nodes);
    const bad = {
      seed,
      nodes,
      durationMs: options.minutes * 60_000,
      loss: 0.05,
      paused: 0.01,
      maxPauseMs: 10_000,
    };
    const progress = (ms: number) =>
      stderr.isTerminal && stderr.write(`\r${ms / 60_000} of ${options.minutes} minutes\r`);
    const withLifeguard = await measureFalsePositives({ ...bad, timing }, progress);
    const without = await measureFalsePositives({ ...bad, timing: withoutLifeguard(timing) }, progress);
    falsePositives = { withLifeguard, without };
    print(
      `${nodes} nodes, ${options.minutes} minutes of 5 % loss and 1 % paused: ${withLifeguard.healthyDeclaredDead} healthy ` +
        `nodes declared dead; without Lifeguard ${without.healthyDeclaredDead}`,
    );
  }

  const leases = await runHistories(seed, options.histories, print);
  print(
    `${leases.histories} lease histories: ${leases.failures.length} failed, ` +
      `slowest agreement ${(leases.slowestAgreementMs / 1000).toFixed(1)} s after the last heal`,
  );
  if (leases.failures.length > 0) context.exitCode = EXIT_FAILURE;
  if (report === undefined) return;
  mkdirSync(report, { recursive: true });
  const { gossipIntervalMs } = timing;
  for (const [name, content] of renderReport({
    seed,
    gossipIntervalMs,
    dissemination,
    falsePositives,
    leases,
  })) {
    writeFileSync(join(report, name), content);
  }
  print(`written to ${join(report, 'simulation.md')}`);
}

async function runHistories(
  seed: number,
  histories: number,
  print: (text: string) => void,
): Promise<LeaseResults> {
  const firstSeed = seed * 100_000;
  const failures: { seed: number; violation: string }[] = [];
  let slowestAgreementMs = 0;
  for (let one = firstSeed; one < firstSeed + histories; one++) {
    const { violations, agreedAfterMs } = await runLeaseHistory(one);
    slowestAgreementMs = Math.max(slowestAgreementMs, agreedAfterMs);
    const [violation] = violations;
    if (violation === undefined) continue;
    failures.push({ seed: one, violation });
    print(`FAILED with seed ${one}: ${violation} (replay: warren simulate history ${one})`);
  }
  return { histories, firstSeed, failures, slowestAgreementMs };
}

function whole(least: number) {
  return (text: string) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= least && value <= 1_000_000) return value;
    throw new InvalidArgumentError(`It must be a whole number, ${least} or more.`);
  };
}
