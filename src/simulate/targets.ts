/**
 * What a simulation must show, and whether it did.
 *
 *     news       known to 99.9 % of N nodes within NEWS_BASE + NEWS_PER_DECADE * log10 N gossip periods
 *     traffic    what a node sends at rest differs by no more than TRAFFIC_SPREAD between cluster sizes
 *     alarms     at most MAX_HEALTHY_DEAD healthy nodes are declared dead, with Lifeguard
 *     leases     no history breaks a promise
 *     inventory  99 % of attaches and detaches are known to all within MAX_KNOWN_MS, with loss too
 */
import { inventoryTiming } from '../inventory/timing.ts';
import type { Dissemination } from './dissemination.ts';
import type { InventorySpread } from './inventory-spread.ts';
import type { SimulationResults } from './results.ts';

export interface Target {
  readonly name: string;
  readonly target: string;
  readonly figure: string;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

/**
 * Each round about `gossipNodes` times as many know as before, and rounds come every 0.75 periods on average:
 * with 3 that makes log4 N rounds, 1.25 periods for each factor of ten. The rest is for the last few nodes.
 */
export const NEWS_BASE = 3;
export const NEWS_PER_DECADE = 1.5;
/** Of the median. */
export const TRAFFIC_SPREAD = 0.05;
export const MAX_HEALTHY_DEAD = 1;
export const MAX_KNOWN_MS = 1000;

export const NEWS = {
  join: ({ join }: Dissemination) => join.toMost,
  leave: ({ leave }: Dissemination) => leave.toMost,
  death: ({ death }: Dissemination) => death.toMost,
} as const;

export function evaluateTargets(results: SimulationResults): Target[] {
  const { dissemination, falsePositives, leases, inventory, gossipIntervalMs } = results;
  const news = Object.entries(NEWS).map(([name, timeOf]): Target => {
    const points = dissemination.map((one) => [one.nodes, timeOf(one) / gossipIntervalMs] as const);
    const target = `<= ${NEWS_BASE} + ${NEWS_PER_DECADE} log10 N gossip periods`;
    return points.length === 0
      ? notMeasured(`${name} known to 99.9 %`, target)
      : verdict(`${name} known to 99.9 %`, target, growthText(points), points.every(isWithin));
  });
  return [
    ...news,
    trafficTarget(dissemination),
    alarmsTarget(falsePositives?.withLifeguard),
    leaseTarget(leases),
    inventoryTarget(inventory.filter(({ first }) => first === inventoryTiming.first)),
  ];
}

function trafficTarget(dissemination: readonly Dissemination[]): Target {
  const name = 'bytes a node sends at rest';
  const target = `within ${TRAFFIC_SPREAD * 100} % of the median, for every N`;
  if (dissemination.length < 2) return notMeasured(name, target);
  const rates = dissemination.map(({ bytesPerSecond }) => bytesPerSecond).sort((a, b) => a - b);
  const median = rates[Math.floor(rates.length / 2)]!;
  const [least, most] = [rates[0]!, rates.at(-1)!];
  const isMet = Math.max(median - least, most - median) <= TRAFFIC_SPREAD * median;
  return verdict(name, target, `${least.toFixed(0)} to ${most.toFixed(0)} a second`, isMet);
}

function alarmsTarget(
  run: { nodes: number; durationMs: number; healthyDeclaredDead: number } | undefined,
): Target {
  const name = 'healthy nodes declared dead';
  const target = `<= ${MAX_HEALTHY_DEAD}`;
  if (!run) return notMeasured(name, target);
  const { nodes, durationMs, healthyDeclaredDead } = run;
  const figure = `${healthyDeclaredDead} (of ${nodes.toLocaleString('en')}, in ${durationMs / 60_000} minutes)`;
  return verdict(name, target, figure, healthyDeclaredDead <= MAX_HEALTHY_DEAD);
}

function leaseTarget({ histories, failures }: SimulationResults['leases']): Target {
  const name = 'lease histories that break a promise';
  if (histories === 0) return notMeasured(name, '0');
  return verdict(name, '0', `${failures.length} of ${histories.toLocaleString('en')}`, failures.length === 0);
}

function inventoryTarget(runs: readonly InventorySpread[]): Target {
  const name = 'attaches known to all nodes (99 % of them)';
  const target = `<= ${MAX_KNOWN_MS / 1000} s`;
  const [first] = runs;
  if (!first) return notMeasured(name, target);
  const figures = runs.map(
    ({ knownToAll, loss }) =>
      `${(knownToAll.p99 / 1000).toFixed(2)} s${loss > 0 ? ` with ${loss * 100} % loss` : ''}`,
  );
  const figure = `${figures.join(', ')} (${first.nodes} nodes of ${first.attachments})`;
  return verdict(
    name,
    target,
    figure,
    runs.every(({ knownToAll }) => knownToAll.p99 <= MAX_KNOWN_MS),
  );
}

function isWithin([nodes, periods]: readonly [number, number]): boolean {
  return periods <= NEWS_BASE + NEWS_PER_DECADE * Math.log10(nodes);
}

function growthText(points: readonly (readonly [nodes: number, periods: number])[]): string {
  const [nodes, periods] = points.at(-1)!;
  const atMost = `${periods.toFixed(1)} with ${nodes.toLocaleString('en')} nodes`;
  if (points.length < 2) return atMost;
  return `${atMost}; fitted: ${fitText(points)}`;
}

/** The best line as a formula. */
export function fitText(points: readonly (readonly [x: number, y: number])[]): string {
  const { base, perDecade } = fitLog(points);
  const size = Math.abs(base).toFixed(1);
  const sign = base < 0 ? '-' : '+';
  return `${perDecade.toFixed(1)} log10 N${Number(size) === 0 ? '' : ` ${sign} ${size}`}`;
}

/** The line through y over log10 x that fits best (least squares). */
export function fitLog(points: readonly (readonly [x: number, y: number])[]): {
  base: number;
  perDecade: number;
} {
  const xs = points.map(([x]) => Math.log10(x));
  const ys = points.map(([, y]) => y);
  const [meanX, meanY] = [mean(xs), mean(ys)];
  const covariance = mean(xs.map((x, i) => (x - meanX) * (ys[i]! - meanY)));
  const perDecade = covariance / mean(xs.map((x) => (x - meanX) ** 2));
  return { base: meanY - perDecade * meanX, perDecade };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function verdict(name: string, target: string, figure: string, isMet: boolean): Target {
  return { name, target, figure, verdict: isMet ? 'met' : 'missed' };
}

function notMeasured(name: string, target: string): Target {
  return { name, target, figure: '-', verdict: 'not measured' };
}
