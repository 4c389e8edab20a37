/** What has been measured of one lane so far. */
import { isRunning, type ProcessId } from '../lab/process.ts';
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
  /** Its system's id. */
  readonly system: string;
  /** One entry per metric, one sample per round; of a peak the highest alone. */
  readonly #samples = new Map<MetricId, number[]>();
  readonly #failures: MeasureFailure[] = [];

  constructor(system: System, path: Path, processes: readonly ProcessId[]) {
    this.system = system.id;
    this.path = path;
    this.processes = processes;
    this.id = path.kind === 'node' ? system.id : `${system.id}/${path.kind}`;
    this.title = `${system.title}, ${PATH_TITLES[path.kind]}`;
  }

  /** Whether every daemon that it needs is there. */
  get isRunning(): boolean {
    return this.processes.every(isRunning);
  }

  /** What is undefined was not measured. */
  add(sample: Readonly<Partial<Record<MetricId, number | undefined>>>): void {
    for (const id of METRIC_IDS) {
      const value = sample[id];
      if (value === undefined) continue;
      const before = this.#samples.get(id) ?? [];
      this.#samples.set(id, METRICS[id].isPeak ? [Math.max(value, ...before)] : [...before, value]);
    }
  }

  fail(failure: MeasureFailure): void {
    this.#failures.push(failure);
  }

  failuresOf(round: number): MeasureFailure[] {
    return this.#failures.filter((failure) => failure.round === round);
  }

  /** The agents' peaks so far; a system of the kernel has none, nor has an agent that has ended. */
  addMemory(): void {
    const [memorySender, memoryReceiver] = this.processes.map(peakMemoryMb);
    const known = [memorySender, memoryReceiver].filter((peak) => peak !== undefined);
    const memory = known.length === 0 ? undefined : Math.max(...known);
    this.add({ memory, memorySender, memoryReceiver });
  }

  report(): LaneReport {
    const metrics: Partial<Record<MetricId, MetricReport>> = {};
    for (const [id, samples] of this.#samples) {
      metrics[id] = { unit: METRICS[id].unit, ...summarise(samples)! };
    }
    const { id, title, path, system } = this;
    return { id, system, path: path.kind, title, metrics, failures: this.#failures };
  }
}
