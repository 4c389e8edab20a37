import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { groupId } from '../../../src/host/group.ts';

let folder: string;
let file: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-group-test-'));
  file = join(folder, 'group');
  writeFileSync(file, 'root:x:0:\nwarren-read:x:998:ann,bob\nwarren:x:997:\nbroken:x:many:\n');
});
afterAll(() => rmSync(folder, { recursive: true }));

it('finds a group by its whole name', async () => {
  expect(await groupId('warren', file)).toBe(997);
  expect(await groupId('warren-read', file)).toBe(998);
});

it('takes a number as it is', async () => {
  expect(await groupId('4242', file)).toBe(4242);
});

it('asks the host for what the file does not have', async () => {
  expect(await groupId('root', join(folder, 'nothing'))).toBe(0);
});

it('says that there is no such group, and how to make it', async () => {
  await expect(groupId('warren-nobody-here', file)).rejects.toMatchObject({
    code: 'GROUP_UNKNOWN',
    message: 'this host has no group warren-nobody-here',
    hint: expect.stringContaining('groupadd --system warren-nobody-here'),
  });
  await expect(groupId('broken', file)).rejects.toMatchObject({ code: 'GROUP_UNKNOWN' });
});
