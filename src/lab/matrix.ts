/** All pairs at a glance: every node's `warren check` merged into one table for each family. */
import type { CheckReport, CheckResult } from '../readmodel/check-reports.ts';

/** A node (`pod: null`) or a pod. */
export interface Endpoint {
  readonly node: string;
  readonly pod: string | null;
}

export interface Matrix {
  /** The table, lines ending in a newline. */
  readonly text: string;
  /** Pairs of two different endpoints that answered, that did not, and that nobody tried. */
  readonly answered: number;
  readonly failed: number;
  readonly untried: number;
}

const NODE_ITSELF = 'node';

/** The pairs of `endpoints` in one family. A pair that failed shows FAIL, one that was not tried `-`. */
export function buildMatrix(
  reports: readonly CheckReport[],
  endpoints: readonly Endpoint[],
  family: 4 | 6,
): Matrix {
  const results = indexResults(reports, family);
  const counts = { answered: 0, failed: 0, untried: 0 };
  const cells = endpoints.map((from) =>
    endpoints.map((to) => {
      const result = results.get(pairKey(from, to));
      if (from !== to) counts[outcome(result)]++;
      return cellText(result);
    }),
  );
  return { text: layOut(endpoints, cells, family), ...counts };
}

function outcome(result: CheckResult | undefined): 'answered' | 'failed' | 'untried' {
  if (result === undefined) return 'untried';
  return result.ok ? 'answered' : 'failed';
}

function cellText(result: CheckResult | undefined): string {
  if (result === undefined) return '-';
  if (!result.ok) return 'FAIL';
  return result.rttMs === null ? 'ok' : result.rttMs.toFixed(2);
}

/** Bounded by the reports: one entry for each result of the family. */
function indexResults(reports: readonly CheckReport[], family: 4 | 6): Map<string, CheckResult> {
  const results = new Map<string, CheckResult>();
  for (const report of reports) {
    for (const result of report.results) {
      if (result.address.includes(':') !== (family === 6)) continue;
      const from = { node: report.node, pod: result.from === NODE_ITSELF ? null : result.from };
      const key = pairKey(from, { node: result.toNode, pod: result.toPod });
      // An endpoint with several addresses has answered when all of them have.
      if (results.get(key)?.ok !== false) results.set(key, result);
    }
  }
  return results;
}

function pairKey(from: Endpoint, to: Endpoint): string {
  return JSON.stringify([from.node, from.pod, to.node, to.pod]);
}

/** Nodes head their group of columns, and stand before the first of their rows. */
function layOut(
  endpoints: readonly Endpoint[],
  cells: readonly (readonly string[])[],
  family: 4 | 6,
): string {
  const names = endpoints.map((endpoint) => endpoint.pod ?? NODE_ITSELF);
  const isFirst = endpoints.map((endpoint, index) => endpoint.node !== endpoints[index - 1]?.node);
  const nodes = endpoints.map((endpoint, index) => (isFirst[index] ? endpoint.node : ''));
  const title = `IPv${family}, ms`;
  const nodeWidth = Math.max(title.length, ...nodes.map((node) => node.length));
  const nameWidth = Math.max(...names.map((name) => name.length));
  const widths = names.map((name, column) =>
    Math.max(name.length, ...cells.map((row) => row[column]!.length)),
  );

  const line = (left: string, name: string, values: readonly string[]): string => {
    const columns = values.map((value, i) => `  ${isFirst[i] ? '|' : ' '} ${value.padStart(widths[i]!)}`);
    return `${left.padEnd(nodeWidth)}  ${name.padEnd(nameWidth)}${columns.join('')}`;
  };
  const lines = [
    nodesAbove(line('', '', names), nodes),
    line(title, '', names),
    ...cells.map((row, index) => line(nodes[index]!, names[index]!, row)),
  ];
  return lines.map((text) => `${text.trimEnd()}\n`).join('');
}

/** `line` with nothing but its bars and, after each, the name of the node whose columns begin there. */
function nodesAbove(line: string, nodes: readonly string[]): string {
  const [left, ...groups] = line.split('|');
  const labels = nodes.filter((node) => node !== '');
  const heads = groups.map((group, index) => ` ${labels[index]!}`.padEnd(group.length));
  return [left!, ...heads].join('|');
}
