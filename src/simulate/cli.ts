/** `warren simulate`: the protocol's behaviour in large clusters and bad networks, without a network. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { timingPresets } from '../membership/timing.ts';
import type { CliContext } from '../terminal/io.ts';
import { EXIT_FAILURE } from '../terminal/io.ts';
import { FIRST } from './inventory-report.ts';
import { runLeaseHistory } from './lease-history.ts';
import { type Extent, type Part, type PartResult, partsOf } from './parts.ts';
import { runParts, threadRunner } from './pool.ts';
import { renderReport } from './report.ts';
import { collectResults } from './results.ts';
import { evaluateTargets } from './targets.ts';

interface Options extends Extent {
  readonly report?: string;
}

/** Each has 100,000 histories of its own, so that no seed of one is above what a number holds exactly. */
const MAX_SEED = 1_000_000;
const MAX_HISTORY_SEED = MAX_SEED * 100_000 + 1_000_000;

export function registerSimulateCommand(program: Command, context: CliContext): void {
  const command = program
    .command('simulate')
    .description('run the protocol itself in a simulated cluster: news, false alarms, lease histories')
    .option('--seed <number>', 'decides everything; the same seed is the same run', whole(0, MAX_SEED), 1)
    .option('--nodes <number>', 'the largest cluster', whole(10, 10_000), 1000)
    .option(
      '--minutes <number>',
      'virtual minutes of the run with loss and pauses; 0: none',
      whole(0, 10_000),
      1,
    )
    .option('--histories <number>', 'random lease histories', whole(0, 100_000), 200)
    .option(
      '--attaches <number>',
      'attaches and detaches in up to 100 nodes with 100 attachments each; 0: none',
      whole(0, 10_000),
      200,
    )
    .option('--report <folder>', 'write the results there as simulation.md with plots')
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  warren simulate                      small, a few minutes\n' +
        '  npm run simulate                     everything, and docs/simulation.md\n' +
        '  warren simulate history 4711         one lease history, step by step',
    )
    .action((options: Options) => simulate(options, context));
  command
    .command('history')
    .description('replay one lease history and print what happens in it')
    .argument('<seed>', 'as a failure names it', whole(0, MAX_HISTORY_SEED))
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

async function simulate(options: Options, context: CliContext): Promise<void> {
  const { stdout, stderr } = context.io;
  const print = (text: string) => stdout.write(`${text}\n`);
  const parts = partsOf(options);
  const results: PartResult[] = [];
  print('nodes   join s  leave s  dead s  then s  bytes/s');
  await runParts(parts, availableParallelism(), threadRunner, (result, part) => {
    results.push(result);
    for (const line of linesOf(result, part)) print(line);
    if (stderr.isTerminal) stderr.write(`\r${results.length} of ${parts.length} parts \r`);
  });

  const { gossipIntervalMs } = timingPresets.lan;
  const all = collectResults(options.seed, gossipIntervalMs, results);
  const { histories, slowestAgreementMs } = all.leases;
  if (histories > 0) {
    print(
      `${histories} lease histories: slowest agreement ${seconds(slowestAgreementMs)} s after the last heal`,
    );
  }
  const targets = evaluateTargets(all);
  for (const { name, target, figure, verdict } of targets) {
    print(`target ${verdict}: ${name}: ${figure} (target: ${target})`);
  }
  if (targets.some(({ verdict }) => verdict === 'missed')) {
    context.exitCode = EXIT_FAILURE;
    const { seed, nodes, minutes, attaches } = options;
    print(
      `the same again: warren simulate --seed ${seed} --nodes ${nodes} --minutes ${minutes} --histories ${histories} --attaches ${attaches}`,
    );
  }
  if (options.report === undefined) return;
  mkdirSync(options.report, { recursive: true });
  for (const [name, content] of renderReport(all, targets))
    writeFileSync(join(options.report, name), content);
  print(`written to ${join(options.report, 'simulation.md')}`);
}

/** What is said of a part as soon as it is done. */
function linesOf({ kind, result }: PartResult, part: Part): string[] {
  switch (kind) {
    case 'news': {
      const { nodes, join, leave, detectedMs, death, bytesPerSecond } = result;
      const times = [join.toMost, leave.toMost, detectedMs, death.toMost].map((ms) =>
        seconds(ms).padStart(6),
      );
      return [`${String(nodes).padEnd(6)}  ${times.join('  ')}  ${Math.round(bytesPerSecond)}`];
    }
    case 'alarms': {
      const { nodes, durationMs, healthyDeclaredDead, pausedDeclaredDead, suspicions, examples } = result;
      const lifeguard = part.kind === 'alarms' && part.lifeguard ? 'with Lifeguard' : 'without Lifeguard';
      return [
        `${nodes} nodes, ${durationMs / 60_000} minutes of 5 % loss and 1 % paused, ${lifeguard}: ` +
          `${healthyDeclaredDead} healthy and ${pausedDeclaredDead} paused nodes declared dead, ${suspicions} suspicions`,
        ...examples.map((example) => `  ${example}`),
      ];
    }
    case 'inventory': {
      const { nodes, attachments, loss, first, knownToAll, callsPerChange, bytesPerChange } = result;
      return [
        `${nodes} nodes of ${attachments} attachments, ${loss * 100} % loss, asking ${FIRST[first]} first: an attach is known ` +
          `to all after ${seconds(knownToAll.p50)} s (p50), ${seconds(knownToAll.p99)} s (p99), ${seconds(knownToAll.most)} s (most); ` +
          `a node makes ${callsPerChange.toFixed(2)} calls and sends ${Math.round(bytesPerChange.udp + bytesPerChange.stream)} bytes for it`,
      ];
    }
    case 'leases':
      return result.failures.map(
        ({ seed, violation }) => `FAILED: ${violation} (replay: warren simulate history ${seed})`,
      );
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}

function whole(least: number, most: number) {
  return (text: string) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
