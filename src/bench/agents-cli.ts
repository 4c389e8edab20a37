/** `warren bench agents`. */
import { writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { requireForLab } from '../lab/program.ts';
import { VERSION } from '../package.ts';
import { type AgentProgram, type AgentTimes, measureAgents } from './agents.ts';
import { type AgentsReport, agentTargets, programReport, renderAgents } from './agents-report.ts';
import { LiveLine } from './live-line.ts';
import { describeMachine } from './machine.ts';
import { notInstalled, programVersion } from './programs.ts';

export interface AgentsOptions {
  readonly count: number;
  readonly rounds: number;
  readonly json?: string;
}

/** Adds `agents` to `bench`. `number` makes an option's parser; `run` prints what an interruption says. */
export function registerAgentsCommand(
  bench: Command,
  number: (least: number, most: number) => (text: string) => number,
  run: (work: (signal: AbortSignal) => Promise<void>) => Promise<void>,
): void {
  bench
    .command('agents')
    .description("how fast real agents join, miss and find each other, beside Debian's serf (needs root)")
    .option('--count <number>', 'of agents', number(12, 200), 20)
    .option('--rounds <number>', 'how often everything is measured', number(1, 100), 3)
    .option('--json <file>', 'write all figures to this file')
    .action((options: AgentsOptions) => run((signal) => benchAgents(options, signal)));
}

async function benchAgents({ count, rounds, json }: AgentsOptions, signal: AbortSignal): Promise<void> {
  requireForLab('a benchmark', ['ip', 'nsenter', 'tee']);
  const startedAt = new Date().toISOString();
  const machine = describeMachine();
  const line = new LiveLine(process.stderr);
  const missing = notInstalled(['serf'], 'serf');
  if (missing !== undefined) line.print(`skipped  serf: ${missing}`);
  const programs: readonly AgentProgram[] = missing === undefined ? ['warren', 'serf'] : ['warren'];
  const samples = new Map<AgentProgram, AgentTimes[]>(programs.map((program) => [program, []]));
  for (let round = 0; round < rounds; round++) {
    // Each round begins with another one: a machine's speed drifts.
    for (let i = 0; i < programs.length; i++) {
      const program = programs[(i + round) % programs.length]!;
      const title = `round ${round + 1} of ${rounds}  ${program}`;
      const times = await measureAgents(program, count, signal, (doing) => line.show(`${title}: ${doing}`));
      samples.get(program)!.push(times);
      line.print(
        `${title}: join ${times.joinMs} ms, five killed ${times.deathMs} ms, healed ${times.healMs} ms, ` +
          `${Math.round(times.bytesPerSecond)} B/s`,
      );
    }
  }
  line.clear();
  const reports = await Promise.all(
    programs.map(async (program) => {
      const version = program === 'warren' ? VERSION : await programVersion(['serf', 'version'], 'serf');
      return programReport(program, version, samples.get(program)!);
    }),
  );
  const targets = agentTargets(reports[0]!, reports[1]);
  const report: AgentsReport = {
    format: 1,
    startedAt,
    agents: count,
    rounds,
    machine,
    programs: reports,
    targets,
  };
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
  process.stdout.write(`\n${renderAgents(report)}`);
}
