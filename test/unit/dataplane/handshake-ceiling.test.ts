import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readCeiling, writeCeiling } from '../../../src/dataplane/handshake-ceiling.ts';

const folder = mkdtempSync(join(tmpdir(), 'warren-ceiling-'));
const path = join(folder, 'handshakes.txt');
afterAll(() => rmSync(folder, { recursive: true }));

it('is kept from one run to the next', () => {
  expect(readCeiling(path)).toBe(0);
  writeCeiling(path, 1_790_000_000_000_000);
  expect(readCeiling(path)).toBe(1_790_000_000_000_000);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

it.each(['', 'microseconds\n', 'microseconds 12', '{}', 'microseconds -1\n'])(
  'is refused if it is damaged: %j',
  (text) => {
    writeFileSync(path, text);
    expect(() => readCeiling(path)).toThrow(expect.objectContaining({ code: 'STATE_CORRUPT' }));
  },
);

it('says so if it cannot be read', () => {
  expect(() => readCeiling(folder)).toThrow(expect.objectContaining({ code: 'STATE_UNREADABLE' }));
});
