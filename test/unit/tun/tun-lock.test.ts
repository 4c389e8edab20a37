import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockTun, type TunLock } from '../../../src/tun/tun-lock.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const NAME = `test-${process.pid}`;

const held: TunLock[] = [];
let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), 'warren-lock-test-')), 'warren');
});
afterEach(() => {
  for (const lock of held.splice(0)) lock.release();
  rmSync(join(folder, '..'), { recursive: true });
});

function hold(name: string): TunLock {
  const lock = lockTun(name, folder);
  held.push(lock);
  return lock;
}

it('a TUN device is locked once, until the lock is released', () => {
  const lock = hold(NAME);
  expect(() => hold(NAME)).toThrow(`another agent holds the TUN device ${NAME}`);
  hold(`${NAME}0`);
  lock.release();
  held.splice(held.indexOf(lock), 1);
  hold(NAME);
});

it('a lock that is released leaves no file, and one that a killed agent left means nothing', () => {
  hold(NAME).release();
  held.splice(0);
  expect(readdirSync(folder)).toEqual([]);
  hold(NAME);
  const [file] = readdirSync(folder);
  held.splice(0)[0]!.release();
  writeFileSync(join(folder, file!), '');
  hold(NAME);
  expect(() => hold(NAME)).toThrow('another agent');
});

it('its folder lets others through to the control socket, whatever the mask', () => {
  const mask = process.umask(0o077);
  try {
    hold(NAME);
  } finally {
    process.umask(mask);
  }
  expect(statSync(folder).mode & 0o777).toBe(0o755);
});

it('a folder that cannot be had is named', () => {
  writeFileSync(folder, 'a file');
  expect(() => hold(NAME)).toThrow(/cannot make the lock file .*EEXIST/);
});

it('an abstract socket, which any user can bind, keeps nobody from the device', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(`\0warren/tun/${NAME}`, resolve));
  hold(NAME);
  server.close();
});

describeUnless(lacking('root', 'setpriv', 'flock'), 'another user', () => {
  it('cannot take the lock', () => {
    mkdirSync(folder);
    chmodSync(join(folder, '..'), 0o755);
    hold(NAME);
    const [file] = readdirSync(folder);
    held.splice(0)[0]!.release();
    writeFileSync(join(folder, file!), '', { mode: 0o600 });
    const asUser = (...argv: string[]) =>
      spawnSync('setpriv', ['--reuid=65534', '--regid=65534', '--clear-groups', ...argv], {
        encoding: 'utf8',
      });
    expect(asUser('flock', '-n', join(folder, file!), 'true').stderr).toContain('Permission denied');
    expect(asUser('touch', join(folder, 'tun-x.lock')).stderr).toContain('Permission denied');
  });
});

describeUnless(lacking('root', 'ip'), 'in another network namespace', () => {
  it('there is another device of the same name', () => {
    hold(NAME);
    enterOwnNetns();
    hold(NAME);
    expect(() => hold(NAME)).toThrow('another agent');
  });
});
