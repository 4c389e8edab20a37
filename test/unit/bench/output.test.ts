/** Where a run's files go. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { checkWritable, outputFiles, writeReport } from '../../../src/bench/output.ts';
import type { BenchReport } from '../../../src/bench/report.ts';

const report: BenchReport = {
  ...{ format: 1, warren: '0', startedAt: 'now', durationSeconds: 1, rounds: 1, seconds: 1 },
  machine: { kernel: '6', node: '20', cpu: 'CPU', cpus: 2, memoryMb: 1, loadBefore: 0 },
  tools: { iperf3: 'iperf', roundTrip: 'ping' },
  ...{ systems: [], lanes: [], ratios: [], targets: [] },
};

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

test('is a folder below the working one, which checking alone does not make', () => {
  const files = outputFiles({});
  expect(files).toEqual({ json: 'bench-results/report.json', html: 'bench-results/report.html' });
  vi.spyOn(process, 'cwd').mockReturnValue(folder);
  checkWritable(files);
  expect(existsSync(join(folder, 'bench-results'))).toBe(false);
});

test('is what was chosen, each file by itself', () => {
  const files = outputFiles({ json: join(folder, 'a.json') });
  expect(files.html).toBe('bench-results/report.html');
  const both = outputFiles({ json: join(folder, 'a.json'), html: join(folder, 'b.html') });
  checkWritable(both);
  writeReport(report, both);
  expect(JSON.parse(readFileSync(both.json, 'utf8'))).toEqual(report);
  expect(readFileSync(both.html, 'utf8')).toMatch(/^<!doctype html>/);
});

test('must exist if it was chosen', () => {
  const missing = outputFiles({ html: join(folder, 'none', 'b.html') });
  expect(() => checkWritable(missing)).toThrow(/cannot write .*b\.html/);
});
