/** What other programs print, and what is made of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readIperf, udpResult } from '../../../src/bench/iperf.ts';
import { cpuSeconds, machineBusySeconds, peakMemoryMb } from '../../../src/bench/processes.ts';
import { findProgram, notInstalled } from '../../../src/bench/programs.ts';
import { readPings } from '../../../src/bench/round-trip.ts';
import { stageLabName } from '../../../src/bench/stage.ts';
import { SYSTEMS, selectSystems } from '../../../src/bench/systems/catalogue.ts';
import { checkLabName } from '../../../src/lab/names.ts';

const SUMS = {
  sum_sent: { bytes: 22_226_560, seconds: 1.008, packets: 347_290, sender: true },
  sum_received: { bytes: 8_511_808, seconds: 1.01, packets: 347_288, lost_packets: 214_291, sender: false },
};

test('reads the sums of iperf3', () => {
  const { sent, received } = readIperf(JSON.stringify({ start: {}, end: SUMS }), '');
  expect(received.bytes).toBe(8_511_808);
  const { packetsPerSecond, lost } = udpResult(64, sent, received);
  expect(packetsPerSecond).toBeCloseTo(132_997 / 1.01, 0);
  expect(lost).toBeCloseTo((347_290 - 132_997) / 347_290, 6);
});

test('counts packets that were lost behind the last one that came', () => {
  const sent = { bytes: 6400, seconds: 1, packets: 100 };
  expect(udpResult(64, sent, { bytes: 3200, seconds: 1, packets: 50 }).lost).toBe(0.5);
  // A packet of the handshake may be counted on one side alone.
  expect(udpResult(64, sent, { bytes: 6464, seconds: 1, packets: 101 }).lost).toBe(0);
});

test.each([
  ['{"error": "error - unable to connect to server: Connection refused"}', '', /^iperf3: unable to connect/],
  ['', 'iperf3: error - something\n', /something/],
  ['', '', /stopped/],
  ['{"end": {}}', '', /no result/],
  ['{"end": 1}', '', /another shape/],
  [JSON.stringify({ end: { ...SUMS, sum_received: { bytes: 0, seconds: 1 } } }), '', /nothing arrived/],
])('says what iperf3 says: %s %s', (stdout, stderr, reason) => {
  expect(() => readIperf(stdout, stderr)).toThrow(reason);
});

test('takes the quantiles of ping', () => {
  const lines = Array.from(
    { length: 100 },
    (_, i) => `64 bytes from 10.0.0.1: icmp_seq=${i} ttl=64 time=0.${i + 100} ms`,
  );
  const { p50Us, p99Us } = readPings(
    ['PING 10.0.0.1', ...lines, 'rtt min/avg/max/mdev = 1/2/3/4 ms'].join('\n'),
  );
  expect(p50Us).toBeCloseTo(149.5);
  expect(p99Us).toBeCloseTo(198.01);
  expect(() => readPings('PING 10.0.0.1 ...')).toThrow(/no echo/);
});

test('knows which programs there are', () => {
  const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
  const path = process.env.PATH;
  try {
    writeFileSync(join(folder, 'warren-test-tool'), '', { mode: 0o755 });
    expect(findProgram('warren-test-tool')).toBeUndefined();
    expect(notInstalled(['warren-test-tool'], 'tool')).toMatch(
      /warren-test-tool not installed.*apt-get install tool/,
    );
    process.env.PATH = `${path}:${folder}`;
    expect(findProgram('warren-test-tool')).toBe(join(folder, 'warren-test-tool'));
    expect(notInstalled(['warren-test-tool'], 'tool')).toBeUndefined();
  } finally {
    process.env.PATH = path;
    rmSync(folder, { recursive: true });
  }
});

test('reads the CPU time and memory of a process', () => {
  const self = { pid: process.pid, startTime: '' };
  const before = { own: cpuSeconds(self), machine: machineBusySeconds(), usage: process.cpuUsage() };
  // Until the kernel's other account of the same thing (getrusage) says so, however long that takes.
  let usedSeconds = 0;
  while (usedSeconds < 0.05) {
    const { user, system } = process.cpuUsage(before.usage);
    usedSeconds = (user + system) / 1e6;
  }
  // The two are brought up to date at different moments, a tick apart.
  const ownSeconds = cpuSeconds(self) - before.own;
  expect(ownSeconds).toBeGreaterThan(usedSeconds - 0.02);
  expect(ownSeconds).toBeLessThan(usedSeconds + 0.02);
  expect(machineBusySeconds() - before.machine).toBeGreaterThanOrEqual(0.02);
  expect(peakMemoryMb(self)).toBeGreaterThan(10);
  const gone = { pid: 2 ** 22 + 1, startTime: '' };
  expect(cpuSeconds(gone)).toBe(0);
  expect(peakMemoryMb(gone)).toBeUndefined();
});

test('every system has an id and a lab of its own', () => {
  const ids = SYSTEMS.map((system) => system.id);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) {
    expect(id).toMatch(/^[a-z][a-z0-9-]*$/);
    checkLabName(stageLabName(id));
  }
  expect(new Set(ids.map(stageLabName)).size).toBe(ids.length);
});

test('selects systems in the order of the tables, and none if one is unknown', () => {
  expect(selectSystems(['warren', 'veth'])?.map((system) => system.id)).toEqual(['veth', 'warren']);
  expect(selectSystems(['veth', 'vhs'])).toBeUndefined();
});
