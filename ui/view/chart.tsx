/** Lines over the last 15 minutes, and beside them a table that says the same in numbers. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { clockTime } from '../model/format.ts';
import { colour, onThemeChange } from './theme.ts';

export interface Series {
  readonly label: string;
  /** As the table shows it; default: the label. */
  readonly title?: ComponentChildren;
  readonly values: readonly number[];
}

export const LINE_COLOURS = 8;
const HEIGHT = 200;
const WINDOW_SECONDS = 15 * 60;

export interface ChartProps {
  readonly caption: string;
  /** Milliseconds since 1970. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly format: (value: number) => string;
  readonly height?: number;
}

export function Chart({ caption, times, series, format, height = HEIGHT }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const key = series.map(({ label }) => label).join('\n');
  const data: uPlot.AlignedData = [
    times.map((time) => time / 1000),
    ...series.map(({ values }) => [...values]),
  ];
  const latest = useRef(data);
  latest.current = data;

  useEffect(() => {
    const element = place.current!;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(
        optionsOf(element.clientWidth, height, series, format),
        latest.current,
        element,
      );
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height }));
    resized.observe(element);
    const off = onThemeChange(make);
    return () => {
      resized.disconnect();
      off();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [key, height]);
  useEffect(() => plot.current?.setData(data), [times, series]);

  const empty = times.length === 0;
  return (
    <figure class="chart">
      <figcaption>{caption}</figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
      {empty && <p class="quiet">The first sample comes within five seconds.</p>}
      {!empty && (
        <div class="table-frame">
          <table class="legend">
            <thead>
              <tr>
                <th scope="col">
                  <span class="for-readers">{caption}</span>
                </th>
                <th scope="col" class="number">
                  now
                </th>
                <th scope="col" class="number">
                  mean
                </th>
                <th scope="col" class="number">
                  most
                </th>
              </tr>
            </thead>
            <tbody>
              {series.map(({ label, title, values }, i) => (
                <tr key={label}>
                  <th scope="row">
                    <span class={`swatch line-${i % LINE_COLOURS}`} aria-hidden="true" />
                    {title ?? label}
                  </th>
                  <td class="number">{format(values.at(-1) ?? 0)}</td>
                  <td class="number">
                    {format(values.reduce((sum, one) => sum + one, 0) / Math.max(1, values.length))}
                  </td>
                  <td class="number">{format(Math.max(0, ...values))}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </figure>
  );
}

function optionsOf(
  width: number,
  height: number,
  series: readonly Series[],
  format: (value: number) => string,
): uPlot.Options {
  const font = '11px system-ui, sans-serif';
  const axis = {
    stroke: colour('--quiet'),
    grid: { stroke: colour('--hairline'), width: 1 },
    ticks: { show: false },
    font,
  };
  return {
    width,
    height,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: {
        time: true,
        range: (_plot, least, most) => [
          most === null ? 0 : Math.min(least, most - WINDOW_SECONDS),
          most ?? 1,
        ],
      },
      y: { range: (_plot, _least, most) => [0, Math.max(most ?? 0, 1) * 1.08] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        space: 70,
        values: (_plot, splits) => splits.map((at) => clockTime(at * 1000).slice(0, 5)),
      },
      { ...axis, size: 68, space: 34, values: (_plot, splits) => splits.map(format) },
    ],
    series: [
      {},
      ...series.map(({ label }, i) => ({
        label,
        stroke: colour(`--line-${i % LINE_COLOURS}`),
        width: 1.6,
        // Beyond the colours the dashes tell them apart.
        ...(i >= LINE_COLOURS && { dash: [5, 4] }),
        points: { show: false },
        ...(series.length === 1 && { fill: colour('--line-fill') }),
      })),
    ],
  };
}
