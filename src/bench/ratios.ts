/** How warren stands to the kernel's VXLAN, to the roofline and to the best other overlay in user space. */
import { METRICS, type MetricId } from './metrics.ts';
import { type LaneReport, medianOf, type SystemReport } from './report.ts';

export const RATIO_METRICS = ['tcp1', 'tcp4', 'udp64', 'udp1200', 'rttP50'] as const satisfies MetricId[];
export type RatioMetric = (typeof RATIO_METRICS)[number];

export interface Ratio {
  readonly lane: string;
  readonly to: 'kernel VXLAN' | 'C roofline' | 'best other overlay';
  /** Our median divided by theirs: for throughput more is better, for round trips less. Absent: not measured. */
  readonly values: Readonly<Partial<Record<RatioMetric, number>>>;
  /** For `best other overlay`: which system that is. */
  readonly systems?: Readonly<Partial<Record<RatioMetric, string>>>;
}

/** Like is compared with like: pod to pod with pod to pod, node to node with node to node. */
export function ratiosOf(lanes: readonly LaneReport[], systems: readonly SystemReport[]): Ratio[] {
  const roleOf = new Map(systems.map((system) => [system.id, system.role]));
  const isEncrypted = new Map(systems.map((system) => [system.id, system.encrypted]));
  return lanes
    .filter((lane) => roleOf.get(lane.system) === 'warren')
    .flatMap((lane) => {
      const peers = lanes.filter((other) => other.path === lane.path);
      const byRole = (role: string): LaneReport[] =>
        peers.filter((other) => roleOf.get(other.system) === role);
      return [
        ratioTo(lane, 'kernel VXLAN', byRole('kernel')),
        // Sealing is most of the work of a tunnel that does it: there are two rooflines.
        ratioTo(
          lane,
          'C roofline',
          byRole('roofline').filter(
            (other) => isEncrypted.get(other.system) === isEncrypted.get(lane.system),
          ),
        ),
        ratioTo(lane, 'best other overlay', byRole('userspace')),
      ];
    })
    .filter((ratio) => Object.keys(ratio.values).length > 0);
}

function ratioTo(lane: LaneReport, to: Ratio['to'], others: readonly LaneReport[]): Ratio {
  const values: Partial<Record<RatioMetric, number>> = {};
  const names: Partial<Record<RatioMetric, string>> = {};
  for (const metric of RATIO_METRICS) {
    const ours = medianOf(lane, metric);
    const best = bestOf(others, metric);
    if (ours === undefined || best === undefined) continue;
    values[metric] = ours / best.median;
    names[metric] = best.lane.title;
  }
  return { lane: lane.id, to, values, ...(to === 'best other overlay' ? { systems: names } : {}) };
}

/** The lane with the best median of `metric`; undefined if none has one. */
export function bestOf(
  lanes: readonly LaneReport[],
  metric: MetricId,
): { lane: LaneReport; median: number } | undefined {
  let best: { lane: LaneReport; median: number } | undefined;
  const sign = METRICS[metric].better === 'more' ? 1 : -1;
  for (const lane of lanes) {
    const median = medianOf(lane, metric);
    if (median === undefined || median === 0) continue;
    if (best === undefined || sign * median > sign * best.median) best = { lane, median };
  }
  return best;
}
