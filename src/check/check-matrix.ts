/** A check's results as tables, one for each family. */
import type { CheckReport, CheckResult } from '../readmodel/check-reports.ts';
import { type Cell, type Paint, renderTable, tableWidth } from '../terminal/table.ts';

/** `columns`: where a table would be wider, its sources and targets change places. */
export function renderCheck(report: CheckReport, columns: number, paint: Paint): string {
  const tables = [4, 6].map((family) => {
    const results = report.results.filter((result) => result.address.includes(':') === (family === 6));
    return results.length === 0 ? '' : renderFamily(`IPv${family}, ms`, report.node, results, columns, paint);
  });
  const failed = report.results.filter(({ ok }) => !ok);
  const total = report.results.length;
  const lines = [
    ...report.problems.map((problem) => paint(problem, 'red')),
    ...report.unreachable.map(({ node, reason }) =>
      paint(`${node} did not say what pods it has: ${reason}`, 'red'),
    ),
    failed.length === 0
      ? paint(`${total} of ${total} answered.`, report.ok ? 'green' : undefined)
      : paint(`${failed.length} of ${total} did not answer.`, 'red'),
    ...failed.flatMap(({ trace }) => (trace === undefined ? [] : [plain(trace.line)])),
    ...(failed.some(({ trace }) => trace) && failed.some(({ trace }) => !trace)
      ? ['Others were not traced: `warren trace SOURCE DESTINATION` does.']
      : []),
  ];
  return [...tables.filter(Boolean), `${lines.join('\n')}\n`].join('\n');
}

/** Other nodes have a part in it: no control characters. */
function plain(text: string): string {
  return text.replace(/\p{Cc}/gu, ' ');
}

function renderFamily(
  title: string,
  node: string,
  results: readonly CheckResult[],
  columns: number,
  paint: Paint,
): string {
  const from = (result: CheckResult) => (result.from === 'node' ? node : `${node}/${result.from}`);
  const to = (result: CheckResult) =>
    result.toPod === null ? result.toNode : `${result.toNode}/${result.toPod}`;
  const byPair = new Map(results.map((result) => [`${from(result)} ${to(result)}`, result]));
  const sources = [...new Set(results.map(from))];
  const targets = [...new Set(results.map(to))];

  const header = ['from \\ to', ...targets].map(rightButFirst);
  const rows = sources.map((source) =>
    [source, ...targets.map((target) => cell(byPair.get(`${source} ${target}`)))].map(rightButFirst),
  );
  const turnedHeader = ['to \\ from', ...sources].map(rightButFirst);
  const turnedRows = targets.map((target) =>
    [target, ...sources.map((source) => cell(byPair.get(`${source} ${target}`)))].map(rightButFirst),
  );
  const isTooWide = tableWidth(header, rows) > columns;
  const table = isTooWide ? renderTable(turnedHeader, turnedRows, paint) : renderTable(header, rows, paint);
  return `${title}\n${table}`;
}

function cell(result: CheckResult | undefined): Cell {
  if (result === undefined) return '-';
  if (!result.ok) return { text: 'FAIL', colour: 'red' };
  return { text: result.rttMs === null ? 'ok' : result.rttMs.toFixed(2), colour: 'green' };
}

function rightButFirst(value: Cell, index: number): Cell {
  const parts = typeof value === 'string' ? { text: value } : value;
  return { ...parts, right: index > 0 };
}
