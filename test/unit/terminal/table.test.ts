import { describe, expect, it } from 'vitest';
import { durationText, sizeText } from '../../../src/cli/reports.ts';
import { painter, renderFields, renderTable, tableWidth } from '../../../src/terminal/table.ts';

const plain = painter({ write: () => {}, isTerminal: false, columns: 80 }, {});
const terminal = { write: () => {}, isTerminal: true, columns: 80 };

describe('a table', () => {
  const header = ['NAME', { text: 'BYTES', right: true }, 'NOTE'];
  const rows = [
    ['a', { text: '5', right: true }, 'x'],
    ['longer-name', { text: '1234567', right: true }, ''],
  ];

  it('lines up, with no blanks at the end of a line that is full', () => {
    expect(renderTable(header, rows, plain)).toBe(
      'NAME           BYTES  NOTE\na                  5  x\nlonger-name  1234567  \n',
    );
    expect(tableWidth(header, rows)).toBe('longer-name  1234567  NOTE'.length);
  });

  it('lines up in colour too: escape sequences take no room', () => {
    const coloured = renderTable(
      ['A', 'B'],
      [
        [{ text: 'red', colour: 'red' }, 'x'],
        ['longest', 'y'],
      ],
      painter(terminal, {}),
    );
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences are what is taken out.
    expect(coloured.replace(/\u001b\[\d+m/g, '')).toBe('A        B\nred      x\nlongest  y\n');
    expect(coloured).toContain('\u001b[31mred\u001b[0m    ');
  });

  it('hangs the further lines of a field under its first', () => {
    expect(
      renderFields(
        [
          ['a', '1\n2'],
          ['long', '3'],
        ],
        plain,
      ),
    ).toBe('a     1\n      2\nlong  3\n');
  });
});

it('colours only a terminal, and none where NO_COLOR asks for it', () => {
  expect(painter(terminal, {})('x', 'green')).toBe('\u001b[32mx\u001b[0m');
  expect(painter(terminal, { NO_COLOR: '1' })('x', 'green')).toBe('x');
  expect(painter(terminal, { NO_COLOR: '' })('x', 'green')).toContain('\u001b');
  expect(painter(terminal, { TERM: 'dumb' })('x', 'green')).toBe('x');
  expect(plain('x', 'green')).toBe('x');
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [1_500_000, '1.5 MB'],
  [123_456_789, '123 MB'],
  [5e15, '5000 TB'],
])('%d bytes are %s', (bytes, text) => expect(sizeText(bytes)).toBe(text));

it.each([
  [0, '0s'],
  [59.9, '59s'],
  [60, '1m'],
  [3_661, '1h 1m'],
  [93_784, '1d 2h'],
  [86_400, '1d'],
  [86_401, '1d'],
])('%d seconds are %s', (seconds, text) => expect(durationText(seconds)).toBe(text));
