/** What a lane keeps of each round. */
import { expect, test } from 'vitest';
import { LaneRecord } from '../../../src/bench/lane-record.ts';
import type { Path, System } from '../../../src/bench/system.ts';
import { LabNamespace } from '../../../src/lab/host.ts';
import { identifyProcess } from '../../../src/lab/process.ts';

const system: System = {
  ...{ id: 'one', title: 'One', role: 'userspace', encrypted: false },
  start: () => Promise.reject(new Error('not here')),
};
const side = new LabNamespace('/run/netns/nowhere');
const path: Path = { kind: 'node', client: side, server: side, address: '192.0.2.1' };

test('keeps every sample of a figure that may go up and down, of a peak the highest', () => {
  const lane = new LaneRecord(system, path, []);
  lane.add({ tcp1: 3, memory: 80 });
  lane.add({ tcp1: 1, memory: 100 });
  lane.add({ tcp1: 2, memory: 90 });
  const { tcp1, memory } = lane.report().metrics;
  expect(tcp1).toEqual({ unit: 'Gbit/s', samples: [3, 1, 2], median: 2, min: 1, max: 3 });
  expect(memory).toMatchObject({ samples: [100], median: 100 });
});

test('tells the memory of the agents apart, and shows the larger', () => {
  const self = identifyProcess(process.pid)!;
  const gone = { pid: 2 ** 22 + 1, startTime: '' };
  const peaks = (processes: (typeof self)[]) => {
    const lane = new LaneRecord(system, path, processes);
    lane.addMemory();
    const { memory, memorySender, memoryReceiver } = lane.report().metrics;
    return [memory, memorySender, memoryReceiver].map((metric) => metric && metric.median > 10);
  };
  expect(peaks([self, self])).toEqual([true, true, true]);
  expect(peaks([gone, self])).toEqual([true, undefined, true]);
  expect(peaks([self, gone])).toEqual([true, true, undefined]);
  expect(peaks([])).toEqual([undefined, undefined, undefined]);
});
