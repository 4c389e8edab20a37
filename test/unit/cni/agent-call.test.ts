/** What the plugin makes of an agent that hangs, ends in the middle of an answer, or says too much. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentAway, AgentRefused, askAgent } from '../../../src/cni/agent-call.ts';
import { runPlugin } from '../../../src/cni/plugin.ts';

const TIMEOUT_MS = 40;

let folder: string;
let server: Server;
let path: string;
/** What it does with each request. */
let answer: (socket: Socket, request: string) => void;
const sockets = new Set<Socket>();
let requests: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-cni-call-'));
  path = join(folder, 'agent.sock');
  requests = [];
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (data) => {
      requests.push(data.toString());
      answer(socket, data.toString());
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  server.close();
  rmSync(folder, { recursive: true });
});

async function call(command: string) {
  const env = { CNI_COMMAND: command, CNI_CONTAINERID: 'c1', CNI_NETNS: '/run/netns/x', CNI_IFNAME: 'eth0' };
  const config = {
    cniVersion: '1.1.0',
    name: 'warren',
    type: 'warren-cni',
    socket: path,
    queue: join(folder, 'queue'),
    'cni.dev/valid-attachments': [],
  };
  const outcome = await runPlugin({ ...env, CNI_PATH: '/opt/cni/bin' }, async () => JSON.stringify(config), {
    timeoutMs: TIMEOUT_MS,
  });
  return { ...outcome, json: outcome.text === '' ? undefined : JSON.parse(outcome.text) };
}

describe('an agent that hangs', () => {
  beforeEach(() => {
    answer = () => {};
  });

  it.each([
    ['ADD', 11],
    ['GC', 11],
    ['STATUS', 51],
  ])('makes %s an error %i that says so', async (command, code) => {
    const { exitCode, json } = await call(command);
    expect({ exitCode, code: json.code }).toEqual({ exitCode: 1, code });
    expect(json.details).toContain('it does not answer in time');
  });

  it('is left a deletion, after it was asked a second time', async () => {
    mkdirSync(join(folder, 'queue'));
    expect(await call('DEL')).toMatchObject({ exitCode: 0, text: '' });
    expect(readdirSync(join(folder, 'queue'))).toEqual(['warren+c1+eth0']);
    expect(requests).toHaveLength(2);
  });

  it('is given up too where it has begun to answer', async () => {
    answer = (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n{');
    await expect(askAgent({ path, timeoutMs: TIMEOUT_MS }, 'status')).rejects.toThrow(/in time/);
  });
});

describe('an answer', () => {
  const ask = () => askAgent({ path }, 'add', { name: 'ä' });

  it('is read to the end of the connection, in whatever pieces', async () => {
    const bytes = Buffer.from('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"name":"ü"}\n');
    answer = (socket) => {
      for (const byte of bytes) socket.write(Uint8Array.of(byte));
      socket.end();
    };
    expect(await ask()).toEqual({ name: 'ü' });
    expect(requests[0]).toBe(
      'POST /v1/cni/add HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{"name":"ä"}',
    );
  });

  it.each([
    ['', 'nothing'],
    ['HTTP/1.1 200 OK\r\ncontent-length: 9\r\n', 'half a head'],
    ['HTTP/1.1 200 OK\r\n\r\n{"hostInterf', 'half a body'],
    ['HTTP/1.1 503 Unavailable\r\n\r\n{"code":"ATTACHMENTS_CLOSED","message":"it stops"}', 'that it stops'],
  ])('of an agent that goes away is none: %j', async (text) => {
    answer = (socket) => socket.end(text);
    await expect(ask()).rejects.toBeInstanceOf(AgentAway);
  });

  it('with an error has its code and hint', async () => {
    answer = (socket) => socket.end('HTTP/1.1 409 Conflict\r\n\r\n{"code":"X","message":"m","hint":"h"}');
    const error = await ask().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(AgentRefused);
    expect(error).toMatchObject({ code: 'X', message: 'm', hint: 'h' });
  });

  it('that does not end is cut off', async () => {
    answer = (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n"');
      const block = Buffer.alloc(1024 * 1024, 0x61);
      const more = () => {
        while (!socket.destroyed && socket.write(block));
      };
      socket.on('drain', more);
      more();
    };
    await expect(ask()).rejects.toThrow(/too long/);
  });
});
