/** The figures that this project set itself, and whether a run reached them. */
import { formatFigure, type MetricId } from './metrics.ts';
import { bestOf } from './ratios.ts';
import { type LaneReport, medianOf, type SystemReport } from './report.ts';
import type { SoakReport } from './soak.ts';

export interface TargetResult {
  readonly name: string;
  readonly target: string;
  /** Absent: what it takes was not measured. */
  readonly figure?: number;
  readonly verdict: 'met' | 'missed' | 'not measured';
}

/** What the targets look at. */
export interface TargetInput {
  readonly lanes: readonly LaneReport[];
  readonly systems: readonly SystemReport[];
  /** Undefined: not measured. */
  readonly soak: SoakReport | undefined;
  /** Look-ups per second in an FDB of 100,000 prefixes, the slower family; undefined: not measured. */
  readonly fdbLookupsPerSecond: number | undefined;
}

const OURS = 'warren';
/** Resident, of one agent. */
export const MEMORY_TARGET_MB = 110;
/** Flat: after ten minutes, less than what one garbage collection more or less makes. */
const FLAT_MB_PER_MINUTE = 0.5;

export function evaluateTargets(input: TargetInput): TargetResult[] {
  const lane = (id: string): LaneReport | undefined => input.lanes.find((candidate) => candidate.id === id);
  /** Ours to the best of `others`, in their medians. */
  const ratio = (ours: string, metric: MetricId, others: readonly string[]): number | undefined => {
    const figure = medianOf(lane(ours), metric);
    const best = bestOf(
      others.flatMap((id) => lane(id) ?? []),
      metric,
    );
    return figure === undefined || best === undefined ? undefined : figure / best.median;
  };
  const memory = [lane(OURS), lane(`${OURS}/pod`)].flatMap((found) => found?.metrics.memory?.max ?? []);
  const soaked = input.soak?.failure === undefined ? (input.soak?.agents ?? []) : [];
  const load = input.soak === undefined ? '--soak' : `${input.soak.seconds} s of load`;
  const tincs = ['tinc', 'tinc-plain'];
  const idle = input.systems.find((system) => system.id === OURS)?.idlePercent;
  const millions = input.fdbLookupsPerSecond === undefined ? undefined : input.fdbLookupsPerSecond / 1e6;
  return [
    atLeast('TCP 1 stream, of kernel VXLAN, node to node', 0.65, '', ratio(OURS, 'tcp1', ['vxlan'])),
    atLeast(
      'TCP 1 stream, of kernel VXLAN, pod to pod',
      0.65,
      '',
      ratio(`${OURS}/pod`, 'tcp1', ['vxlan/pod']),
    ),
    atLeast('TCP 1 stream, times the faster tinc', 7, '', ratio(OURS, 'tcp1', tincs)),
    atLeast('TCP 1 stream, times nebula', 7, '', ratio(OURS, 'tcp1', ['nebula'])),
    atLeast('TCP 1 stream, of the C roofline', 0.9, '', ratio(OURS, 'tcp1', ['roofline'])),
    atLeast('UDP 64 B received, of kernel VXLAN', 0.9, '', ratio(OURS, 'udp64', ['vxlan'])),
    atMost('RTT p50, of tinc as shipped', 0.8, '', ratio(OURS, 'rttP50', ['tinc'])),
    atMost('RTT p50, of tinc without cipher', 0.8, '', ratio(OURS, 'rttP50', ['tinc-plain'])),
    atMost('peak memory of one agent', MEMORY_TARGET_MB, ' MB', greatest(memory)),
    atMost(
      `resident memory of one agent, ${load}`,
      MEMORY_TARGET_MB,
      ' MB',
      greatest(soaked.map(({ maxMb }) => maxMb)),
    ),
    atMost(
      `growth of its own memory, second half of ${load}`,
      FLAT_MB_PER_MINUTE,
      ' MB/min',
      greatest(soaked.map(({ growthMbPerMinute }) => growthMbPerMinute)),
    ),
    atMost('idle agent', 0.2, ' % of one core', idle),
    atLeast('FDB look-ups, 100,000 prefixes', 20, ' million/s', millions),
    ...encryptedTargets(input, ratio),
  ];
}

type RatioOf = (ours: string, metric: MetricId, others: readonly string[]) => number | undefined;

/** Of the first mode of ours that encrypts; none where the run has none. */
function encryptedTargets({ systems }: TargetInput, ratio: RatioOf): TargetResult[] {
  const ours = systems.find(({ role, encrypted }) => role === 'warren' && encrypted)?.id;
  if (ours === undefined) return [];
  const [go, sealed] = [['wireguard-go'], ['sealed-roofline']];
  return [
    atLeast('encrypted: TCP 1 stream, times wireguard-go', 2.6, '', ratio(ours, 'tcp1', go)),
    atLeast('encrypted: TCP 4 streams, times wireguard-go', 2.4, '', ratio(ours, 'tcp4', go)),
    atLeast('encrypted: UDP 64 B received, times wireguard-go', 2.4, '', ratio(ours, 'udp64', go)),
    atMost('encrypted: RTT p50, of wireguard-go', 0.45, '', ratio(ours, 'rttP50', go)),
    atMost('encrypted: CPU per GB, of wireguard-go', 0.45, '', ratio(ours, 'cpuAgents', go)),
    atLeast('encrypted: TCP 1 stream, times nebula', 6, '', ratio(ours, 'tcp1', ['nebula'])),
    atLeast('encrypted: TCP 1 stream, of the sealed C roofline', 0.85, '', ratio(ours, 'tcp1', sealed)),
    atLeast('encrypted: TCP 4 streams, of the sealed C roofline', 0.85, '', ratio(ours, 'tcp4', sealed)),
  ];
}

function greatest(figures: readonly number[]): number | undefined {
  return figures.length === 0 ? undefined : Math.max(...figures);
}

function atLeast(name: string, target: number, unit: string, figure: number | undefined): TargetResult {
  return result(name, `>= ${target}${unit}`, figure, (value) => value >= target);
}

export function atMost(name: string, target: number, unit: string, figure: number | undefined): TargetResult {
  return result(name, `<= ${target}${unit}`, figure, (value) => value <= target);
}

function result(
  name: string,
  target: string,
  figure: number | undefined,
  isMet: (figure: number) => boolean,
): TargetResult {
  if (figure === undefined) return { name, target, verdict: 'not measured' };
  return { name, target, figure, verdict: isMet(figure) ? 'met' : 'missed' };
}

/** "0.71 (>= 0.65)". */
export function targetText({ figure, target }: TargetResult): string {
  return figure === undefined ? `- (${target})` : `${formatFigure(figure)} (${target})`;
}
