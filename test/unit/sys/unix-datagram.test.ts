import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { sendUnixDatagram } from '../../../src/sys/unix-datagram.ts';
import { NotifySocket } from '../../helpers/notify-socket.ts';

let folder: string;
const open: NotifySocket[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-datagram-test-'));
});
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
  rmSync(folder, { recursive: true });
});

it.each([
  ['at a path', () => join(folder, 'notify')],
  ['at an abstract address', () => `@warren-test/${process.pid}`],
])('a datagram comes as it was sent %s', (_what, name) => {
  const socket = new NotifySocket(name());
  open.push(socket);
  sendUnixDatagram(name(), 'READY=1\nSTATUS=über alles');
  sendUnixDatagram(name(), 'WATCHDOG=1');
  expect(socket.poll()).toEqual(['READY=1\nSTATUS=über alles', 'WATCHDOG=1']);
});

it('where nobody listens, or the name is too long, it throws', () => {
  expect(() => sendUnixDatagram(join(folder, 'nobody'), 'x')).toThrow(/connect failed with ENOENT/);
  expect(() => sendUnixDatagram(`@warren-test/${process.pid}/nobody`, 'x')).toThrow(/ECONNREFUSED/);
  expect(() => sendUnixDatagram(`@${'x'.repeat(108)}`, 'x')).toThrow(/ENAMETOOLONG/);
});

it('a receiver that takes nothing does not block', () => {
  const socket = new NotifySocket(`@warren-test/${process.pid}`);
  open.push(socket);
  const fill = () => {
    for (let i = 0; i < 100_000; i++) sendUnixDatagram(socket.name, 'WATCHDOG=1');
  };
  expect(fill).toThrow(/send failed with EAGAIN/);
});
