/** Line plots as SVG, small enough to read as text: no script, no font, no other file. */

export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface PlotOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
}

const WIDTH = 720;
const HEIGHT = 400;
const LEFT = 64;
const RIGHT = 24;
const TOP = 44;
const BOTTOM = 96;

/** The x axis is logarithmic, so that what grows with log x is a straight line; y begins at 0. */
export function logPlot(options: PlotOptions): string {
  const all = options.series.flatMap(({ points }) => points);
  const decades = all.map(([x]) => Math.log10(x));
  const least = Math.floor(Math.min(...decades));
  const most = Math.max(least + 1, Math.ceil(Math.max(...decades)));
  const top = niceCeiling(Math.max(...all.map(([, y]) => y)));
  const x = (value: number) => LEFT + ((Math.log10(value) - least) / (most - least)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const parts: string[] = [];
  const text = (at: readonly [number, number], content: string, more = '') =>
    parts.push(`<text x="${fixed(at[0])}" y="${fixed(at[1])}"${more}>${escaped(content)}</text>`);

  for (let tick = 0; tick <= 5; tick++) {
    const value = (top * tick) / 5;
    parts.push(`<path d="M${LEFT} ${fixed(y(value))}H${WIDTH - RIGHT}" stroke="#ddd"/>`);
    text([LEFT - 8, y(value) + 4], String(Number(value.toPrecision(3))), ' text-anchor="end"');
  }
  for (let decade = least; decade <= most; decade++) {
    parts.push(`<path d="M${fixed(x(10 ** decade))} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>`);
    text(
      [x(10 ** decade), HEIGHT - BOTTOM + 18],
      (10 ** decade).toLocaleString('en'),
      ' text-anchor="middle"',
    );
  }
  text([LEFT, 22], options.title, ' font-weight="bold" font-size="15"');
  text([(LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38], options.xLabel, ' text-anchor="middle"');
  text([LEFT, TOP - 6], options.yLabel, ' fill="#666"');
  for (const [i, { name, colour, points }] of options.series.entries()) {
    const path = points
      .map(([px, py], j) => `${j === 0 ? 'M' : 'L'}${fixed(x(px))} ${fixed(y(py))}`)
      .join('');
    parts.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [px, py] of points) {
      parts.push(`<circle cx="${fixed(x(px))}" cy="${fixed(y(py))}" r="3" fill="${colour}"/>`);
    }
    const column = LEFT + (i % 2) * 330;
    const row = HEIGHT - 34 + Math.floor(i / 2) * 18;
    parts.push(`<rect x="${column}" y="${row - 9}" width="12" height="12" fill="${colour}"/>`);
    text([column + 18, row + 1], name);
  }
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" ` +
    `role="img" aria-label="${escaped(options.title)}">\n` +
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>\n${parts.join('\n')}\n</svg>\n`
  );
}

/** 1, 2 or 5 times a power of ten. */
function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

function fixed(value: number): string {
  return String(Number(value.toFixed(1)));
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
