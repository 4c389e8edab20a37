/** What a run of `warren bench` comes to: the shape of `--json`, from which the tables and the page are made. */
import type { MeasureId, MetricId } from './metrics.ts';
import type { Ratio } from './ratios.ts';
import type { SoakReport } from './soak.ts';
import type { Summary } from './statistics.ts';
import type { SystemRole } from './system.ts';
import type { TargetResult } from './targets.ts';

export interface BenchReport {
  /** Grows when a field changes its meaning. */
  readonly format: 1;
  readonly warren: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly durationSeconds: number;
  readonly rounds: number;
  /** Of each measurement. */
  readonly seconds: number;
  readonly machine: MachineReport;
  readonly tools: { readonly iperf3: string; readonly roundTrip: string };
  readonly systems: readonly SystemReport[];
  /** What was measured: each system, once for every way through it. */
  readonly lanes: readonly LaneReport[];
  /** Absent: not asked for, or warren was not there. */
  readonly soak?: SoakReport;
  readonly ratios: readonly Ratio[];
  readonly targets: readonly TargetResult[];
}

export interface MachineReport {
  readonly kernel: string;
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryMb: number;
  /** One-minute load average before the run: well above 0 means that somebody else was at work. */
  readonly loadBefore: number;
}

export interface SystemReport {
  readonly id: string;
  readonly title: string;
  readonly role: SystemRole;
  readonly encrypted: boolean;
  /** Why it was not measured. */
  readonly skipped?: string;
  readonly version?: string;
  /** Its settings that matter here: MTU, cipher. */
  readonly settings?: string;
  /** CPU of the busier agent while nothing was sent, percent of one core; absent for systems of the kernel. */
  readonly idlePercent?: number;
}

export interface LaneReport {
  /** `warren` (node to node) or `warren/pod`. */
  readonly id: string;
  readonly system: string;
  readonly path: 'node' | 'pod';
  readonly title: string;
  readonly metrics: Readonly<Partial<Record<MetricId, MetricReport>>>;
  readonly failures: readonly MeasureFailure[];
}

export interface MetricReport extends Summary {
  readonly unit: string;
}

export interface MeasureFailure {
  readonly round: number;
  readonly measure: MeasureId;
  readonly reason: string;
}

/** A lane's median, or undefined if it has none. */
export function medianOf(lane: LaneReport | undefined, metric: MetricId): number | undefined {
  return lane?.metrics[metric]?.median;
}
