import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentClient } from '../../../src/api/client.ts';
import { type ApiServer, startApiServer } from '../../../src/api/server.ts';
import { startTcpApi } from '../../../src/api/tcp.ts';
import { WarrenError } from '../../../src/errors.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { PodReport } from '../../../src/readmodel/reports.ts';
import { FakeAgent, fakePeers, fakeStatus } from '../../helpers/fake-agent.ts';

/** JSON of 70 KB. */
const TOO_LONG = `"${'x'.repeat(70_000)}"`;

let folder: string;
let path: string;
let agent: FakeAgent;
const open: { close(): Promise<void> }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-api-test-'));
  path = join(folder, 'run', 'agent.sock');
  agent = new FakeAgent();
});
afterEach(async () => {
  for (const server of open.splice(0)) await server.close();
  rmSync(folder, { recursive: true });
});

async function start(): Promise<ApiServer> {
  const server = await startApiServer({
    path,
    gid: undefined,
    model: agent,
    commands: agent,
    log: silentLogger,
  });
  open.push(server);
  return server;
}

function raw(
  method: string,
  url: string,
  body = '',
  headers: Record<string, string> = {},
): Promise<{ status: number; body: unknown }> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { socketPath: path, method, path: url, agent: false, headers },
      async (response) => {
        let text = '';
        for await (const chunk of response) text += chunk;
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** All that can be read without asking other nodes. */
async function expectReports(client: AgentClient): Promise<void> {
  expect(await client.status()).toEqual(fakeStatus);
  expect(await client.peers()).toEqual(fakePeers);
  expect(await client.routes()).toEqual(agent.routes());
  expect(await client.pods()).toEqual(agent.podReports);
  expect(await client.inventory()).toEqual(agent.inventoryReports);
  expect(await client.targets()).toEqual(agent.targets());
}

const NO_PACKETS = 'no packets flow: the data plane is not active\n';

describe('the control API', () => {
  it('answers the client with what the agent reports', async () => {
    await start();
    const client = new AgentClient(path);
    await expectReports(client);
    expect(await client.allTargets()).toEqual({ targets: [agent.targets()], unreachable: [] });
    expect(await client.addPod('db', { netns: '/run/netns/blue', labels: { app: 'db' } })).toMatchObject({
      name: 'db',
      netns: '/run/netns/blue',
      labels: { app: 'db' },
    });
    expect(await client.removePod('db')).toMatchObject({ name: 'db' });
    expect(await client.reload()).toEqual(agent.reloadReport);
    expect(await client.leave({ force: true })).toEqual({ name: 'node-a', subnets: ['10.42.3.0/24'] });
  });

  it('is for its owner alone', async () => {
    const mask = process.umask(0o077);
    await start();
    process.umask(mask);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'run')).mode & 0o777).toBe(0o755);
  });

  it('lets a group in where one is configured', async () => {
    // The group that runs this test, the one that it may give files to without being root.
    const gid = process.getgid!();
    open.push(await startApiServer({ path, gid, model: agent, commands: agent, log: silentLogger }));
    expect(statSync(path)).toMatchObject({ gid, uid: process.getuid!() });
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });

  it('takes a request without a body from a client that calls it JSON all the same', async () => {
    await start();
    const json = { 'content-type': 'application/json' };
    expect(await raw('DELETE', '/v1/pods/web', '', json)).toMatchObject({
      status: 200,
      body: { name: 'web' },
    });
    expect(await raw('POST', '/v1/pods', '', json)).toMatchObject({
      status: 400,
      body: { code: 'BAD_REQUEST' },
    });
  });

  it('answers as many at once as a runtime starts containers', async () => {
    await start();
    let asked = 0;
    let allAsked = (): void => {};
    const all = new Promise<void>((resolve) => {
      allAsked = resolve;
    });
    agent.allTargets = async () => {
      if (++asked === 300) allAsked();
      await all;
      return { targets: [], unreachable: [] };
    };
    const answers = Array.from({ length: 300 }, () => raw('GET', '/v1/targets/all'));
    for (const { status } of await Promise.all(answers)) expect(status).toBe(200);
  });

  it('hands on the code, message and hint of an error', async () => {
    await start();
    const client = new AgentClient(path);
    await expect(client.addPod('web')).rejects.toMatchObject({
      code: 'POD_EXISTS',
      message: 'pod web exists already',
      hint: 'Choose another name.',
    });
    await expect(client.removePod('a/../b?c')).rejects.toMatchObject({
      code: 'POD_UNKNOWN',
      message: 'there is no pod a/../b?c on this node',
    });
  });

  it.each([
    ['GET', '/', '', 404, 'NOT_FOUND'],
    ['GET', '/v2/status', '', 404, 'NOT_FOUND'],
    ['GET', '/v1/status/more', '', 404, 'NOT_FOUND'],
    ['GET', '/v1/targets/all/more', '', 404, 'NOT_FOUND'],
    ['GET', '/v1/%zz', '', 400, 'BAD_REQUEST'],
    ['DELETE', '/v1/status', '', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/v1/pods', 'no json', 400, 'BAD_REQUEST'],
    ['POST', '/v1/pods', '{"name":7}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/pods', '{"name":"a","other":1}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/pods', '{"name":"web"}', 409, 'POD_EXISTS'],
    ['POST', '/v1/pods', TOO_LONG, 413, 'BODY_TOO_LARGE'],
    ['DELETE', '/v1/pods/nobody', '', 404, 'POD_UNKNOWN'],
    ['POST', '/v1/wireguard-peers', '{"name":"a","dns":"10.0.0.1"}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/wireguard-peers', '{"privateKey":"x"}', 400, 'BAD_REQUEST'],
    ['GET', '/v1/wireguard-peers/nobody', '', 404, 'PEER_UNKNOWN'],
    ['DELETE', '/v1/wireguard-peers/nobody', '', 404, 'PEER_UNKNOWN'],
    ['GET', '/v1/leave', '', 405, 'METHOD_NOT_ALLOWED'],
    ['POST', '/v1/leave', '{"force":"yes"}', 400, 'BAD_REQUEST'],
    ['POST', '/v1/leave', '{}', 409, 'LEAVE_PODS'],
  ])('%s %s %.12s is %i %s', async (method, url, body, status, code) => {
    await start();
    expect(await raw(method, url, body)).toMatchObject({ status, body: { code } });
  });

  it.each([
    ['GET', '/v1/status?pretty=1', 200],
    ['GET', '/v1//status/', 200],
    ['GET', '/v1/pods/web', 405],
    ['PUT', '/v1/pods/web', 405],
    ['DELETE', `/v1/peers/${'x'.repeat(5000)}`, 404],
  ])('%s %s is %i', async (method, url, status) => {
    await start();
    expect((await raw(method, url)).status).toBe(status);
  });

  it('answers HEAD with the head of GET', async () => {
    await start();
    const head = await new Promise<{ status: number | undefined; length: string | undefined }>((resolve) => {
      httpRequest({ socketPath: path, method: 'HEAD', path: '/v1/status', agent: false }, (response) => {
        response.resume();
        resolve({ status: response.statusCode, length: response.headers['content-length'] });
      }).end();
    });
    expect(head).toEqual({ status: 200, length: String(JSON.stringify(fakeStatus).length + 1) });
  });

  it('says that a pod has to wait for the subnet by 503', async () => {
    await start();
    agent.addPod = async () => {
      throw new WarrenError('NO_SUBNET', 'this node has no subnet yet (its lease is joining)');
    };
    expect(await raw('POST', '/v1/pods', '{"name":"db"}')).toMatchObject({
      status: 503,
      body: { code: 'NO_SUBNET' },
    });
  });

  it('tells of a bug without its details', async () => {
    await start();
    agent.failure = new TypeError('secret internals');
    const answer = await raw('GET', '/v1/status');
    expect(answer).toMatchObject({ status: 500, body: { code: 'INTERNAL' } });
    expect(JSON.stringify(answer)).not.toContain('secret');
    agent.failure = new WarrenError('STATE_UNWRITABLE', 'the disk is full');
    expect(await raw('GET', '/v1/status')).toMatchObject({ status: 500, body: { code: 'STATE_UNWRITABLE' } });
  });

  it('refuses to start beside an agent that answers, and leaves its socket alone', async () => {
    await start();
    await expect(start()).rejects.toMatchObject({ code: 'AGENT_RUNNING' });
    expect(await new AgentClient(path).status()).toEqual(fakeStatus);
  });

  it('replaces a socket that nobody answers on', async () => {
    const first = await start();
    // What a killed agent leaves: a socket in the folder, and no process behind it.
    await first.close();
    open.pop();
    spawnSync(process.execPath, [
      '-e',
      `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`,
    ]);
    expect(statSync(path).isSocket()).toBe(true);
    await expect(new AgentClient(path).status()).rejects.toMatchObject({ code: 'AGENT_NOT_RUNNING' });
    await start();
    expect(await new AgentClient(path).status()).toEqual(fakeStatus);
  });

  it('does not remove a file that is no socket', async () => {
    path = join(folder, 'file');
    writeFileSync(path, 'precious');
    await expect(start()).rejects.toMatchObject({
      code: 'SOCKET_UNUSABLE',
      message: `cannot make the control socket ${path}: something that is no socket stands there`,
    });
    expect(statSync(path).size).toBe(8);
  });

  it('leaves no socket behind when it stops', async () => {
    const server = await start();
    await server.close();
    open.pop();
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });
});

describe('the read-only socket', () => {
  const startReadOnly = async () => {
    const options = { path, gid: undefined, model: agent, commands: undefined, log: silentLogger };
    open.push(await startApiServer(options));
  };

  it('shows what the agent knows', async () => {
    await startReadOnly();
    const client = new AgentClient(path);
    await expectReports(client);
    for await (const pods of client.watch('pods', follow())) {
      expect(pods).toEqual(agent.podReports);
      break;
    }
  });

  it.each([
    ['POST', '/v1/pods', '{"name":"db"}'],
    ['POST', '/v1/pods', 'no json'],
    ['DELETE', '/v1/pods/web', ''],
    ['GET', '/v1/wireguard-peers', ''],
    ['GET', '/v1/wireguard-peers/laptop', ''],
    ['POST', '/v1/wireguard-peers', '{"name":"laptop"}'],
    ['DELETE', '/v1/peers/node-b', ''],
    ['POST', '/v1/leave', '{"force":true}'],
    ['POST', '/v1/reload', ''],
    ['GET', '/v1/keys', ''],
    ['POST', '/v1/keys', '{"action":"add","key":"x"}'],
    ['GET', '/v1/targets/all', ''],
    ['GET', '/v1/sysdump?all=true', ''],
    ['POST', '/v1/capture', '{}'],
    ['POST', '/v1/check/respond', '{"seconds": 5}'],
  ])('%s %s is 403', async (method, url, body) => {
    await startReadOnly();
    expect(await raw(method, url, body)).toMatchObject({ status: 403, body: { code: 'READ_ONLY' } });
    expect(agent.podReports).toHaveLength(1);
  });
});

describe('a capture', () => {
  async function gathered(wishes: Parameters<AgentClient['capture']>[0]) {
    const stream = new AgentClient(path).capture(wishes, new AbortController().signal);
    const pieces: Uint8Array[] = [];
    for (;;) {
      const next = await stream.next();
      if (next.done) return { text: Buffer.concat(pieces).toString(), missing: next.value };
      pieces.push(next.value);
    }
  }

  it('comes piece by piece, and behind it who is missing', async () => {
    await start();
    agent.captured = [Buffer.from('ab'), Buffer.alloc(300_000, 'x'), Buffer.from('c')];
    const { text, missing } = await gathered({ all: true, pods: ['web'] });
    expect([text.slice(0, 3), text.length]).toEqual(['abx', 300_003]);
    expect(missing).toEqual([{ node: 'nöde-b', reason: 'no answer' }]);
    expect(agent.captureRequests).toMatchObject([{ all: true, pods: ['web'], seconds: 60, ports: [] }]);
  });

  it('that breaks off is no whole one', async () => {
    await start();
    agent.captured = [Buffer.from('ab')];
    agent.captureBug = new Error('broken');
    await expect(gathered({})).rejects.toMatchObject({ code: 'AGENT_SILENT' });
  });

  it('that cannot be is an error, as is a request that makes no sense', async () => {
    await start();
    agent.captureFailure = new WarrenError('POD_UNKNOWN', 'there is no pod "web"');
    await expect(gathered({ pods: ['web'] })).rejects.toMatchObject({ code: 'POD_UNKNOWN' });
    await expect(gathered({ seconds: 4000 })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
    await expect(gathered({ reasons: ['none'] })).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });
});

function follow(intervalSeconds = 3600): { intervalSeconds: number; signal: AbortSignal } {
  return { intervalSeconds, signal: new AbortController().signal };
}

describe('a stream of changes', () => {
  it('follows what happens on the other end', async () => {
    await start();
    const client = new AgentClient(path);
    const names: string[][] = [];
    for await (const pods of client.watch<PodReport[]>('pods', follow())) {
      names.push(pods.map(({ name }) => name));
      if (names.length === 1) await client.addPod('db');
      else if (names.length === 2) await client.removePod('web');
      else break;
    }
    expect(names).toEqual([['web'], ['web', 'db'], ['db']]);
  });

  it('has counters again after the interval', async () => {
    await start();
    let count = 0;
    for await (const status of new AgentClient(path).watch('status', follow(0.1))) {
      expect(status).toEqual(fakeStatus);
      if (++count === 3) break;
    }
    expect(count).toBe(3);
  });

  it('ends without an error when the reader has seen enough, with one when the agent goes', async () => {
    const server = await start();
    const seen = new AbortController();
    for await (const _ of new AgentClient(path).watch('pods', { intervalSeconds: 1, signal: seen.signal }))
      seen.abort();
    const following = (async () => {
      for await (const _ of new AgentClient(path).watch('pods', follow())) void server.close();
    })();
    open.pop();
    await expect(following).rejects.toMatchObject({
      code: 'AGENT_SILENT',
      message: `the agent on ${path} did not answer: it has ended the stream`,
    });
  });

  it.each([
    '/v1/watch',
    '/v1/watch?topics=',
    '/v1/watch?topics=status,secrets',
    '/v1/watch?topics=status&interval=0',
    '/v1/watch?topics=status&interval=often',
    '/v1/watch?topics=status&depth=2',
  ])('%s is 400', async (url) => {
    await start();
    expect(await raw('GET', url)).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  it('is refused with the reason where its first value cannot be had', async () => {
    await start();
    agent.failure = new WarrenError('STATE_UNREADABLE', 'the disk is gone');
    const [failed] = await Promise.allSettled([new AgentClient(path).watch('status', follow()).next()]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { code: 'STATE_UNREADABLE' } });
  });
});

describe('the client', () => {
  it('says that no agent runs, and how to start one', async () => {
    await expect(new AgentClient(path).status()).rejects.toMatchObject({
      code: 'AGENT_NOT_RUNNING',
      message: `there is no control socket ${path}`,
      hint: expect.stringContaining('warren agent -c FILE'),
    });
  });

  it('notices that something else answers', async () => {
    path = join(folder, 'other.sock');
    const other = createHttpServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => other.listen(path, resolve));
    open.push({ close: () => new Promise((resolve) => other.close(() => resolve())) });
    await expect(new AgentClient(path).status()).rejects.toMatchObject({ code: 'AGENT_ANSWER_INVALID' });
  });

  it('says so when the connection breaks', async () => {
    path = join(folder, 'other.sock');
    const other = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => other.listen(path, resolve));
    open.push({ close: () => new Promise((resolve) => other.close(() => resolve())) });
    await expect(new AgentClient(path).status()).rejects.toMatchObject({ code: 'AGENT_SILENT' });
  });
});

describe('health and metrics over TCP', () => {
  const get = async (port: number, name: string, init: RequestInit = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}/${name}`, init);
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      text: await response.text(),
    };
  };
  const startTcp = async () => {
    const server = await startTcpApi({
      listen: { host: '127.0.0.1', port: 0 },
      page: undefined,
      model: agent,
      log: silentLogger,
    });
    open.push(server);
    return server.port;
  };

  it.each([
    ['all is well', {}, '', ''],
    ['it has no subnet yet', { lease: 'claiming', active: false }, '', `lease claiming\n${NO_PACKETS}`],
    ['its TUN device was deleted', { active: false }, '', NO_PACKETS],
    [
      'a thread is stuck',
      { active: false, stuckWorkers: 1 },
      '1 of 1 packet path threads does not answer\n',
      NO_PACKETS,
    ],
  ] as const)('says whether the node is live and ready when %s', async (_what, is, live, ready) => {
    const {
      lease = 'active',
      active = true,
      stuckWorkers = 0,
    } = is as {
      lease?: 'claiming';
      active?: boolean;
      stuckWorkers?: number;
    };
    agent.statusReport = {
      ...fakeStatus,
      lease: { status: lease, subnets: [] },
      datapath: { ...fakeStatus.datapath, active, stuckWorkers },
    };
    const port = await startTcp();
    const answer = (reasons: string) =>
      reasons === '' ? { status: 200, text: 'ok\n' } : { status: 503, text: reasons };
    expect(await get(port, 'livez')).toMatchObject(answer(live));
    expect(await get(port, 'readyz')).toMatchObject(answer(ready));
    expect(await get(port, 'healthz')).toMatchObject(answer(live + ready));
  });

  it('renders every counter, with labels that cannot break the format', async () => {
    const { status, type, text } = await get(await startTcp(), 'metrics');
    expect({ status, type }).toEqual({ status: 200, type: 'text/plain; version=0.0.4; charset=utf-8' });
    for (const line of [
      'warren_datapath_packets_total{direction="outbound"} 1200',
      'warren_datapath_drops_total{reason="inbound-unknown-source"} 3',
      'warren_datapath_drops_total{reason="outbound-no-route"} 0',
      'warren_cluster_members{status="dead"} 1',
      'warren_admission_members{admission="pending"} 2',
      'warren_lease_active 1',
      'warren_datapath_active 1',
      'warren_datapath_stuck_workers 0',
      'warren_peer_bytes_total{peer="node-b",id="b2",direction="inbound"} 600',
      'warren_peer_status{peer="leg\\"acy",id="static-1",status="static"} 1',
      'warren_gossip_probes_sent_total 42',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^(# (HELP|TYPE) (warren|process|nodejs)_\w+ .+|\w+(\{\w+="([^"\\]|\\.)*"(,\w+="([^"\\]|\\.)*")*\})? \d+(\.\d+)?(e[+-]\d+)?)$/,
      );
    }
  });

  it('shows nothing else and changes nothing', async () => {
    const port = await startTcp();
    expect((await get(port, 'v1/pods')).status).toBe(404);
    expect((await get(port, 'metrics', { method: 'POST', body: '{}' })).status).toBe(405);
  });

  it('says what is wrong with an address that it cannot have', async () => {
    const port = await startTcp();
    await expect(
      startTcpApi({ listen: { host: '127.0.0.1', port }, page: undefined, model: agent, log: silentLogger }),
    ).rejects.toMatchObject({
      code: 'API_LISTEN_FAILED',
      message: `cannot listen on api.listen, 127.0.0.1:${port}: another program listens there`,
    });
    await expect(
      startTcpApi({
        listen: { host: '198.51.100.77', port: 0 },
        page: undefined,
        model: agent,
        log: silentLogger,
      }),
    ).rejects.toMatchObject({ message: expect.stringContaining('this host does not have that address') });
  });
});
