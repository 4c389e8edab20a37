/** A report as one HTML page that needs nothing else: no script, no font, no request. */
import { type Line, renderLinePlot } from './line-plot.ts';
import { formatFigure, METRICS, type MetricId } from './metrics.ts';
import { PAGE_STYLE } from './page-style.ts';
import { type Bar, escapeText, renderPlot, scaleFor } from './plot.ts';
import { RATIO_METRICS } from './ratios.ts';
import type { BenchReport, LaneReport } from './report.ts';
import type { SoakReport } from './soak.ts';
import { MEMORY_TARGET_MB } from './targets.ts';
import { cellText, count, failureLines, machineText, ratioText, soakLine } from './text.ts';

const PLOTS: readonly MetricId[] = [
  'tcp1',
  'tcp4',
  'udp64',
  'udp1200',
  'rttP50',
  'rttP99',
  'cpuSender',
  'cpuReceiver',
  'cpuMachine',
  'memorySender',
  'memoryReceiver',
];
const SPEED_TABLE: readonly MetricId[] = [
  'tcp1',
  'tcp4',
  'udp64',
  'udp64Loss',
  'udp1200',
  'udp1200Loss',
  'rttP50',
  'rttP99',
];
const COST_TABLE: readonly MetricId[] = [
  'cpuSender',
  'cpuReceiver',
  'cpuAgents',
  'cpuMachine',
  'memorySender',
  'memoryReceiver',
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
    ...(report.soak === undefined ? [] : [section('Memory under load', soakPlot(report.soak))]),
    section('Speed', figureTable(lanes, SPEED_TABLE)),
    section('Cost', figureTable(lanes, COST_TABLE)),
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

function legend({ systems, lanes }: BenchReport): string {
  const present = Object.entries(ROLES).filter(([role]) => systems.some((system) => system.role === role));
  const items = present.map(([role, title]) => `<span><i class="swatch bar-${role}"></i>${title}</span>`);
  if (lanes.some((lane) => lane.path === 'pod')) items.push('<span>paler: pod to pod</span>');
  return `<p class="legend">${items.join('')}</p>`;
}

function plot({ lanes, systems }: BenchReport, metric: MetricId): string {
  const roles = new Map(systems.map((system) => [system.id, system.role]));
  const bars = lanes.flatMap((lane): Bar[] => {
    const found = lane.metrics[metric];
    return found === undefined
      ? []
      : [
          {
            label: lane.title,
            role: roles.get(lane.system) ?? 'bare',
            isPale: lane.path === 'pod',
            ...found,
          },
        ];
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
  return table(['', 'For', 'Figure', 'Target'], 2, rows);
}

function soakPlot(soak: SoakReport): string {
  const lines = soak.agents.flatMap(({ side, atSeconds, residentMb, anonymousMb }): Line[] => [
    { label: `${side}'s`, style: side, x: atSeconds, y: residentMb },
    { label: `${side}'s own`, style: `${side} faint`, x: atSeconds, y: anonymousMb },
  ]);
  const caption = escapeText(soakLine(soak).replace(/^soak +/, ''));
  if (lines.length === 0) return `<p>${caption}</p>`;
  const plotted = renderLinePlot('Resident memory', 'MB', lines, MEMORY_TARGET_MB);
  const note =
    `MB resident, every second, and how much of it is the agent's own (anonymous), by which its growth is reckoned; ` +
    `the dashed line is the target, ${MEMORY_TARGET_MB} MB.`;
  return `<figure><figcaption>${caption}. ${note}</figcaption>${plotted}</figure>`;
}

function figureTable(lanes: readonly LaneReport[], wanted: readonly MetricId[]): string {
  const metrics = wanted.filter((id) => lanes.some((lane) => lane.metrics[id] !== undefined));
  const header = ['', ...metrics.map((id) => `${METRICS[id].short}, ${METRICS[id].unit}`)];
  const rows = lanes.map(
    (lane) => `<tr>${cell(lane.title)}${metrics.map((id) => figure(cellText(lane, id))).join('')}</tr>`,
  );
  return table(header, 1, rows);
}

function ratioTable({ ratios, lanes }: BenchReport): string {
  const titles = new Map(lanes.map((lane) => [lane.id, lane.title]));
  const rows = ratios.map((ratio) => {
    const figures = RATIO_METRICS.map((id) => number(ratioText(ratio, id))).join('');
    return `<tr>${cell(titles.get(ratio.lane) ?? ratio.lane)}${cell(ratio.to)}${figures}</tr>`;
  });
  return table(['', 'To', ...RATIO_METRICS.map((id) => METRICS[id].short)], 2, rows);
}

function systemTable({ systems }: BenchReport): string {
  const rows = systems.map((system) => {
    const what = system.skipped === undefined ? (system.version ?? '') : 'skipped';
    const idle = system.idlePercent === undefined ? '-' : `${formatFigure(system.idlePercent)} %`;
    const cells = [system.title, what, system.skipped ?? system.settings ?? ''].map(cell);
    return `<tr>${cells.join('')}${number(idle)}</tr>`;
  });
  return table(['System', 'Version', 'Settings', 'Idle CPU of one agent'], 3, rows);
}

function section(title: string, content: string): string {
  return `<section><h2>${escapeText(title)}</h2>${content}</section>`;
}

/** From column `firstNumber` (0 is the first) on there are numbers. */
function table(header: readonly string[], firstNumber: number, rows: readonly string[]): string {
  const head = header
    .map((text, i) => `<th${i < firstNumber ? '' : ' class="number"'}>${escapeText(text)}</th>`)
    .join('');
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function cell(text: string): string {
  return `<td>${escapeText(text)}</td>`;
}

/** A median, and below it the least and the most. */
function figure(text: string): string {
  const [median, range] = text.split(' (');
  const below = range === undefined ? '' : `<br><small>(${escapeText(range)}</small>`;
  return `<td class="number">${escapeText(median!)}${below}</td>`;
}

function number(text: string): string {
  return `<td class="number">${escapeText(text)}</td>`;
}
