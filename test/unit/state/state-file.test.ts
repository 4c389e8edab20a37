import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { WarrenError } from '../../../src/errors.ts';
import {
  readStateFile,
  removeStateFile,
  removeUnfinished,
  writeStateFile,
  writeStateFileAsync,
} from '../../../src/state/state-file.ts';

const schema = z.object({ name: z.string(), pods: z.array(z.string()) });
const value = { name: 'node-a', pods: ['web', 'dörte'] };

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-state-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof WarrenError) return error.code;
    throw error;
  }
  return 'none';
}

describe('state file', () => {
  it('returns what was written, privately, and leaves no other file', () => {
    const path = join(folder, 'new', 'pods.json');
    expect(readStateFile(path, schema, 'pods')).toBeUndefined();
    writeStateFile(path, value);
    writeStateFile(path, { ...value, name: 'node-b' });
    expect(readStateFile(path, schema, 'pods')).toEqual({ ...value, name: 'node-b' });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700);
    expect(readdirSync(join(folder, 'new'))).toEqual(['pods.json']);
  });

  it('round-trips any JSON', () => {
    const path = join(folder, 'any.json');
    fc.assert(
      fc.property(fc.jsonValue(), (any) => {
        writeStateFile(path, any);
        expect(readStateFile(path, z.unknown(), 'any')).toEqual(JSON.parse(JSON.stringify(any)));
      }),
      { numRuns: 50 },
    );
  });

  it('refuses a file cut short at every length', () => {
    const path = join(folder, 'cut.json');
    writeStateFile(path, value);
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length++) {
      writeFileSync(path, whole.subarray(0, length));
      expect(codeOf(() => readStateFile(path, schema, 'pods'))).toBe('STATE_CORRUPT');
    }
  });

  it('refuses a file with any byte changed', () => {
    const path = join(folder, 'changed.json');
    writeStateFile(path, value);
    const whole = readFileSync(path);
    for (let i = 0; i < whole.length; i++) {
      const changed = Buffer.from(whole);
      changed[i]! ^= 0x01;
      writeFileSync(path, changed);
      expect(codeOf(() => readStateFile(path, schema, 'pods'))).toMatch(/^STATE_(CORRUPT|VERSION)$/);
    }
  });

  it('refuses foreign files, later versions and content of another shape', () => {
    const path = join(folder, 'foreign.json');
    for (const text of ['', '\n', '{}', 'null\nnull', '{"name":"x"}\n', '\u0000'.repeat(4096)]) {
      writeFileSync(path, text);
      expect(codeOf(() => readStateFile(path, schema, 'pods'))).toBe('STATE_CORRUPT');
    }
    writeStateFile(path, { pods: 'none' });
    expect(() => readStateFile(path, schema, 'pods')).toThrow(/name/);
    writeFileSync(path, readFileSync(path, 'utf8').replace('"version":2', '"version":3'));
    expect(codeOf(() => readStateFile(path, schema, 'pods'))).toBe('STATE_VERSION');
  });

  it('ignores what a crash left of an unfinished write, and does not write through it', () => {
    const path = join(folder, 'crash.json');
    writeStateFile(path, value);
    writeFileSync(`${path}.tmp`, '{"format":"warr');
    expect(readStateFile(path, schema, 'pods')).toEqual(value);
    rmSync(`${path}.tmp`);
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'untouched');
    symlinkSync(victim, `${path}.tmp`);
    writeStateFile(path, { ...value, name: 'node-c' });
    expect(readFileSync(victim, 'utf8')).toBe('untouched');
    expect(readStateFile(path, schema, 'pods')?.name).toBe('node-c');
  });

  describe('written without blocking', () => {
    it('is the same to the byte, private, and the only file that is left', async () => {
      const path = join(folder, 'new', 'pods.json');
      await writeStateFileAsync(path, value, 'node-a');
      const bytes = readFileSync(path);
      expect(readStateFile(path, schema, 'pods', 'node-a')).toEqual(value);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700);
      writeStateFile(path, value, 'node-a');
      expect(readFileSync(path)).toEqual(bytes);
      expect(readdirSync(join(folder, 'new'))).toEqual(['pods.json']);
    });

    it('lets the event loop run while the disk works, and holds what was there when it was called', async () => {
      const path = join(folder, 'large.json');
      const pods = Array.from({ length: 20_000 }, (_, index) => `pod-${index}`);
      let turns = 0;
      let isWritten = false;
      const write = writeStateFileAsync(path, { name: 'node-a', pods }).then(() => {
        isWritten = true;
      });
      pods.length = 0;
      while (!isWritten) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        turns++;
      }
      await write;
      // Ten operations of the disk, none of which ends in the turn that began it.
      expect(turns).toBeGreaterThan(5);
      expect(readStateFile(path, schema, 'pods')?.pods).toHaveLength(20_000);
    });

    it('never writes through what a crash or somebody else left', async () => {
      const path = join(folder, 'crash.json');
      const victim = join(folder, 'victim');
      writeFileSync(victim, 'untouched');
      symlinkSync(victim, `${path}.tmp`);
      await writeStateFileAsync(path, value);
      expect(readFileSync(victim, 'utf8')).toBe('untouched');
      expect(readStateFile(path, schema, 'pods')).toEqual(value);
    });

    it('leaves the old state where it fails', async () => {
      const path = join(folder, 'x.json');
      await writeStateFileAsync(path, value);
      // A folder that is not empty, where the temporary file should be.
      mkdirSync(join(`${path}.tmp`, 'in the way'), { recursive: true });
      await expect(writeStateFileAsync(path, 1)).rejects.toMatchObject({ code: 'STATE_UNWRITABLE' });
      expect(readStateFile(path, schema, 'pods')).toEqual(value);
    });
  });

  it('is not written where it would be too long to be read again', async () => {
    const path = join(folder, 'long.json');
    const tooLong = 'x'.repeat(33 * 1024 * 1024);
    expect(codeOf(() => writeStateFile(path, tooLong))).toBe('STATE_UNWRITABLE');
    await expect(writeStateFileAsync(path, tooLong)).rejects.toMatchObject({ code: 'STATE_UNWRITABLE' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says what it could not write or read', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(codeOf(() => writeStateFile(join(folder, 'file', 'x.json'), 1))).toBe('STATE_UNWRITABLE');
    expect(codeOf(() => readStateFile(folder, schema, 'pods'))).toBe('STATE_UNREADABLE');
    removeStateFile(join(folder, 'absent.json'));
    writeStateFile(join(folder, 'x.json'), value);
    removeStateFile(join(folder, 'x.json'));
    expect(readStateFile(join(folder, 'x.json'), schema, 'pods')).toBeUndefined();
  });
});

describe('what a crash in the middle of a write left', () => {
  it('goes, and nothing else', () => {
    const path = join(folder, 'attachments.json');
    writeStateFile(path, value);
    for (const name of ['attachments.json.tmp', 'lease.json.tmp', 'notes.tmp'])
      writeFileSync(join(folder, name), '{"form');
    removeUnfinished(folder);
    expect(readdirSync(folder).sort()).toEqual(['attachments.json', 'notes.tmp']);
    expect(readStateFile(path, schema, 'test')).toEqual(value);
  });
});
