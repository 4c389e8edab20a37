/** Real sockets on loopback: the responder's own, and those to the host's resolvers. */
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { decode } from 'dns-packet';
import { afterEach, describe, expect, it } from 'vitest';
import type { ExchangeRequest } from '../../../src/dns/forwarder.ts';
import { framed, type Listener, listenOnSockets, unframed } from '../../../src/dns/listener.ts';
import { exchangeOverSockets } from '../../../src/dns/upstream-sockets.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { DnsBench, question, reply } from '../../helpers/dns-responder.ts';

const closing: (() => Promise<unknown> | unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A port that is free for UDP and TCP. */
async function freePort(host: string): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe.each(['127.0.0.1', '::1'])('a listener on %s', (host) => {
  const isV6 = host.includes(':');

  /** Whoever asks is a pod of the bench's, for it must be somebody. */
  async function listening(
    mayConnect = true,
    bench = new DnsBench(),
  ): Promise<{ port: number; listener: Listener; bench: DnsBench }> {
    const port = await freePort(host);
    const from = parseAddress('10.42.1.3');
    const listener = await listenOnSockets(parseAddress(host), port, {
      answer: (bytes, { via }) => bench.responder.answer(bytes, { from, via }),
      mayConnect: () => mayConnect,
    });
    closing.push(() => listener.close());
    return { port, listener, bench };
  }

  it('answers a stub resolver, over TCP what has no room', async () => {
    const { port, bench } = await listening();
    for (let i = 2; i < 202; i++) bench.cluster.attach({ name: 'many', node: 2, host: i, network: 'app' });
    const resolver = new Resolver({ timeout: 2000 });
    resolver.setServers([isV6 ? `[${host}]:${port}` : `${host}:${port}`]);
    expect(await resolver.resolve4('node-2.warren')).toEqual(['10.42.2.1']);
    expect(await resolver.reverse('10.42.2.1')).toEqual(['node-2.warren']);
    expect(await resolver.resolve4('many.app.warren')).toHaveLength(200);
    await expect(resolver.resolve4('none.warren')).rejects.toMatchObject({ code: 'ENOTFOUND' });
  });

  it('takes a port or leaves it', async () => {
    const { port, listener } = await listening();
    const again = () =>
      listenOnSockets(parseAddress(host), port, { answer: async () => undefined, mayConnect: () => true });
    await expect(again()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await listener.close();
    closing.pop();
    const server = createServer().listen(port, host);
    await once(server, 'listening');
    await expect(again()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    server.close();
    await once(server, 'close');
    await (await again()).close();
  });

  it('answers questions of one connection as they come, in pieces too, and after its end', async () => {
    const { port } = await listening();
    const socket = connect(port, host);
    const both = Buffer.concat([framed(question('node-1.warren')), framed(question('node-2.warren'))]);
    socket.write(both.subarray(0, 5));
    await once(socket, 'connect');
    await new Promise((resolve) => setImmediate(resolve));
    socket.end(both.subarray(5));
    let received = Buffer.alloc(0);
    for await (const bytes of socket) received = Buffer.concat([received, bytes as Buffer]);
    const first = unframed(received)!;
    const second = unframed(received.subarray(2 + first.length))!;
    const names = [first, second].map((bytes) => decode(Buffer.from(bytes)).answers![0]!.name);
    expect(names.sort()).toEqual(['node-1.warren', 'node-2.warren']);
  });

  it('cuts a connection that sends what is no question, and has so many of one', async () => {
    const { port } = await listening();
    const socket = connect(port, host);
    socket.on('error', () => {});
    socket.write(Buffer.alloc(5000, 0xff));
    await once(socket, 'close');
    const many = Array.from({ length: 20 }, () => connect(port, host));
    closing.push(() => many.map((one) => one.destroy()));
    let closed = 0;
    for (const one of many) one.on('error', () => {}).on('close', () => closed++);
    await expect.poll(() => closed).toBe(4);
  });

  it('has no connections for strangers', async () => {
    const { port } = await listening(false);
    const socket = connect(port, host);
    socket.on('error', () => {});
    await once(socket, 'close');
  });
});

describe('a question to a resolver', () => {
  const request = (via: 'udp' | 'tcp', more: Partial<ExchangeRequest> = {}): ExchangeRequest => ({
    ...{ resolver: '127.0.0.1', via, query: question('example.com'), timeoutMs: 2000 },
    ...{ isAnswer: (bytes) => bytes[0] === 18, signal: new AbortController().signal },
    ...more,
  });
  const answer = reply(request('udp'), {});

  it('over UDP takes the right answer, and none from elsewhere', async () => {
    const server = createSocket('udp4');
    const stranger = createSocket('udp4');
    closing.push(
      () => server.close(),
      () => stranger.close(),
    );
    await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
    server.on('message', (_, { port }) => {
      stranger.send(answer, port, '127.0.0.1', () => {
        server.send(Buffer.from([1, 2, 3]), port, '127.0.0.1', () => server.send(answer, port, '127.0.0.1'));
      });
    });
    const { port } = server.address();
    expect(Buffer.from(await exchangeOverSockets(port)(request('udp')))).toEqual(answer);
  });

  it('fails at once where nobody listens, and when the agent stops', async () => {
    const port = await freePort('127.0.0.1');
    const exchange = exchangeOverSockets(port);
    await expect(exchange(request('udp'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(exchange(request('tcp'))).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const silent = createSocket('udp4');
    closing.push(() => silent.close());
    await new Promise<void>((resolve) => silent.bind(port, '127.0.0.1', resolve));
    const abort = new AbortController();
    const asking = exchange(request('udp', { signal: abort.signal }));
    abort.abort();
    await expect(asking).rejects.toThrow('stops');
    await expect(exchange(request('udp', { timeoutMs: 20 }))).rejects.toThrow('in time');
    await expect(exchange(request('udp', { signal: abort.signal }))).rejects.toThrow('stops');
  });

  it('over TCP takes an answer in pieces, and no other', async () => {
    let isRight = true;
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => {
        const bytes = isRight ? framed(answer) : framed(Buffer.from('no'));
        socket.write(bytes.subarray(0, 3));
        setImmediate(() => socket.end(bytes.subarray(3)));
      });
    }).listen(0, '127.0.0.1');
    closing.push(() => server.close());
    await once(server, 'listening');
    const exchange = exchangeOverSockets((server.address() as AddressInfo).port);
    expect(Buffer.from(await exchange(request('tcp')))).toEqual(answer);
    isRight = false;
    await expect(exchange(request('tcp'))).rejects.toThrow('something else');
  });
});
