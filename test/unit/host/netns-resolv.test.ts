/** Files of network namespaces: ours come and go, others' stay. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NetnsResolvFiles, netnsResolvFile } from '../../../src/host/netns-resolv.ts';
import { argvInPod } from '../../../src/host/pod-command.ts';

let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'warren-netns-resolv-')), 'netns');
});
afterEach(() => rmSync(join(folder, '..'), { recursive: true }));

const WEB = '/run/netns/warren-a-web';

it('is made, changed and removed with its folder', async () => {
  const umask = process.umask(0o077);
  try {
    const files = new NetnsResolvFiles('a1', folder);
    expect(await files.list()).toEqual([]);
    await files.write(WEB, 'nameserver 10.42.1.1\n');
    await files.write(WEB, 'nameserver 10.42.2.1\n');
    const file = join(folder, 'warren-a-web', 'resolv.conf');
    expect(readFileSync(file, 'utf8')).toMatch(/^# Made by warren .*node a1\nnameserver 10\.42\.2\.1\n$/);
    for (const [path, mode] of [
      [file, 0o644],
      [join(file, '..'), 0o755],
      [folder, 0o755],
    ] as const)
      expect(statSync(path).mode & 0o777).toBe(mode);
    expect(await files.list()).toEqual([WEB]);
    expect(await new NetnsResolvFiles('b2', folder).list()).toEqual([]);
    await new NetnsResolvFiles('b2', folder).remove(WEB);
    expect(existsSync(file)).toBe(true);
    // A namespace of this name is made by one agent at a time.
    await new NetnsResolvFiles('b2', folder).write(WEB, '');
    expect(await files.list()).toEqual([]);
    await files.write(WEB, '');
    await files.remove(WEB);
    await files.remove(WEB);
    expect(existsSync(join(file, '..'))).toBe(false);
  } finally {
    process.umask(umask);
  }
});

it('leaves what others have made', async () => {
  const files = new NetnsResolvFiles('a1', folder);
  const file = join(folder, 'warren-a-web', 'resolv.conf');
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, 'nameserver 192.0.2.1\n');
  await files.write(WEB, 'nameserver 10.42.1.1\n');
  await files.remove(WEB);
  expect(readFileSync(file, 'utf8')).toBe('nameserver 192.0.2.1\n');
  rmSync(file);
  await files.write(WEB, '');
  writeFileSync(join(file, '..', 'hosts'), '');
  await files.remove(WEB);
  expect(existsSync(join(file, '..', 'hosts'))).toBe(true);
  // A namespace elsewhere has no name.
  await files.write('/proc/1234/ns/net', '');
  expect(netnsResolvFile('/run/netns/../etc')).toBeUndefined();
  expect(netnsResolvFile('/run/netns/..')).toBeUndefined();
});

it('a program of a pod without such a file is run as before', async () => {
  expect(await argvInPod('/proc/1234/ns/net', ['ip', 'a'])).toEqual([
    'nsenter',
    '--net=/proc/1234/ns/net',
    '--',
    'ip',
    'a',
  ]);
});
