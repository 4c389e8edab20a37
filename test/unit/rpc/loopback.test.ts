/** Calls over real UDP and TCP sockets on loopback. */

import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { realClock } from '../../../src/clock.ts';
import { WarrenError } from '../../../src/errors.ts';
import { identityFromSeed } from '../../../src/identity.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { ClusterKeys } from '../../../src/link/cluster-keys.ts';
import { GossipCounters } from '../../../src/link/counters.ts';
import { generateClusterKey, parseKeyRing } from '../../../src/link/key-ring.ts';
import { Link } from '../../../src/link/link.ts';
import { newSession, refusalFrame, Sealer } from '../../../src/link/seal.ts';
import { Sessions } from '../../../src/link/sessions.ts';
import { UdpTcpTransport } from '../../../src/link/udp-tcp-transport.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { DirectoryEntry } from '../../../src/rpc/directory.ts';
import { RpcNode } from '../../../src/rpc/rpc-node.ts';
import { text, texts } from './call-harness.ts';

const loopback = parseAddress('127.0.0.1');
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

function cluster(kind: 'sealed' | 'clear') {
  const keyRing = kind === 'sealed' ? parseKeyRing(generateClusterKey(), 'test') : undefined;
  const directory = new Map<string, DirectoryEntry>();
  const start = async (number: number) => {
    const identity = identityFromSeed(new Uint8Array(32).fill(number));
    const session = newSession();
    const transport = new UdpTcpTransport({
      bind: { address: loopback, port: 0 },
      logger: silentLogger,
      streamTimeoutMs: 2000,
    });
    const bugs: unknown[] = [];
    const link = new Link({
      transport,
      sealer: new Sealer('test', keyRing && new ClusterKeys(keyRing)),
      sessions: new Sessions({ clock: realClock, id: session }),
      counters: new GossipCounters(),
      streamTimeoutMs: 2000,
      memberOf: () => undefined,
      onBug: (error) => bugs.push(error),
    });
    const rpc = new RpcNode({
      identity,
      link,
      directory: { find: (id) => directory.get(id) },
      clock: realClock,
      onBug: (error) => bugs.push(error),
    });
    await link.open({
      datagram: () => {},
      stream: () => ({ message: () => {}, end: () => [text('gossip')] }),
    });
    const gossip = transport.local!;
    const { id, publicKey } = identity;
    directory.set(id, { id, name: `node-${number}`, publicKey, session, gossip, status: 'alive' });
    const stop = async () => {
      rpc.close();
      await link.close();
    };
    stops.push(stop);
    return { id, session, rpc, link, gossip, bugs, stop };
  };
  return { start, directory };
}

describe.each(['sealed', 'clear'] as const)('over TCP, %s, a call', (kind) => {
  it('is answered at once, in large parts, and over time', async () => {
    const { start } = cluster(kind);
    const [a, b] = [await start(1), await start(2)];
    const tick = new EventTarget();
    b.rpc.serve('echo', (body) => [body]);
    b.rpc.serve('ticks', async function* () {
      for (let count = 0; count < 3; count++) {
        const next = once(tick, 'tick');
        yield text(`tick ${count}`);
        await next;
      }
    });
    expect(texts(await a.rpc.call(b.id, 'echo', text('hi')))).toEqual(['hi']);
    const large = new Uint8Array(1024 * 1024).map((_, at) => at * 31);
    const [back] = await a.rpc.call(b.id, 'echo', large);
    expect(Buffer.compare(back!, large)).toBe(0);
    const got: string[] = [];
    for await (const part of a.rpc.stream(b.id, 'ticks', text(''))) {
      got.push(...texts([part]));
      tick.dispatchEvent(new Event('tick'));
    }
    expect(got).toEqual(['tick 0', 'tick 1', 'tick 2']);
    expect([...a.bugs, ...b.bugs]).toEqual([]);
  });

  it('waits for who reads slowly, and loses nothing', async () => {
    const { start } = cluster(kind);
    const [a, b] = [await start(1), await start(2)];
    let made = 0;
    b.rpc.serve('flood', function* () {
      for (; made < 2000; made++) {
        const part = new Uint8Array(32 * 1024);
        part[0] = made;
        yield part;
      }
    });
    const stream = a.rpc.stream(b.id, 'flood', text(''), { maxAnswerBytes: 100 * 1024 * 1024 });
    await stream.next();
    // Until nothing more is made: the sockets' own buffers are full.
    let before = -1;
    while (made !== before) {
      before = made;
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(made).toBeLessThan(1000);
    let count = 1;
    for await (const part of stream) {
      expect(part[0]).toBe(count++ % 256);
    }
    expect(count).toBe(2000);
  });

  it('tells the handler when the caller leaves, and the caller when the node dies', async () => {
    const { start } = cluster(kind);
    const [a, b] = [await start(1), await start(2)];
    let gone = () => {};
    const left = new Promise<void>((resolve) => {
      gone = resolve;
    });
    b.rpc.serve('endless', async function* (_body, _caller, signal) {
      const aborted = once(signal, 'abort');
      yield text('first');
      await aborted;
      gone();
    });
    for await (const _ of a.rpc.stream(b.id, 'endless', text(''))) break;
    await left;
    const stream = a.rpc.stream(b.id, 'endless', text(''));
    await stream.next();
    await b.stop();
    await expect(stream.next()).rejects.toMatchObject({ code: 'RPC_UNREACHABLE' });
    await expect(a.rpc.call(b.id, 'endless', text(''))).rejects.toMatchObject({ code: 'RPC_UNREACHABLE' });
  });

  it('ends when its time is up', async () => {
    const { start } = cluster(kind);
    const [a, b] = [await start(1), await start(2)];
    b.rpc.serve('sleep', async (_body, _caller, signal) => {
      await once(signal, 'abort');
      return [];
    });
    const call = a.rpc.call(b.id, 'sleep', text(''), { timeoutMs: 50 });
    await expect(call).rejects.toThrow(/no answer within 50 ms/);
    const abort = new AbortController();
    const other = a.rpc.call(b.id, 'sleep', text(''), { signal: abort.signal });
    setImmediate(() => abort.abort());
    await expect(other).rejects.toMatchObject({ code: 'RPC_CANCELLED' });
  });

  it('does not keep gossip out, however many are open', async () => {
    const { start } = cluster(kind);
    const b = await start(2);
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let open = 0;
    b.rpc.serve('wait', async () => {
      open++;
      await released;
      return [];
    });
    // All from one address, of which sixteen streams at a time are read.
    const callers = await Promise.all([3, 4, 5].map(start));
    const calls: Promise<unknown>[] = [];
    for (const caller of callers) {
      for (let i = 0; i < 10; i++) {
        calls.push(caller.rpc.call(b.id, 'wait', text('')));
        const expected = calls.length;
        while (open < expected) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const answer: string[] = [];
    const error = await new Promise((resolve) => {
      const to = { gossip: b.gossip, session: b.session };
      callers[0]!.link.exchange(
        to,
        [text('sync')],
        (one) => answer.push(Buffer.from(one).toString()),
        resolve,
      );
    });
    expect(error).toBeUndefined();
    expect(answer).toEqual(['gossip']);
    release();
    await Promise.all(calls);
  });
});

it('a call to an agent of 0.1.0 is not supported', async () => {
  const { start, directory } = cluster('sealed');
  const a = await start(1);
  // What it answers to a frame of a kind that it does not know, framed as it frames it.
  const old = createServer((socket) => {
    socket.once('data', () => socket.end(Buffer.concat([Buffer.of(0, 0, 0, 21), refusalFrame('invalid')])));
    socket.on('error', () => {});
  });
  old.listen(0, '127.0.0.1');
  await once(old, 'listening');
  const { port } = old.address() as { port: number };
  const { id, publicKey } = identityFromSeed(new Uint8Array(32).fill(9));
  const gossip = { address: loopback, port };
  directory.set(id, { id, name: 'old', publicKey, session: newSession(), gossip, status: 'alive' });
  await expect(a.rpc.call(id, 'targets', text(''))).rejects.toMatchObject({ code: 'RPC_UNSUPPORTED' });
  await expect(a.rpc.call(id, 'targets', text(''))).rejects.toThrow(WarrenError);
  await new Promise((resolve) => old.close(resolve));
});

it('garbage on the socket is answered or ended, and calls go on', async () => {
  const { start } = cluster('sealed');
  const [a, b] = [await start(1), await start(2)];
  b.rpc.serve('echo', (body) => [body]);
  for (let length = 1; length < 60; length += 7) {
    const socket = new Socket();
    socket.on('error', () => {});
    socket.connect({ host: '127.0.0.1', port: b.gossip.port });
    const frame = Buffer.alloc(length, length);
    frame[0] = 0x57;
    const header = Buffer.alloc(4);
    header.writeUInt32BE(length);
    socket.end(Buffer.concat([header, frame]));
    socket.resume();
    await once(socket, 'close');
  }
  expect(texts(await a.rpc.call(b.id, 'echo', text('hi')))).toEqual(['hi']);
  expect(b.bugs).toEqual([]);
});
