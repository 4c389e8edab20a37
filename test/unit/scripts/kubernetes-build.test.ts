/** What is done to sources before Kubernetes is built of them. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packageFile } from '../../../src/package.ts';

/** A script without types: it runs before anything is built. */
const { compilersAtOnce, forSources, mendReflect2 } = (await import(
  packageFile('scripts/kubernetes-build.mjs')
)) as {
  compilersAtOnce(cores: number, limit: number, memory: number): number;
  forSources(text: string): string;
  mendReflect2(folder: string): void;
};

describe('lists of packages', () => {
  it.each([
    ['Types: deb\nURIs: http://deb.example/debian\n', 'Types: deb-src\nURIs: http://deb.example/debian\n'],
    ['Types: deb deb-src\n', 'Types: deb-src\n'],
    [
      'deb http://deb.example/ bookworm main\n# deb it\n',
      'deb-src http://deb.example/ bookworm main\n# deb it\n',
    ],
    ['deb-src [signed-by=/k] http://deb.example/ x y\n', 'deb-src [signed-by=/k] http://deb.example/ x y\n'],
  ])('%j becomes %j', (before, after) => {
    expect(forSources(before)).toBe(after);
  });
});

describe('compilers at a time', () => {
  const GB = 2 ** 30;
  it.each([
    [2, 0, 23 * GB, 2],
    [16, 0, 8 * GB, 4],
    [16, 4 * GB, 64 * GB, 2],
    [8, 2 ** 63, 8 * GB, 4],
    [4, 0, 1 * GB, 1],
  ])('%d cores, a limit of %d and memory of %d bytes: %d', (cores, limit, memory, expected) => {
    expect(compilersAtOnce(cores, limit, memory)).toBe(expected);
  });
});

describe('reflect2', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-reflect2-'));
    writeFileSync(
      join(folder, 'unsafe_link.go'),
      'func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer) *hiter\n',
    );
    writeFileSync(
      join(folder, 'unsafe_map.go'),
      '\t\thiter:      mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj)),\n',
    );
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('hands the runtime memory for the state of an iteration, and stays so', () => {
    mendReflect2(folder);
    const read = () =>
      ['unsafe_link.go', 'unsafe_map.go', 'map_state.go'].map((name) =>
        readFileSync(join(folder, name), 'utf8'),
      );
    const mended = read();
    expect(mended[0]).toContain('m unsafe.Pointer, it *mapState)');
    expect(mended[1]).toContain('beginIteration(type2.rtype');
    expect(mended[2]).toContain('mapiterinit(rtype, m, it)');
    mendReflect2(folder);
    expect(read()).toEqual(mended);
  });

  it('that is not as expected is an error', () => {
    writeFileSync(join(folder, 'unsafe_map.go'), 'package reflect2\n');
    expect(() => mendReflect2(folder)).toThrow(/unsafe_map\.go is not as it was expected/);
  });
});
