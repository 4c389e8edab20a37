/** What has been measured of one lane so far. */
import { isRunning, type ProcessId } from '../lab/process.ts';
import type { Sample } from './measure.ts';
import { METRIC_IDS, METRICS, type MetricId } from './metrics.ts';
import { peakMemoryMb } from './processes.ts';
import type { LaneReport, MeasureFailure, MetricReport } from './report.ts';
import { summarise } from './statistics.ts';
import type { Path, System } from './system.ts';

const PATH_TITLES = { node: 'node to node', pod: 'pod to pod' } as const;

export class LaneRecord {
  readonly id: string;
  readonly title: string;
  readonly path: Path;
  readonly processes: readonly ProcessId[];
  readonly #system: System;
  /** One entry per metric, one sample per round. */
  readonly #samples = new Map<MetricId, number[]>();
  readonly #failures: MeasureFailure[] = [];

  constructor(system: System, path: Path, processes: readonly ProcessId[]) {
    this.#system = system;
    this.path = path;
    this.processes = processes;
    this.id = path.kind === 'node' ? system.id : `${system.id}/${path.kind}`;
    this.title = `${system.title}, ${PATH_TITLES[path.kind]}`;
  }

  /** Whether every daemon that it needs is there. */
  get isRunning(): boolean {
    return this.processes.every(isRunning);
  }

  add(sample: Sample): void {
    for (const id of METRIC_IDS) {
      const value = sample[id];
      if (value === undefined) continue;
      const samples = this.#samples.get(id);
      if (samples === undefined) this.#samples.set(id, [value]);
      else samples.push(value);
    }
  }

  fail(failure: MeasureFailure): void {
    this.#failures.push(failure);
  }

  failuresOf(round: number): MeasureFailure[] {
    return this.#failures.filter((failure) => failure.round === round);
  }

  /** The peak so far of the larger agent; a system of the kernel has none. */
  addMemory(): void {
    const peaks = this.processes.flatMap((process) => peakMemoryMb(process) ?? []);
    if (peaks.length > 0) this.add({ memory: Math.max(...peaks) });
  }

  report(): LaneReport {
    const metrics: Partial<Record<MetricId, MetricReport>> = {};
    for (const [id, samples] of this.#samples) {
      metrics[id] = { unit: METRICS[id].unit, ...summarise(samples)! };
    }
    const { id, title, path } = this;
    return { id, system: this.#system.id, path: path.kind, title, metrics, failures: this.#failures };
  }
}
