/** The table of error codes against the source: every code that is thrown is in it, and none is in it for nothing. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { API_ERRORS, COMMAND_ERRORS, httpStatusOf } from '../../src/error-codes.ts';

const SRC = new URL('../../src/', import.meta.url).pathname;
/** Where code runs in a command's own process, not in an agent's. */
const COMMANDS_ONLY = /^(bin|cli|cni-install|lab|bench|simulate|wireguard-device)\/|^api\/client\.ts$/;
/** Not thrown as a WarrenError: what a client is told of anything else that was thrown. */
const NOT_THROWN = ['INTERNAL'];

const texts = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts') && file !== 'error-codes.ts')
  .map((file) => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));

/** The code, or the two of `isThis ? 'A' : 'B'`, behind `WarrenError(`, `super(` and what makes one from a code. */
const thrown = texts.flatMap(({ file, text }) =>
  [
    ...text.matchAll(
      /(?:new WarrenError|super|#error|\.fail|foreignCode)\(\s*(?:[\w.]+ \? '([A-Z_]+)'\s*: )?(?:[\w.]+ \?\? )?'([A-Z][A-Z_]+)'/g,
    ),
  ].flatMap(([, either, code]) =>
    [either, code].flatMap((one) => one ?? []).map((one) => ({ file, code: one })),
  ),
);

describe('the table of error codes', () => {
  it('is read against all places that make an error', () => {
    const made = texts.flatMap(({ text }) => text.match(/new WarrenError\(/g) ?? []).length;
    const withoutLiteral = texts.flatMap(
      ({ text }) => text.match(/new WarrenError\(\s*(?:foreignCode\(|code\b|error\.)/g) ?? [],
    ).length;
    const found = texts.flatMap(
      ({ text }) => text.match(/new WarrenError\(\s*(?:[\w.]+ \? '[A-Z_]+'\s*: )?'[A-Z]/g) ?? [],
    ).length;
    expect(made).toBeGreaterThan(100);
    expect(found + withoutLiteral).toBe(made);
  });

  it('has an HTTP status for each code that an agent may answer with', () => {
    const missing = thrown
      .filter(({ file, code }) => !COMMANDS_ONLY.test(file) && !Object.hasOwn(API_ERRORS, code))
      .map(({ file, code }) => `${code} in ${file}`);
    expect(missing).toEqual([]);
  });

  it('has none that nobody throws', () => {
    const codes = new Set(thrown.map(({ code }) => code));
    const unused = [...Object.keys(API_ERRORS), ...COMMAND_ERRORS].filter(
      (code) => !codes.has(code) && !NOT_THROWN.includes(code),
    );
    expect(unused).toEqual([]);
  });

  it('names each code once', () => {
    expect(COMMAND_ERRORS.filter((code) => Object.hasOwn(API_ERRORS, code))).toEqual([]);
    expect(new Set(COMMAND_ERRORS).size).toBe(COMMAND_ERRORS.length);
  });

  it('answers what can be done with another request by 4xx, and what only time or room mends by 503 and 507', () => {
    expect(httpStatusOf('NO_SUBNET')).toBe(503);
    expect(httpStatusOf('POD_SUBNET_EXHAUSTED')).toBe(507);
    expect(httpStatusOf('POD_EXISTS')).toBe(409);
    expect(httpStatusOf('READ_ONLY')).toBe(403);
    for (const status of Object.values(API_ERRORS)) expect([4, 5]).toContain(Math.floor(status / 100));
  });

  it('takes what it does not know for the failure of an agent', () => {
    expect(httpStatusOf('EPERM')).toBe(500);
    expect(httpStatusOf('toString')).toBe(500);
  });
});
