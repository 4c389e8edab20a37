/** What `warren bench` measures: each figure's name, unit, and which way is better. */

export const METRIC_IDS = [
  'tcp1',
  'tcp4',
  'udp64',
  'udp64Loss',
  'udp1200',
  'udp1200Loss',
  'rttP50',
  'rttP99',
  'cpuAgents',
  'cpuSender',
  'cpuReceiver',
  'cpuMachine',
  'memory',
  'memorySender',
  'memoryReceiver',
] as const;
export type MetricId = (typeof METRIC_IDS)[number];

export interface Metric {
  readonly title: string;
  /** Heading of a table's column. */
  readonly short: string;
  readonly unit: string;
  readonly better: 'more' | 'less';
  /** What was reached so far, and can only grow: of all rounds the last counts, and there is no median. */
  readonly isPeak?: true;
}

export const METRICS: Readonly<Record<MetricId, Metric>> = {
  tcp1: { title: 'TCP, 1 stream', short: 'TCP 1', unit: 'Gbit/s', better: 'more' },
  tcp4: { title: 'TCP, 4 streams', short: 'TCP 4', unit: 'Gbit/s', better: 'more' },
  udp64: { title: 'UDP 64 B, received', short: 'UDP 64 B', unit: 'kpps', better: 'more' },
  udp64Loss: { title: 'UDP 64 B, lost', short: 'LOST', unit: '%', better: 'less' },
  udp1200: { title: 'UDP 1200 B, received', short: 'UDP 1200 B', unit: 'kpps', better: 'more' },
  udp1200Loss: { title: 'UDP 1200 B, lost', short: 'LOST', unit: '%', better: 'less' },
  rttP50: { title: 'Round trip, median (p50)', short: 'RTT P50', unit: 'us', better: 'less' },
  rttP99: { title: 'Round trip, 99th percentile', short: 'RTT P99', unit: 'us', better: 'less' },
  cpuAgents: {
    title: 'CPU of both agents, per gigabyte of TCP',
    short: 'CPU AGENTS',
    unit: 's/GB',
    better: 'less',
  },
  cpuSender: {
    title: "CPU of the sender's agent, per gigabyte of TCP",
    short: 'CPU SENDER',
    unit: 's/GB',
    better: 'less',
  },
  cpuReceiver: {
    title: "CPU of the receiver's agent, per gigabyte of TCP",
    short: 'CPU RECEIVER',
    unit: 's/GB',
    better: 'less',
  },
  cpuMachine: {
    title: 'CPU of the whole machine, per gigabyte of TCP',
    short: 'CPU MACHINE',
    unit: 's/GB',
    better: 'less',
  },
  memory: {
    title: 'Peak memory of the larger agent',
    short: 'MEMORY',
    unit: 'MB',
    better: 'less',
    isPeak: true,
  },
  memorySender: {
    title: "Peak memory of the sender's agent",
    short: 'MEMORY SENDER',
    unit: 'MB',
    better: 'less',
    isPeak: true,
  },
  memoryReceiver: {
    title: "Peak memory of the receiver's agent",
    short: 'MEMORY RECEIVER',
    unit: 'MB',
    better: 'less',
    isPeak: true,
  },
};

/** One run of a tool, and the metrics that it gives. */
export const MEASURES = [
  {
    id: 'tcp1',
    title: 'TCP 1 stream',
    metrics: ['tcp1', 'cpuAgents', 'cpuSender', 'cpuReceiver', 'cpuMachine'],
  },
  { id: 'tcp4', title: 'TCP 4 streams', metrics: ['tcp4'] },
  { id: 'udp64', title: 'UDP 64 B', metrics: ['udp64', 'udp64Loss'] },
  { id: 'udp1200', title: 'UDP 1200 B', metrics: ['udp1200', 'udp1200Loss'] },
  { id: 'rtt', title: 'round trips', metrics: ['rttP50', 'rttP99'] },
] as const satisfies readonly { id: string; title: string; metrics: readonly MetricId[] }[];
export type MeasureId = (typeof MEASURES)[number]['id'];

/** A figure as tables and plots show it: three significant digits, without its unit. */
export function formatFigure(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return size === 0 ? '0' : value.toFixed(size >= 0.1 ? 2 : 3);
}
