/** The benchmark works: a round of one second over the underlay, the roofline and warren. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findProgram } from '../../src/bench/programs.ts';
import type { BenchReport } from '../../src/bench/report.ts';
import { type CommandResult, runCommand, startCommand } from '../../src/lab/command.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

/** A minute on a quiet machine. */
const BENCH_TIMEOUT_MS = 280_000;

let folder: string;
/** Temporary folders of runs that were killed, which nobody removes. */
let before: ReadonlySet<string>;

function bench(...args: string[]): Promise<CommandResult> {
  // Files that are not asked for by name go to the working folder.
  const argv = ['env', `--chdir=${folder}`, process.execPath, WARREN_PROGRAM, 'bench', ...args];
  return runCommand(argv, { timeoutMs: BENCH_TIMEOUT_MS });
}

/** What a benchmark makes outside of its own folder. */
function leftOvers(): string[] {
  const names = ['/run/netns', '/run/warren', tmpdir()]
    .flatMap((place) => (existsSync(place) ? readdirSync(place) : []))
    .filter((name) => /^(warrenlab-bench|warren-bench|lab-bench)/.test(name));
  return names.filter((name) => !before.has(name));
}

beforeEach(() => {
  before = new Set();
  before = new Set(leftOvers().filter((name) => existsSync(join(tmpdir(), name))));
  folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'iperf3'), 'warren bench', () => {
  test('measures what is there, and leaves a table, JSON and a page', { timeout: 300_000 }, async () => {
    const html = join(folder, 'bench.html');
    const systems = 'veth,roofline,sealed-roofline,warren';
    const { code, stdout, stderr } = await bench(
      ...['--quick', '--paths', 'node', '--measures', 'tcp1,rtt', '--systems', systems],
      ...['--soak', '6', '--html', html],
    );
    expect(code, stdout + stderr).toBe(0);
    expect(stderr).toMatch(/^round 1 of 1 {2}warren, node to node: TCP [\d.]+ Gbit\/s/m);
    expect(stdout).toMatch(/^warren, node to node +[\d.]+$/m);
    expect(stdout).toMatch(/^(met|missed) +peak memory of one agent +[\d.]+ \(<= 110 MB\)$/m);

    expect(stdout).toContain(`All figures: bench-results/report.json\nWith plots:  ${html}\n`);
    const json = readFileSync(join(folder, 'bench-results', 'report.json'), 'utf8');
    const report = JSON.parse(json) as BenchReport;
    const isBuilt = (id: string) =>
      !id.endsWith('roofline') ||
      (findProgram('gcc') !== undefined && (id === 'roofline' || existsSync('/usr/include/openssl/evp.h')));
    const measured = systems.split(',').filter(isBuilt);
    expect(report.lanes.map((lane) => lane.id)).toEqual(measured);
    for (const { id, metrics, failures } of report.lanes) {
      expect(failures, id).toEqual([]);
      expect(metrics.tcp1?.median, id).toBeGreaterThan(0.01);
      expect(metrics.rttP50?.median, id).toBeGreaterThan(0.1);
      expect(metrics.rttP99!.median, id).toBeGreaterThanOrEqual(metrics.rttP50!.median);
      expect(metrics.cpuMachine?.median, id).toBeGreaterThan(0);
    }
    const warren = report.lanes.find((lane) => lane.id === 'warren')!.metrics;
    expect(warren.memorySender?.median).toBeGreaterThan(20);
    expect(warren.memoryReceiver?.median).toBeGreaterThan(20);
    expect(warren.cpuSender?.median).toBeGreaterThan(0);
    expect(warren.cpuReceiver?.median).toBeGreaterThan(0);
    expect(warren.cpuAgents!.median).toBeLessThan(warren.cpuMachine!.median * 1.1);
    expect(report.targets.filter((target) => target.figure !== undefined).length).toBeGreaterThanOrEqual(3);

    const { soak } = report;
    expect(soak).toMatchObject({ lane: 'warren', seconds: 6 });
    expect(soak?.gigabitsPerSecond).toBeGreaterThan(0.01);
    expect(soak?.agents.map(({ side }) => side)).toEqual(['sender', 'receiver']);
    for (const { residentMb, maxMb } of soak!.agents) {
      expect(residentMb.length).toBeGreaterThanOrEqual(3);
      expect(maxMb).toBe(Math.max(...residentMb));
      expect(maxMb).toBeGreaterThan(20);
    }

    expect(readFileSync(html, 'utf8')).toMatch(/<svg.*<\/html>\n$/s);
    expect(leftOvers()).toEqual([]);
  });

  test('cleans up when it is interrupted', async () => {
    const argv = [process.execPath, WARREN_PROGRAM, 'bench', '--systems', 'veth,warren'];
    const child = startCommand(argv, { stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
    // Two stages at once: it is in the middle of it.
    while (leftOvers().filter((name) => name.startsWith('lab-bench')).length < 2) {
      expect(child.exitCode).toBeNull();
      await delay(20);
    }
    child.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(leftOvers()).toEqual([]);
  });

  test.each([
    [['--systems', 'vhs'], /The systems are: veth,/],
    [['--json', '/nonexistent/bench.json'], /cannot write \/nonexistent\/bench\.json/],
  ])('refuses %j', async (args, reason) => {
    const { code, stderr } = await bench(...args);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(reason);
    expect(stderr).not.toContain('    at ');
    expect(leftOvers()).toEqual([]);
  });
});
