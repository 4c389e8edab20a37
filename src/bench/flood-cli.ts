/** `warren bench flood`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { WarrenError } from '../errors.ts';
import { requireForLab } from '../lab/program.ts';
import { type Cell, renderTable } from '../terminal/table.ts';
import { type CompiledPrograms, compilePrograms } from './compile.ts';
import { type FloodRound, floodRound, makeInitiations } from './flood.ts';
import { LiveLine } from './live-line.ts';
import { Stage } from './stage.ts';
import { quantile } from './statistics.ts';
import type { System } from './system.ts';
import { selectSystems } from './systems/catalogue.ts';

/** Initiations a second. */
const RATES = [0, 10_000, 50_000] as const;
const SYSTEMS = ['warren-encrypted', 'wireguard-go'];

interface FloodOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly json?: string;
}

/** Of one system, by rate. */
interface SystemRounds {
  readonly system: System;
  readonly rounds: FloodRound[];
}

/** Adds `flood` to `bench`. `number` makes an option's parser; `run` prints what an interruption says. */
export function registerFloodCommand(
  bench: Command,
  number: (least: number, most: number) => (text: string) => number,
  run: (work: (signal: AbortSignal) => Promise<void>) => Promise<void>,
): void {
  bench
    .command('flood')
    .description(
      'what a flood of handshakes does to a session that there is, beside wireguard-go (needs root)',
    )
    .option('--rounds <number>', 'how often everything is measured', number(1, 100), 3)
    .option('--seconds <number>', 'of each measurement', number(1, 600), 3)
    .option('--json <file>', 'write all figures to this file')
    .action((options: FloodOptions) => run((signal) => benchFlood(options, signal)));
}

async function benchFlood({ rounds, seconds, json }: FloodOptions, signal: AbortSignal): Promise<void> {
  requireForLab('a benchmark', ['ip', 'nsenter', 'tee', 'ping', 'iperf3']);
  const programs = await compilePrograms();
  const line = new LiveLine(process.stderr);
  const results: SystemRounds[] = [];
  try {
    for (const system of selectSystems(SYSTEMS)!) {
      const missing = system.unavailable?.(programs);
      if (missing !== undefined) line.print(`skipped  ${system.title}: ${missing}`);
      else
        results.push({ system, rounds: await measure(system, { programs, rounds, seconds, signal, line }) });
    }
  } finally {
    line.clear();
    programs.remove();
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(results.map(plain), null, 2)}\n`);
  process.stdout.write(`\n${render(results)}`);
}

async function measure(
  system: System,
  {
    programs,
    rounds,
    seconds,
    signal,
    line,
  }: { programs: CompiledPrograms; rounds: number; seconds: number; signal: AbortSignal; line: LiveLine },
): Promise<FloodRound[]> {
  const stage = await Stage.build({ id: system.id, wishes: system.stage, programs, signal });
  const folder = mkdtempSync(join(tmpdir(), 'warren-flood-'));
  try {
    const running = await system.start(stage);
    if (running.handshakes === undefined)
      throw new WarrenError('BENCH_SYSTEM_FAILED', `${system.title} has no handshakes`);
    const attacker = await stage.addAttacker();
    const file = join(folder, 'initiations');
    writeFileSync(file, await makeInitiations(running.handshakes.publicKey));
    const all: FloodRound[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const perSecond of RATES) {
        line.show(`round ${round + 1} of ${rounds}  ${system.title}: ${perSecond} initiations a second`);
        all.push(
          await floodRound(stage, running, attacker, programs.handshakeFlood, file, perSecond, seconds),
        );
      }
    }
    return all;
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await stage.down();
  }
}

function render(results: readonly SystemRounds[]): string {
  const rows = results.flatMap(({ system, rounds }) =>
    RATES.map((rate) => {
      const at = rounds.filter(({ perSecond }) => perSecond === rate);
      const alone = rounds.filter(({ perSecond }) => perSecond === 0);
      const speed = (some: readonly FloodRound[]) => median(some.map(({ bitsPerSecond }) => bitsPerSecond));
      const memory = at.flatMap(({ memoryMb }) => memoryMb ?? []);
      return [
        system.title,
        right(String(rate)),
        right((speed(at) / 1e9).toFixed(2)),
        right((speed(at) / speed(alone)).toFixed(2)),
        right(memory.length === 0 ? '-' : Math.max(...memory).toFixed(0)),
      ];
    }),
  );
  const heads = [
    'SYSTEM',
    right('INITIATIONS/S'),
    right('TCP 1, Gbit/s'),
    right('SHARE'),
    right('MEMORY, MB'),
  ];
  return renderTable(heads, rows, (text) => text);
}

const right = (text: string): Cell => ({ text, right: true });

function median(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );
}

function plain({ system, rounds }: SystemRounds) {
  return { system: system.id, rounds };
}
