/** A bar plot as inline SVG: one bar per lane for the median, a whisker from the least to the most. */
import { formatFigure } from './metrics.ts';

export interface Bar {
  readonly label: string;
  /** Becomes a CSS class, `bar-ROLE`. */
  readonly role: string;
  /** Drawn paler: of two bars of one role that stand side by side, the second. */
  readonly isPale: boolean;
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Scale {
  readonly isLog: boolean;
  /** Ascending, within the plot. */
  readonly ticks: readonly number[];
  /** 0 to 1 for a value; what lies below a logarithmic scale is at 0. */
  position(value: number): number;
}

/** From this spread on, small bars would vanish on a linear scale. */
const LOG_SPREAD = 20;

const WIDTH = 800;
const LABEL_WIDTH = 290;
const VALUE_WIDTH = 70;
const ROW_HEIGHT = 24;
const BAR_HEIGHT = 14;
const AXIS_HEIGHT = 26;

/** `title` and `unit` name the plot for those who cannot see it. */
export function renderPlot(title: string, unit: string, bars: readonly Bar[]): string {
  const scale = scaleFor(bars);
  const plotWidth = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
  const bottom = bars.length * ROW_HEIGHT;
  const x = (value: number): string => (LABEL_WIDTH + scale.position(value) * plotWidth).toFixed(1);
  const grid = scale.ticks.map((tick) => {
    const at = x(tick);
    return (
      `<line class="grid" x1="${at}" x2="${at}" y1="0" y2="${bottom}"/>` +
      `<text class="tick" x="${at}" y="${bottom + 16}">${formatTick(tick)}</text>`
    );
  });
  const rows = bars.map((bar, index) => renderBar(bar, index * ROW_HEIGHT, x));
  const height = bottom + AXIS_HEIGHT;
  const name = escapeText(`${title}, ${unit}${scale.isLog ? ', logarithmic' : ''}`);
  return (
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${name}">` +
    `${grid.join('')}${rows.join('')}</svg>`
  );
}

function renderBar(bar: Bar, top: number, x: (value: number) => string): string {
  const middle = top + ROW_HEIGHT / 2;
  const barTop = middle - BAR_HEIGHT / 2;
  const width = Math.max(0, Number(x(bar.median)) - LABEL_WIDTH).toFixed(1);
  const [low, high] = [x(bar.min), x(bar.max)];
  const text = `${bar.label}: ${formatFigure(bar.median)} (${formatFigure(bar.min)} to ${formatFigure(bar.max)})`;
  const end = (at: string): string =>
    `<line class="whisker" x1="${at}" x2="${at}" y1="${middle - 4}" y2="${middle + 4}"/>`;
  // The half of a whisker that lies over its bar would vanish in a dark one.
  const along = (name: string): string =>
    `<line class="${name}" x1="${low}" x2="${high}" y1="${middle}" y2="${middle}"/>`;
  const colour = `bar-${escapeText(bar.role)}${bar.isPale ? ' pale' : ''}`;
  return (
    `<g><title>${escapeText(text)}</title>` +
    `<text class="label" x="${LABEL_WIDTH - 8}" y="${middle + 4}">${escapeText(bar.label)}</text>` +
    `<rect class="${colour}" x="${LABEL_WIDTH}" y="${barTop}" width="${width}" height="${BAR_HEIGHT}"/>` +
    `${along('halo')}${along('whisker')}${end(low)}${end(high)}` +
    `<text class="value" x="${(Number(high) + 6).toFixed(1)}" y="${middle + 4}">${formatFigure(bar.median)}</text></g>`
  );
}

/** Linear from 0, or logarithmic where the medians are far apart. */
export function scaleFor(bars: readonly Bar[]): Scale {
  const most = Math.max(...bars.map((bar) => bar.max), 0);
  const positive = bars.map((bar) => bar.median).filter((median) => median > 0);
  const least = Math.min(...positive);
  if (positive.length > 1 && Math.max(...positive) / least > LOG_SPREAD) return logScale(least, most);
  return linearScale(most);
}

/** From 0 to the first round figure that is not less than `most`. */
export function linearScale(most: number): Scale {
  const step = niceStep(most / 4);
  const end = most === 0 ? 1 : Math.ceil(most / step) * step;
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, i) => i * step);
  return { isLog: false, ticks, position: (value) => clamp(value / end) };
}

function logScale(least: number, most: number): Scale {
  const end = niceStep(most);
  const start = 1 / niceStep(1 / least);
  const [low, high] = [Math.log10(start), Math.log10(end)];
  const ticks: number[] = [];
  for (let tick = start; tick <= end * (1 + 1e-9); tick = niceStep(tick * 1.5)) ticks.push(tick);
  const position = (value: number): number =>
    value <= 0 ? 0 : clamp((Math.log10(value) - low) / (high - low));
  return { isLog: true, ticks, position };
}

/** 1, 2 or 5 times a power of ten, at least `value`. */
function niceStep(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((factor) => factor * power >= value * (1 - 1e-9)) ?? 10) * power;
}

/** Without the digits that adding floats leaves behind. */
export function formatTick(tick: number): string {
  return String(Number(tick.toPrecision(6)));
}

function clamp(share: number): number {
  return Math.min(1, Math.max(0, share));
}

export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
