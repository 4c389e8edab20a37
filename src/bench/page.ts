/** A report as one HTML page that needs nothing else: no script, no font, no request. */
import { formatFigure, METRICS, type MetricId } from './metrics.ts';
import { PAGE_STYLE } from './page-style.ts';
import { type Bar, escapeText, renderPlot, scaleFor } from './plot.ts';
import { RATIO_METRICS } from './ratios.ts';
import type { BenchReport, LaneReport } from './report.ts';
import { cellText, count, failureLines, machineText, ratioText } from './text.ts';

const PLOTS: readonly MetricId[] = [
  'tcp1',
  'tcp4',
  'udp64',
  'udp1200',
  'rttP50',
  'rttP99',
  'cpuAgents',
  'cpuMachine',
  'memory',
];
const TABLE: readonly MetricId[] = [
  ...PLOTS.slice(0, 3),
  'udp64Loss',
  'udp1200',
  'udp1200Loss',
  ...PLOTS.slice(4),
];

export function renderPage(report: BenchReport): string {
  const { lanes } = report;
  const failures = failureLines(lanes);
  const body = [
    '<h1>warren bench</h1>',
    `<p class="machine">${escapeText(machineText(report).trim()).replaceAll('\n', '<br>')}</p>`,
    `<p>${escapeText(HOW_TO_READ(report))}</p>`,
    section('Targets', targetTable(report)),
    section('Plots', legend(report) + PLOTS.map((metric) => plot(report, metric)).join('')),
    section('Figures', figureTable(lanes)),
    section('warren to others', `<p>${escapeText(RATIO_NOTE)}</p>${ratioTable(report)}`),
    section('Systems', systemTable(report)),
    ...(failures.length === 0
      ? []
      : [section('Failed', `<ul>${failures.map((text) => `<li>${escapeText(text)}</li>`).join('')}</ul>`)]),
  ];
  return [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>warren bench, ${escapeText(report.startedAt)}</title>`,
    `<style>${PAGE_STYLE}</style></head>`,
    `<body>${body.join('\n')}</body></html>`,
    '',
  ].join('\n');
}

const HOW_TO_READ = ({ rounds, seconds }: BenchReport): string =>
  `Bars and figures are medians of ${count(rounds, 'round')} of ${seconds} s each; whiskers and brackets show the ` +
  'least and the most. Rounds are interleaved: everything is measured once before anything is measured again. ' +
  'Sender, receiver and both agents share this one machine, so only ratios within one run mean anything. ' +
  '"Node to node" goes from tunnel address to tunnel address, "pod to pod" from a namespace behind one node to one ' +
  'behind the other; compare like with like.';

const RATIO_NOTE =
  'Our median divided by the other\'s. For throughput more is better, for round trips less. "Best other overlay" is ' +
  'the one in user space that does best in that column, encrypted or not.';

const ROLES = {
  warren: 'warren',
  kernel: 'kernel overlay',
  roofline: 'C roofline',
  userspace: 'other overlays in user space',
  bare: 'no overlay',
} as const;

function legend({ systems }: BenchReport): string {
  const present = Object.entries(ROLES).filter(([role]) => systems.some((system) => system.role === role));
  const items = present.map(([role, title]) => `<span><i class="swatch bar-${role}"></i>${title}</span>`);
  return `<p class="legend">${items.join('')}</p>`;
}

function plot({ lanes, systems }: BenchReport, metric: MetricId): string {
  const roles = new Map(systems.map((system) => [system.id, system.role]));
  const bars = lanes.flatMap((lane): Bar[] => {
    const found = lane.metrics[metric];
    return found === undefined
      ? []
      : [{ label: lane.title, role: roles.get(lane.system) ?? 'bare', ...found }];
  });
  if (bars.length === 0) return '';
  const { title, unit, better } = METRICS[metric];
  const scale = scaleFor(bars).isLog ? ', logarithmic scale' : '';
  const caption = `<b>${title}</b>, ${unit}; ${better} is better${scale}`;
  return `<figure><figcaption>${caption}</figcaption>${renderPlot(title, unit, bars)}</figure>`;
}

function targetTable({ targets }: BenchReport): string {
  const rows = targets.map(({ verdict, name, figure, target }) => {
    const shown = figure === undefined ? '-' : formatFigure(figure);
    const mark = `<td class="${verdict === 'not measured' ? 'none' : verdict}">${verdict}</td>`;
    return `<tr>${mark}${cell(name)}${number(shown)}${number(target)}</tr>`;
  });
  return table(['', 'For', 'Figure', 'Target'], rows);
}

function figureTable(lanes: readonly LaneReport[]): string {
  const header = ['', ...TABLE.map((id) => `${METRICS[id].short}, ${METRICS[id].unit}`)];
  const rows = lanes.map(
    (lane) => `<tr>${cell(lane.title)}${TABLE.map((id) => number(cellText(lane, id))).join('')}</tr>`,
  );
  return table(header, rows);
}

function ratioTable({ ratios, lanes }: BenchReport): string {
  const titles = new Map(lanes.map((lane) => [lane.id, lane.title]));
  const rows = ratios.map((ratio) => {
    const figures = RATIO_METRICS.map((id) => number(ratioText(ratio, id))).join('');
    return `<tr>${cell(titles.get(ratio.lane) ?? ratio.lane)}${cell(ratio.to)}${figures}</tr>`;
  });
  return table(['', 'To', ...RATIO_METRICS.map((id) => METRICS[id].short)], rows);
}

function systemTable({ systems }: BenchReport): string {
  const rows = systems.map((system) => {
    const what = system.skipped === undefined ? (system.version ?? '') : 'skipped';
    const idle = system.idlePercent === undefined ? '-' : `${formatFigure(system.idlePercent)} %`;
    const cells = [system.title, what, system.skipped ?? system.settings ?? ''].map(cell);
    return `<tr>${cells.join('')}${number(idle)}</tr>`;
  });
  return table(['System', 'Version', 'Settings', 'Idle CPU of one agent'], rows);
}

function section(title: string, content: string): string {
  return `<section><h2>${escapeText(title)}</h2>${content}</section>`;
}

function table(header: readonly string[], rows: readonly string[]): string {
  const head = header.map((text) => `<th>${escapeText(text)}</th>`).join('');
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function cell(text: string): string {
  return `<td>${escapeText(text)}</td>`;
}

function number(text: string): string {
  return `<td class="number">${escapeText(text)}</td>`;
}
