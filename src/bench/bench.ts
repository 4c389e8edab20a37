/**
 * `warren bench`: every system side by side, measured in interleaved rounds.
 *
 *     compile -> FDB -> set up each system on a stage of its own -> warm up -> watch them idle
 *             -> round 1: every lane, every measure -> round 2 ... -> soak -> report
 *
 * All systems stand all the time; one is measured at a time. Each round begins with another lane, so that no
 * system always has the same neighbour or the same minute of a machine whose speed drifts.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { errorMessage } from '../errors.ts';
import { orAborted } from '../lab/interrupt.ts';
import { VERSION } from '../package.ts';
import { type CompiledPrograms, compilePrograms } from './compile.ts';
import { measureFdb } from './fdb-figure.ts';
import { iperfVersion, measureTcp } from './iperf.ts';
import { LaneRecord } from './lane-record.ts';
import type { LiveLine } from './live-line.ts';
import { describeMachine } from './machine.ts';
import { measure, type Sample } from './measure.ts';
import { MEASURES, type MeasureId } from './metrics.ts';
import { cpuSeconds } from './processes.ts';
import { ratiosOf } from './ratios.ts';
import type { BenchReport, SystemReport } from './report.ts';
import { roundTripMethod } from './round-trip.ts';
import { type SoakReport, soak } from './soak.ts';
import { Stage } from './stage.ts';
import type { RunningSystem, System } from './system.ts';
import { evaluateTargets } from './targets.ts';
import { roundLine, soakLine } from './text.ts';

export interface BenchOptions {
  readonly systems: readonly System[];
  readonly paths: readonly ('node' | 'pod')[];
  readonly measures: readonly MeasureId[];
  readonly rounds: number;
  /** Whole seconds of one measurement. */
  readonly seconds: number;
  /** After the warm-up, before idle is idle: garbage collectors tidy up for some seconds. */
  readonly coolDownSeconds: number;
  readonly idleSeconds: number;
  /** How long to watch warren's memory under load; 0: not at all. */
  readonly soakSeconds: number;
  readonly line: LiveLine;
  readonly signal: AbortSignal;
}

/** Id of the system whose memory is watched. */
const SOAKED_SYSTEM = 'warren';

/** Between two measurements: what is still on its way may arrive. */
const SETTLE_MS = 100;

/** Runs all of it and removes what was made, also when it fails or is interrupted. */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const startedAt = new Date().toISOString();
  const startMs = performance.now();
  const machine = describeMachine();
  const { line, signal } = options;
  line.show('compiling the C programs');
  const programs = await compilePrograms();
  const stages: Stage[] = [];
  try {
    // While nothing else stands: it is a matter of this process alone.
    line.show('looking addresses up in the FDB');
    const wantsFdb = options.systems.some((system) => system.role === 'warren');
    const fdbLookupsPerSecond = wantsFdb ? await orAborted(measureFdb(), signal) : undefined;
    const attempts = await setUpAll(options, programs, stages);
    const lanes = attempts.flatMap(({ system, running }) =>
      (running?.paths ?? [])
        .filter((path) => options.paths.includes(path.kind))
        .map((path) => new LaneRecord(system, path, running?.processes ?? [])),
    );
    await warmUp(lanes, options);
    const systems = await watchIdle(attempts, options);
    await runRounds(lanes, options, programs);
    const soaked = await runSoak(lanes, options);
    const reports = lanes.map((lane) => lane.report());
    return {
      format: 1,
      warren: VERSION,
      startedAt,
      durationSeconds: Math.round((performance.now() - startMs) / 1000),
      rounds: options.rounds,
      seconds: options.seconds,
      machine,
      tools: { iperf3: await iperfVersion(), roundTrip: roundTripMethod(programs.roundTrip) },
      systems,
      lanes: reports,
      ...(soaked === undefined ? {} : { soak: soaked }),
      ratios: ratiosOf(reports, systems),
      targets: evaluateTargets({ lanes: reports, systems, soak: soaked, fdbLookupsPerSecond }),
    };
  } finally {
    line.show('removing what was made');
    for (const stage of stages) await stage.down();
    programs.remove();
    line.clear();
  }
}

/** A system and how it stands; without `running`, why it does not. */
interface Attempt {
  readonly system: System;
  readonly running?: RunningSystem;
  readonly skipped?: string;
}

/** Sets the systems up one after the other. Every stage that was built is in `stages`, whatever happens. */
async function setUpAll(
  options: BenchOptions,
  programs: CompiledPrograms,
  stages: Stage[],
): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (const system of options.systems) {
    options.line.show(`setting up ${system.title}`);
    const attempt = await setUp(system, options, programs, stages);
    if (attempt.skipped !== undefined) options.line.print(`skipped  ${system.title}: ${attempt.skipped}`);
    attempts.push(attempt);
  }
  return attempts;
}

async function setUp(
  system: System,
  { signal }: BenchOptions,
  programs: CompiledPrograms,
  stages: Stage[],
): Promise<Attempt> {
  const unavailable = system.unavailable?.(programs);
  if (unavailable !== undefined) return { system, skipped: unavailable };
  let stage: Stage | undefined;
  try {
    stage = await Stage.build({ id: system.id, wishes: system.stage, programs, signal });
    stages.push(stage);
    return { system, running: await orAborted(system.start(stage), signal) };
  } catch (error) {
    signal.throwIfAborted();
    await stage?.down();
    return { system, skipped: oneLine(error) };
  }
}

/** Compilers finish, path MTUs are found, before anything counts. */
async function warmUp(lanes: readonly LaneRecord[], { line, signal }: BenchOptions): Promise<void> {
  for (const lane of lanes) {
    line.show(`warming up ${lane.title}`);
    // A lane that does not work says so in every round.
    await orAborted(
      measureTcp(lane.path, 1, 1).catch(() => {}),
      signal,
    );
  }
}

/** Describes every system, with the CPU that its agents take while nobody sends anything. */
async function watchIdle(attempts: readonly Attempt[], options: BenchOptions): Promise<SystemReport[]> {
  const { line, coolDownSeconds, idleSeconds, signal } = options;
  const watched = attempts.some(({ running }) => (running?.processes ?? []).length > 0);
  if (watched) {
    line.show(`watching everything idle for ${coolDownSeconds + idleSeconds} s`);
    await pause(coolDownSeconds * 1000, signal);
  }
  const cpu = (): number[][] =>
    attempts.map(({ running }) => (running?.processes ?? []).map((process) => cpuSeconds(process)));
  const before = cpu();
  const startMs = performance.now();
  if (watched) await pause(idleSeconds * 1000, signal);
  const seconds = (performance.now() - startMs) / 1000;
  const after = cpu();
  return attempts.map(({ system, running, skipped }, index) => {
    const { id, title, role, encrypted } = system;
    const shares = after[index]!.flatMap((used, agent) => {
      const share = ((used - before[index]![agent]!) / seconds) * 100;
      // A process that has ended has no CPU time any more.
      return share < 0 ? [] : share;
    });
    return {
      ...{ id, title, role, encrypted },
      ...(skipped === undefined ? {} : { skipped }),
      ...(running === undefined ? {} : { version: running.version, settings: running.settings }),
      ...(shares.length === 0 ? {} : { idlePercent: Math.max(...shares) }),
    };
  });
}

async function runRounds(
  lanes: readonly LaneRecord[],
  options: BenchOptions,
  programs: CompiledPrograms,
): Promise<void> {
  const { line, rounds, seconds, signal } = options;
  const total = rounds * lanes.length;
  const startMs = performance.now();
  let done = 0;
  for (let round = 1; round <= rounds; round++) {
    for (let i = 0; i < lanes.length; i++) {
      const lane = lanes[(i + round - 1) % lanes.length]!;
      const before = `round ${round} of ${rounds}  ${lane.title}`;
      const left = timeLeft(performance.now() - startMs, done, total);
      const all: Sample = {};
      for (const { id, title } of MEASURES) {
        if (!options.measures.includes(id)) continue;
        line.show(`${before}: ${title}${left}`);
        try {
          const context = { path: lane.path, processes: lane.processes, programs, seconds };
          const sample = await orAborted(measure(id, context), signal);
          lane.add(sample);
          Object.assign(all, sample);
        } catch (error) {
          signal.throwIfAborted();
          lane.fail({
            round,
            measure: id,
            reason: lane.isRunning ? oneLine(error) : 'a daemon of it has ended',
          });
        }
        await pause(SETTLE_MS, signal);
      }
      lane.addMemory();
      done++;
      line.print(`${before}: ${roundLine(all)}${timeLeft(performance.now() - startMs, done, total)}`);
      for (const { measure, reason } of lane.failuresOf(round)) line.print(`  failed  ${measure}: ${reason}`);
    }
  }
}

/** Through warren as shipped, on the first of its ways that is measured. */
async function runSoak(
  lanes: readonly LaneRecord[],
  { soakSeconds, line, signal }: BenchOptions,
): Promise<SoakReport | undefined> {
  const lane = lanes.find(({ system }) => system === SOAKED_SYSTEM);
  if (soakSeconds === 0) return undefined;
  if (lane === undefined) {
    line.print(`soak: ${SOAKED_SYSTEM} is not among what was measured`);
    return undefined;
  }
  line.show(`soak: ${lane.title}, watching its memory under load for ${soakSeconds} s`);
  const report = await orAborted(soak(lane, soakSeconds), signal);
  line.print(soakLine(report));
  return report;
}

/** "  (4 min left)", once there is something to reckon from. */
function timeLeft(elapsedMs: number, done: number, total: number): string {
  if (done === 0 || done === total) return '';
  const seconds = Math.round(((elapsedMs / done) * (total - done)) / 1000);
  return `  (${seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`} left)`;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // An abort ends the wait with an error of its own; the signal's reason says more.
  await delay(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}

function oneLine(error: unknown): string {
  return errorMessage(error)
    .trim()
    .replaceAll(/\s*\n\s*/g, ' / ');
}
