import { encode } from 'uqr';
import { expect, it } from 'vitest';
import { qrCode } from '../../../src/cli/qr-code.ts';

const TEXT = 'PrivateKey = '.padEnd(340, 'x');
const LIGHT = { '█': [1, 1], '▀': [1, 0], '▄': [0, 1], ' ': [0, 0] } as const;

it('is drawn as it is encoded, with a light border, and fits a terminal of 80 columns', async () => {
  const drawn = (await qrCode(TEXT, { NO_COLOR: '1' })).trimEnd().split('\n');
  const rows = drawn.flatMap((line) => {
    const halves = [...line].map((character) => LIGHT[character as keyof typeof LIGHT]);
    return [0, 1].map((half) => halves.map((pair) => pair[half as 0 | 1]));
  });
  const { data, size } = encode(TEXT, { ecc: 'L', border: 2 });
  expect(rows.slice(0, size)).toEqual(data.map((row) => row.map((isDark) => (isDark ? 0 : 1))));
  expect(size).toBeLessThanOrEqual(80);
  expect(rows[0]!.every((light) => light === 1)).toBe(true);
});

it('says which colour is light where there are colours', async () => {
  const [plain, coloured] = [await qrCode('x', { TERM: 'dumb' }), await qrCode('x', {})];
  const lines = plain.trimEnd().split('\n');
  expect(coloured).toBe(lines.map((line) => `\x1b[97;40m${line}\x1b[0m\n`).join(''));
});
