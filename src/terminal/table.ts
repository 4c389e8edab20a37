/** Text that lines up, and colour where a terminal shows it. */
import type { CliIo, Output } from './io.ts';

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

/** A cell, or a cell with its colour and side. */
export type Cell = string | { readonly text: string; readonly colour?: Colour; readonly right?: boolean };

/** Wraps text in a colour, or leaves it as it is. */
export type Paint = (text: string, colour: Colour | undefined) => string;

// ECMA-48, Select Graphic Rendition.
const CODES: Readonly<Record<Colour, number>> = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };
const GAP = '  ';

/** Colours on a terminal only, and not where NO_COLOR asks for none (https://no-color.org). */
export function painter(output: Output, env: CliIo['env']): Paint {
  const isOn = output.isTerminal && !env.NO_COLOR && env.TERM !== 'dumb';
  return (text, colour) => {
    return isOn && colour !== undefined ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;
  };
}

/** Rows of cells as lines, each column as wide as its widest cell. A header's cells are as in the rows. */
export function renderTable(
  header: readonly Cell[],
  rows: readonly (readonly Cell[])[],
  paint: Paint,
): string {
  const all = [header.map((cell): Cell => ({ ...parts(cell), colour: 'bold' })), ...rows];
  const widths = header.map((_, i) => Math.max(...all.map((row) => textWidth(parts(row[i] ?? '').text))));
  return all
    .map((row) => {
      const cells = row.map((cell, i) => {
        const { text, colour, right } = parts(cell);
        const padding = ' '.repeat(Math.max(0, widths[i]! - textWidth(text)));
        // A last column that is not padded leaves no blanks at the end of the line.
        if (right) return padding + paint(text, colour);
        return i === row.length - 1 ? paint(text, colour) : paint(text, colour) + padding;
      });
      return `${cells.join(GAP)}\n`;
    })
    .join('');
}

/** How wide a table of these rows is, in characters. */
export function tableWidth(header: readonly Cell[], rows: readonly (readonly Cell[])[]): number {
  return header.reduce<number>((sum, head, i) => {
    const column = [head, ...rows.map((row) => row[i] ?? '')].map((cell) => textWidth(parts(cell).text));
    return sum + Math.max(...column) + (i === 0 ? 0 : GAP.length);
  }, 0);
}

/** `name   value` lines; a value of several lines hangs under its first. */
export function renderFields(
  fields: readonly (readonly [name: string, value: string])[],
  paint: Paint,
): string {
  const width = Math.max(...fields.map(([name]) => name.length));
  return fields
    .map(([name, value]) => {
      const lines = value.split('\n').join(`\n${' '.repeat(width)}${GAP}`);
      return `${paint(name, 'bold')}${' '.repeat(width - name.length)}${GAP}${lines}\n`;
    })
    .join('');
}

function parts(cell: Cell): { text: string; colour?: Colour; right?: boolean } {
  return typeof cell === 'string' ? { text: cell } : cell;
}

/** Names here are ASCII; one that is not takes a column for each character. */
function textWidth(text: string): number {
  return [...text].length;
}
