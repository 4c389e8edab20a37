/** The configuration socket: requests however they are cut, one after the other, and who may open it. */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EADDRINUSE } from '../../../src/sys/constants.ts';
import { SysError } from '../../../src/sys/errors.ts';
import type { Request } from '../../../src/wireguard-device/uapi-request.ts';
import { UapiServer } from '../../../src/wireguard-device/uapi-server.ts';

let folder: string;
let path: string;
let server: UapiServer;
let removed: Promise<void>;
let refused: string[];
let handle: (request: Request) => Promise<string>;

async function start(): Promise<UapiServer> {
  let onRemoved = () => {};
  removed = new Promise((resolve) => {
    onRemoved = resolve;
  });
  return UapiServer.start({
    path,
    fd: undefined,
    handle: (request) => handle(request),
    onRefused: (reason) => void refused.push(reason),
    onRemoved: () => onRemoved(),
  });
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-uapi-'));
  path = join(folder, 'made', 'wg0.sock');
  refused = [];
  handle = async ({ operation }) => `done=${operation}\nerrno=0\n\n`;
  server = await start();
});
afterEach(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** What is answered to `pieces`, up to `count` empty lines. */
async function ask(count: number, ...pieces: readonly string[]): Promise<string> {
  const connection = createConnection(path);
  let text = '';
  const answered = new Promise<string>((resolve) => {
    connection.setEncoding('utf8');
    connection.on('data', (chunk: string) => {
      text += chunk;
      if (text.split('\n\n').length > count) resolve(text);
    });
    connection.on('close', () => resolve(text));
    connection.on('error', () => resolve(text));
  });
  for (const piece of pieces) await write(connection, piece);
  const answer = await answered;
  connection.destroy();
  return answer;
}

function write(connection: Socket, piece: string): Promise<void> {
  return new Promise((resolve) => {
    connection.write(piece, () => setImmediate(resolve));
  });
}

describe('the configuration socket', () => {
  it('answers a request however it is cut', async () => {
    const whole = 'set=1\nlisten_port=1\n\n';
    expect(await ask(1, whole)).toBe('done=set\nerrno=0\n\n');
    expect(await ask(1, ...whole)).toBe('done=set\nerrno=0\n\n');
  });

  it('answers several on one connection, in order, one at a time', async () => {
    let running = 0;
    handle = async ({ operation }) => {
      expect(++running).toBe(1);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return `done=${operation}\n\n`;
    };
    const [answer] = await Promise.all([ask(3, 'get=1\n\nset=1\n\nget=1\n\n'), ask(1, 'set=1\n\n')]);
    expect(answer).toBe('done=get\n\ndone=set\n\ndone=get\n\n');
  });

  it('goes on after a request that is refused', async () => {
    expect(await ask(2, 'set=1\nx\n\nget=1\n\n')).toBe('errno=-71\n\ndone=get\nerrno=0\n\n');
    expect(refused).toHaveLength(1);
  });

  it('says what the kernel said', async () => {
    handle = async () => {
      throw new SysError('bind', EADDRINUSE, 'opening');
    };
    expect(await ask(1, 'set=1\n\n')).toBe('errno=-98\n\n');
    handle = async () => {
      throw new Error('a bug');
    };
    expect(await ask(1, 'set=1\n\n')).toBe('errno=-5\n\n');
  });

  it('ends a connection that says too much', async () => {
    const line = `allowed_ip=${'1'.repeat(1024 * 1024)}\n`;
    expect(await ask(1, 'set=1\n', ...Array.from({ length: 17 }, () => line))).toBe('');
    expect(await ask(1, 'get=1\n\n')).toContain('errno=0');
  });

  it('is for its owner alone', () => {
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  it('notices that it was removed', async () => {
    rmSync(path);
    await removed;
  });

  it('is refused to a second one, and taken over from one that has gone', async () => {
    await expect(start()).rejects.toMatchObject({ code: 'SOCKET_UNUSABLE' });
    server.close();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
    writeFileSync(path, '');
    server = await start();
    expect(await ask(1, 'get=1\n\n')).toContain('errno=0');
  });
});
