/** Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
import { DURATION_BOUNDS_S, type HistogramReport } from '../histogram.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;
export type Sample = readonly [labels: Labels, value: number];

export function metric(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: readonly Sample[],
): string {
  return `${head(name, type, help)}${samples.map(([labels, value]) => line(name, labels, value)).join('')}`;
}

/** One for each set of labels. */
export function histogram(
  name: string,
  help: string,
  all: readonly (readonly [labels: Labels, report: HistogramReport])[],
): string {
  const lines = all.flatMap(([labels, { sum, counts }]) => {
    let total = 0;
    const buckets = counts.map((count, i) => {
      total += count;
      return line(`${name}_bucket`, { ...labels, le: String(DURATION_BOUNDS_S[i] ?? '+Inf') }, total);
    });
    return [...buckets, line(`${name}_sum`, labels, sum), line(`${name}_count`, labels, total)];
  });
  return `${head(name, 'histogram', help)}${lines.join('')}`;
}

function head(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function line(name: string, labels: Labels, value: number): string {
  return `${name}${labelText(labels)} ${value}\n`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`));
}
