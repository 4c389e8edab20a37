/**
 * Memory under load that lasts: one TCP stream for minutes, and what each agent has resident, second by second. An
 * agent is one process, so its main thread and its packet path's threads are in it together.
 */
import { errorMessage } from '../errors.ts';
import type { ProcessId } from '../lab/process.ts';
import { measureTcp } from './iperf.ts';
import { currentMemory, type Memory } from './processes.ts';
import { slope } from './statistics.ts';
import type { Path } from './system.ts';

export interface SoakReport {
  /** Id and title of the lane that carried the load. */
  readonly lane: string;
  readonly title: string;
  readonly seconds: number;
  /** Why there is no more than this. */
  readonly failure?: string;
  readonly gigabitsPerSecond?: number;
  /** The sender's, then the receiver's. */
  readonly agents: readonly SoakedAgent[];
}

export interface SoakedAgent {
  readonly side: 'sender' | 'receiver';
  /** When each sample was taken, in seconds from the beginning. */
  readonly atSeconds: readonly number[];
  readonly residentMb: readonly number[];
  readonly anonymousMb: readonly number[];
  /** The most that was resident. */
  readonly maxMb: number;
  /** Of anonymous memory: least squares over the second half, when everything that is allocated once has been. */
  readonly growthMbPerMinute: number;
}

export interface SoakedLane {
  readonly id: string;
  readonly title: string;
  readonly path: Path;
  readonly processes: readonly ProcessId[];
}

export interface MemorySample extends Memory {
  readonly atSeconds: number;
}

const INTERVAL_MS = 1000;
const SIDES = ['sender', 'receiver'] as const;

export async function soak(lane: SoakedLane, seconds: number): Promise<SoakReport> {
  const { id, title, path, processes } = lane;
  const startMs = performance.now();
  const samples = processes.map((): MemorySample[] => []);
  const timer = setInterval(() => {
    const atSeconds = Math.round(performance.now() - startMs) / 1000;
    for (const [index, process] of processes.entries()) {
      const memory = currentMemory(process);
      if (memory !== undefined) samples[index]!.push({ atSeconds, ...memory });
    }
  }, INTERVAL_MS);
  const done = (rest: { failure: string } | { gigabitsPerSecond: number }): SoakReport => ({
    ...{ lane: id, title, seconds, ...rest },
    agents: SIDES.flatMap((side, index) => describeAgent(side, samples[index] ?? [])),
  });
  try {
    const { bitsPerSecond } = await measureTcp(path, 1, seconds);
    return done({ gigabitsPerSecond: bitsPerSecond / 1e9 });
  } catch (error) {
    return done({ failure: errorMessage(error) });
  } finally {
    clearInterval(timer);
  }
}

/** Empty for an agent that was not there long enough. */
export function describeAgent(side: SoakedAgent['side'], samples: readonly MemorySample[]): SoakedAgent[] {
  const secondHalf = samples.slice(Math.floor(samples.length / 2));
  if (secondHalf.length < 2) return [];
  const residentMb = samples.map((sample) => sample.residentMb);
  return [
    {
      side,
      atSeconds: samples.map(({ atSeconds }) => atSeconds),
      residentMb,
      anonymousMb: samples.map(({ anonymousMb }) => anonymousMb),
      maxMb: Math.max(...residentMb),
      growthMbPerMinute: slope(secondHalf.map((sample) => [sample.atSeconds / 60, sample.anonymousMb])),
    },
  ];
}
