/** The control sockets of real agents: who may open them, what they may do there, and what a stream tells them. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startCommand } from '../../src/lab/command.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import type { PeerReport, PodReport } from '../../src/readmodel/reports.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labsockets';
/** What is told comes at once, or when a node is missed; on a busy machine that takes longer. */
const LIMIT_MS = 60_000;
/** Numbers of groups and of a user that nobody has. */
const FULL_GID = 64_201;
const READ_GID = 64_202;
const STRANGER = 64_203;

/** What one request gets: an HTTP status, or why the socket cannot be opened. */
const ASK = `
const [socketPath, method, path] = process.argv.slice(1);
require('http')
  .request({ socketPath, method, path }, (response) => console.log(response.statusCode, response.resume() && ''))
  .on('error', (error) => console.log(error.code))
  .end();`;

describeUnless(lacking('root', 'ip', 'nsenter'), 'the control sockets of agents', () => {
  let folder: string;
  let lab: Lab;
  let a: LabNode;
  let b: LabNode;
  let socket: string;
  let readSocket: string;

  beforeAll(async () => {
    folder = mkdtempSync('/run/warren-sockets-test-');
    await chmod(folder, 0o755);
    readSocket = join(folder, 'read.sock');
    lab = await Lab.up({
      name: NAME,
      nodes: 2,
      pods: 1,
      config: (node, nodes) =>
        node === nodes[0]
          ? {
              api: {
                socketGroup: String(FULL_GID),
                readOnlySocket: readSocket,
                readOnlyGroup: String(READ_GID),
              },
            }
          : {},
    });
    [a, b] = lab.nodes as [LabNode, LabNode];
    socket = a.socket;
  });
  afterAll(async () => {
    await Lab.remove(NAME);
    rmSync(folder, { recursive: true, force: true });
  });

  async function ask(gid: number, path: string, method: string, url: string): Promise<string> {
    const child = startCommand([process.execPath, '-e', ASK, path, method, url], {
      uid: STRANGER,
      gid,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    for await (const chunk of child.stdout!) text += chunk;
    return text.trim();
  }

  test('belong to their groups', () => {
    expect(statSync(socket)).toMatchObject({ uid: 0, gid: FULL_GID });
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect(statSync(readSocket)).toMatchObject({ uid: 0, gid: READ_GID });
    expect(statSync(readSocket).mode & 0o777).toBe(0o660);
    expect(statSync(b.socket).mode & 0o777).toBe(0o600);
  });

  test('let the readers look and nothing else', async () => {
    expect(await ask(READ_GID, readSocket, 'GET', '/v1/peers')).toBe('200');
    expect(await ask(READ_GID, readSocket, 'DELETE', '/v1/pods/pod-1')).toBe('403');
    expect(await ask(FULL_GID, readSocket, 'GET', '/v1/peers')).toBe('EACCES');
    expect(await ask(STRANGER, readSocket, 'GET', '/v1/peers')).toBe('EACCES');
  });

  test('tell of a new pod at once, and of a node that dies when it is missed', async () => {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const client = a.client();
    const seen: string[][] = [];
    for await (const pods of client.watch<PodReport[]>('pods', { intervalSeconds: 3600, signal })) {
      seen.push(pods.map(({ name }) => name));
      if (seen.length === 1) await client.addPod('watched');
      if (pods.some(({ name }) => name === 'watched')) break;
    }
    expect(seen.at(-1)).toContain('watched');
    expect(seen.length).toBeGreaterThan(1);

    const statuses: string[] = [];
    for await (const peers of client.watch<PeerReport[]>('peers', { intervalSeconds: 3600, signal })) {
      statuses.push(peers.find(({ name }) => name === b.name)!.status);
      if (statuses.length === 1) await b.kill('SIGKILL');
      if (statuses.at(-1) === 'dead') break;
    }
    expect(statuses[0]).toBe('alive');
    expect(statuses.at(-1)).toBe('dead');
  });

  test('go with their agent, whose streams end', async () => {
    const signal = AbortSignal.timeout(LIMIT_MS);
    const stream = a.client().watch('pods', { intervalSeconds: 3600, signal });
    await stream.next();
    const ended = stream.next();
    await Promise.all([expect(ended).rejects.toMatchObject({ code: 'AGENT_SILENT' }), a.kill('SIGTERM')]);
    expect(statSync(socket, { throwIfNoEntry: false })).toBeUndefined();
    expect(statSync(readSocket, { throwIfNoEntry: false })).toBeUndefined();
  });
});
