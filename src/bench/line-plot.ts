/** Lines over time as inline SVG, both axes from 0. */
import { escapeText, formatTick, linearScale } from './plot.ts';

export interface Line {
  readonly label: string;
  /** Becomes a CSS class, `line-STYLE`. */
  readonly style: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
}

const WIDTH = 800;
const HEIGHT = 220;
const LEFT = 46;
/** Room for the lines' labels. */
const RIGHT = 110;
const TOP = 8;
const BOTTOM = 26;
const LABEL_HEIGHT = 15;

/** `title` and `unit` (of y) name the plot for those who cannot see it; x is in seconds. `limit`: drawn across. */
export function renderLinePlot(title: string, unit: string, lines: readonly Line[], limit: number): string {
  const xScale = linearScale(Math.max(...lines.flatMap((line) => line.x), 0));
  const yScale = linearScale(Math.max(...lines.flatMap((line) => line.y), limit));
  const right = WIDTH - RIGHT;
  const bottom = HEIGHT - BOTTOM;
  const x = (value: number): string => (LEFT + xScale.position(value) * (right - LEFT)).toFixed(1);
  const y = (value: number): string => (bottom - yScale.position(value) * (bottom - TOP)).toFixed(1);
  const horizontal = (name: string, at: string): string =>
    `<line class="${name}" x1="${LEFT}" x2="${right}" y1="${at}" y2="${at}"/>`;
  const grid = [
    ...yScale.ticks.map(
      (tick) =>
        horizontal('grid', y(tick)) +
        `<text class="label" x="${LEFT - 8}" y="${(Number(y(tick)) + 4).toFixed(1)}">${formatTick(tick)}</text>`,
    ),
    ...xScale.ticks.map(
      (tick) => `<text class="tick" x="${x(tick)}" y="${HEIGHT - 8}">${formatTick(tick)} s</text>`,
    ),
  ];
  const labels = labelPlaces(lines.map((line) => Number(y(line.y.at(-1) ?? 0))));
  const drawn = lines.map((line, index) => {
    const points = line.x.map((at, i) => `${x(at)},${y(line.y[i] ?? 0)}`).join(' ');
    const style = `line-${escapeText(line.style)}`;
    const text = `<text x="${right + 8}" y="${(labels[index]! + 4).toFixed(1)}">${escapeText(line.label)}</text>`;
    return `<g class="${style}"><polyline points="${points}"/>${text}</g>`;
  });
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(`${title}, ${unit}`)}">` +
    `${grid.join('')}${horizontal('limit', y(limit))}${drawn.join('')}</svg>`
  );
}

/** Where the labels of lines that end at `ends` stand, each clear of the others. */
function labelPlaces(ends: readonly number[]): number[] {
  const places = [...ends];
  const downwards = ends.map((_, index) => index).sort((a, b) => ends[a]! - ends[b]!);
  let least = Number.NEGATIVE_INFINITY;
  for (const index of downwards) {
    places[index] = Math.max(ends[index]!, least);
    least = places[index] + LABEL_HEIGHT;
  }
  return places;
}
