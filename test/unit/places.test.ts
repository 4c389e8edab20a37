import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { afterAll, expect, it } from 'vitest';
import { withSourcePlaces } from '../../src/places.ts';

const folder = mkdtempSync(join(tmpdir(), 'warren-places-'));
afterAll(() => rmSync(folder, { recursive: true }));

it('a stack of what was bundled and minified names the lines that people wrote', async () => {
  const source = `// A line before.
export function outer() {
  inner();
}

function inner() {
  throw new Error('here');
}
try { outer(); } catch (error) { console.log(error.stack); }
`;
  writeFileSync(join(folder, 'thrower.ts'), source);
  const bundle = await rolldown({ input: join(folder, 'thrower.ts') });
  await bundle.write({
    dir: join(folder, 'dist'),
    minify: true,
    sourcemap: true,
    entryFileNames: 'thrower.mjs',
  });
  const stack = execFileSync(process.execPath, [join(folder, 'dist/thrower.mjs')], { encoding: 'utf8' });
  expect(stack).not.toContain('thrower.ts');
  expect(withSourcePlaces(stack).match(/thrower\.ts:\d+/g)).toEqual([
    'thrower.ts:7',
    'thrower.ts:3',
    'thrower.ts:9',
  ]);
});

it('what has no map, or a broken one, stays as it is', () => {
  const plain = `at inner (${pathToFileURL(join(folder, 'none.mjs'))}:1:2)\nat node:internal/x:1:2`;
  expect(withSourcePlaces(plain)).toBe(plain);
  writeFileSync(join(folder, 'none.mjs.map'), '{');
  expect(withSourcePlaces(plain)).toBe(plain);
});
