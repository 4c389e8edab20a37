/** Watching memory; how its figures are judged and shown is in report.test.ts, that it works under load in e2e. */
import { expect, test } from 'vitest';
import { currentMemory } from '../../../src/bench/processes.ts';
import { soak } from '../../../src/bench/soak.ts';
import { soakLine } from '../../../src/bench/text.ts';
import { LabNamespace } from '../../../src/lab/host.ts';
import { identifyProcess } from '../../../src/lab/process.ts';

test('reads what a process has resident', () => {
  const self = identifyProcess(process.pid)!;
  const before = currentMemory(self)!;
  expect(before.anonymousMb).toBeGreaterThan(5);
  expect(before.residentMb).toBeGreaterThan(before.anonymousMb);
  const touched = Buffer.alloc(50e6, 1);
  expect(currentMemory(self)!.anonymousMb - before.anonymousMb).toBeGreaterThan(40);
  expect(touched[49e6]).toBe(1);
  expect(currentMemory({ pid: 2 ** 22 + 1, startTime: '' })).toBeUndefined();
});

test('says why there was no load, and does not throw the rest of the run away', async () => {
  const side = new LabNamespace('/run/netns/warren-test-nowhere');
  const path = { kind: 'node', client: side, server: side, address: '192.0.2.1' } as const;
  const report = await soak({ id: 'warren', title: 'warren', path, processes: [] }, 600);
  expect(report).toMatchObject({ lane: 'warren', seconds: 600, agents: [] });
  expect(report.failure).toMatch(/iperf3: the server did not start/);
  expect(soakLine(report)).toMatch(/^soak {2}warren, 600 s of TCP: iperf3: the server did not start/);
});
