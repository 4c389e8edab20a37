/** What the checks of path MTUs, speed and disruption found, as people read it. */
import type {
  DisruptReport,
  MtuReport,
  MtuResult,
  PerfReport,
  PerfResult,
} from '../readmodel/check-reports.ts';
import type { UnreachableNode } from '../readmodel/reports.ts';
import { type Cell, type Paint, renderTable } from '../terminal/table.ts';
import { pairNames } from './pairs.ts';

interface AnyReport {
  readonly node: string;
  readonly ok: boolean;
  readonly problems: readonly string[];
  readonly unreachable: readonly UnreachableNode[];
}

export function renderMtu(report: MtuReport, paint: Paint): string {
  const rows = report.results.map((result) => [
    ...pairNames(report.node, result.from, result),
    result.address,
    right(result.mtu === null ? 'FAIL' : String(result.mtu), result.ok),
    right(result.expected === null ? '-' : String(result.expected)),
  ]);
  const header = ['from', 'to', 'address', right('bytes'), right('agent')];
  return whole(
    report,
    [table(header, rows, paint), verdict(report.results, 'carry what the agent goes by')],
    paint,
  );
}

export function renderPerf(report: PerfReport, paint: Paint): string {
  const rows = report.results.map((result) => [
    ...pairNames(report.node, result.from, result),
    right(result.bitsPerSecond === null ? 'FAIL' : rate(result.bitsPerSecond), result.ok),
    right(milliseconds(result.rttMs)),
    right(milliseconds(result.worstRttMs)),
    result.error ?? '',
  ]);
  const header = ['from', 'to', right('TCP'), right('RTT, ms'), right('worst'), ''];
  return whole(report, [table(header, rows, paint), verdict(report.results, 'answered')], paint);
}

export function renderDisrupt(report: DisruptReport, paint: Paint): string {
  const hurt = report.results.filter(({ gapCount, broken }) => gapCount > 0 || broken > 0);
  const rows = hurt.map((result) => [
    ...pairNames(report.node, result.from, result),
    right(String(result.gapCount)),
    right((result.longestGapMs / 1000).toFixed(1), false),
    right(String(result.broken), result.broken === 0 ? undefined : false),
  ]);
  const header = ['from', 'to', right('gaps'), right('longest, s'), right('broken off')];
  const held = `${report.results.length} connections held for ${report.seconds} s: `;
  const said = hurt.length === 0 ? 'none was silent.' : `${hurt.length} were silent.`;
  return whole(report, [rows.length === 0 ? '' : table(header, rows, paint), `${held}${said}`], paint);
}

function whole(report: AnyReport, [body = '', said = '']: readonly string[], paint: Paint): string {
  const lines = [
    ...report.problems.map((problem) => paint(problem, 'red')),
    ...report.unreachable.map(({ node, reason }) => paint(`${node} is missing: ${reason}`, 'red')),
    paint(said, report.ok ? 'green' : 'red'),
  ];
  return `${body}${body === '' ? '' : '\n'}${lines.join('\n')}\n`;
}

function table(header: readonly Cell[], rows: readonly (readonly Cell[])[], paint: Paint): string {
  return rows.length === 0 ? '' : renderTable(header, rows, paint);
}

function verdict(results: readonly (MtuResult | PerfResult)[], what: string): string {
  const good = results.filter(({ ok }) => ok).length;
  return `${good} of ${results.length} ${what}.`;
}

function right(text: string, ok?: boolean): Cell {
  return { text, right: true, ...(ok !== undefined && { colour: ok ? 'green' : 'red' }) };
}

function milliseconds(value: number | null): string {
  return value === null ? '-' : value.toFixed(2);
}

function rate(bitsPerSecond: number): string {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s'];
  let [value, unit] = [bitsPerSecond, 0];
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value.toPrecision(3)} ${units[unit]}`;
}
