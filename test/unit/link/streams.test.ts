/** Streams that are answered over time: by the link, on the virtual network, and by the port's two transports. */

import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../src/ip/address.ts';
import type { Endpoint } from '../../../src/ip/endpoint.ts';
import { GossipCounters } from '../../../src/link/counters.ts';
import { Deadline } from '../../../src/link/deadline.ts';
import { FRAMES_PER_STREAM, FrameOrder } from '../../../src/link/frame-order.ts';
import { generateClusterKey, parseKeyRing } from '../../../src/link/key-ring.ts';
import { type Answer, Link, PeerRefusedError } from '../../../src/link/link.ts';
import { pack } from '../../../src/link/packing.ts';
import { type FrameHeader, receiverOf, refusalFrame, Sealer } from '../../../src/link/seal.ts';
import { Sessions } from '../../../src/link/sessions.ts';
import {
  type InboundStream,
  QUEUE_BYTES,
  type Responder,
  type Transport,
} from '../../../src/link/transport.ts';
import { UdpTcpTransport } from '../../../src/link/udp-tcp-transport.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { endpointOf } from '../../../src/simulate/cluster.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { VirtualNetwork } from '../../../src/simulate/virtual-network.ts';
import { RecordedAnswer } from '../../helpers/recorded-answer.ts';

const keyRing = parseKeyRing(generateClusterKey(), 'test');
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const minute = { idleMs: 60_000, totalMs: 60_000 };
const limits = { deadlines: minute, limitBytes: 1024 * 1024 };

async function twoLinks() {
  const clock = new VirtualClock();
  const network = new VirtualNetwork(clock, seededRandom(1));
  const bugs: unknown[] = [];
  const open = async (number: number) => {
    const counters = new GossipCounters();
    const host = network.host(endpointOf(number));
    const session = `0000000${number + 1}`.repeat(2);
    const link = new Link({
      transport: host.transport(),
      sealer: new Sealer('test', keyRing),
      sessions: new Sessions({ clock, id: session }),
      counters,
      streamTimeoutMs: 1000,
      memberOf: () => undefined,
      onBug: (error) => bugs.push(error),
    });
    const requests: string[] = [];
    await link.open({
      datagram: () => {},
      stream: () => ({
        message: (message) => requests.push(Buffer.from(message).toString()),
        end: () => [bytesOf('answered')],
      }),
    });
    return { link, counters, host, requests, peer: { gossip: host.endpoint, session } };
  };
  const [a, b] = [await open(0), await open(1)];
  return { clock, network, bugs, a, b };
}

/** What b is asked, and the way to answer it. */
function servedCalls(link: Link) {
  const calls: {
    messages: string[];
    isComplete: boolean;
    isGone: boolean;
    drained: number;
    answer: Answer;
  }[] = [];
  link.serveCalls((_from, answer) => {
    const call = { messages: [] as string[], isComplete: false, isGone: false, drained: 0, answer };
    calls.push(call);
    return {
      message: (message) => call.messages.push(Buffer.from(message).toString()),
      end: () => {
        call.isComplete = true;
      },
      drained: () => {
        call.drained++;
      },
      closed: () => {
        call.isGone = true;
      },
    };
  });
  return calls;
}

/** Asks, and keeps what comes. */
function askFor(link: Link, peer: { gossip: Endpoint; session: string }, wanted = limits) {
  const heard = { messages: [] as string[], end: undefined as Error | 'well' | undefined };
  const exchange = link.call(peer, [bytesOf('how'), bytesOf('are you?')], wanted, {
    message: (message) => heard.messages.push(Buffer.from(message).toString()),
    done: (error) => {
      heard.end = error ?? 'well';
    },
  });
  return { heard, exchange };
}

describe('a call over the link', () => {
  it('is answered now, later, and ended when there is no more to say', async () => {
    const { clock, a, b, bugs } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard } = askFor(a.link, b.peer);
    clock.advance(10);
    expect(calls).toMatchObject([{ messages: ['how', 'are you?'], isComplete: true, isGone: false }]);
    const { answer } = calls[0]!;
    answer.keep(minute);
    answer.write([bytesOf('well')]);
    clock.advance(10);
    expect(heard).toEqual({ messages: ['well'], end: undefined });
    clock.advance(20_000);
    answer.write([bytesOf('and'), bytesOf('you')]);
    clock.advance(10);
    expect(heard.messages).toEqual(['well', 'and', 'you']);
    answer.end([bytesOf('?')]);
    clock.advance(10);
    expect(heard).toEqual({ messages: ['well', 'and', 'you', '?'], end: 'well' });
    // What is said after the end reaches nobody.
    answer.write([bytesOf('!')]);
    answer.end([bytesOf('!')]);
    clock.advance(10);
    expect(heard.messages).toHaveLength(4);
    expect(calls[0]!.isGone).toBe(false);
    expect(bugs).toEqual([]);
  });

  it('is refused as by an agent that knows no calls where nobody serves them', async () => {
    const { clock, a, b } = await twoLinks();
    const { heard } = askFor(a.link, b.peer);
    clock.advance(10);
    expect(heard.end).toMatchObject({ code: 'invalid' });
  });

  it('ends with an error when it is not answered in time, and the other side hears that the caller has gone', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard } = askFor(a.link, b.peer, { ...limits, deadlines: { idleMs: 500, totalMs: 2000 } });
    clock.advance(10);
    calls[0]!.answer.keep(minute);
    for (let part = 0; part < 4; part++) {
      calls[0]!.answer.write([bytesOf('still here')]);
      clock.advance(450);
    }
    expect(heard.end).toBeUndefined();
    expect(calls[0]!.isGone).toBe(false);
    calls[0]!.answer.write([bytesOf('too late')]);
    clock.advance(450);
    expect(heard.end).toMatchObject({ code: 'ETIMEDOUT' });
    expect(calls[0]!.isGone).toBe(true);
    const quiet = askFor(a.link, b.peer, { ...limits, deadlines: { idleMs: 500, totalMs: 2000 } });
    clock.advance(510);
    expect(quiet.heard.end).toMatchObject({ code: 'ETIMEDOUT' });
  });

  it('may be given up by the caller', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const early = askFor(a.link, b.peer);
    early.exchange.cancel();
    const { heard, exchange } = askFor(a.link, b.peer);
    clock.advance(10);
    exchange.cancel();
    clock.advance(10);
    expect(calls.map(({ isGone }) => isGone)).toEqual([true, true]);
    expect([early.heard.end, heard.end]).toEqual([undefined, undefined]);
  });

  it('is over for the answering side when its time there is up', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard } = askFor(a.link, b.peer);
    clock.advance(10);
    calls[0]!.answer.keep({ idleMs: 1000, totalMs: 1000 });
    clock.advance(1100);
    expect(calls[0]!.isGone).toBe(true);
    expect(heard.end).toMatchObject({ code: 'ECONNRESET' });
  });

  it('with an answer over its limit is given up', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard } = askFor(a.link, b.peer, { ...limits, limitBytes: 1000 });
    clock.advance(10);
    calls[0]!.answer.write([new Uint8Array(600)]);
    calls[0]!.answer.write([new Uint8Array(600)]);
    clock.advance(10);
    expect(heard.messages).toHaveLength(1);
    expect(heard.end).toBeInstanceOf(Error);
    expect(a.counters.get('refusedStream')).toBe(1);
  });

  it('of another run is told which is the right one, and a request is asked again by itself', async () => {
    const { clock, a, b } = await twoLinks();
    servedCalls(b.link);
    const earlier = { ...b.peer, session: '0000ffff'.repeat(2) };
    const { heard } = askFor(a.link, earlier);
    const results: (Error | undefined)[] = [];
    a.link.exchange(
      earlier,
      [bytesOf('sync')],
      () => {},
      (error) => results.push(error),
    );
    clock.advance(20);
    expect(heard.end).toBeInstanceOf(PeerRefusedError);
    expect(heard.end).toMatchObject({ code: 'session', session: b.peer.session });
    expect(results).toEqual([undefined]);
    expect(b.requests).toEqual(['sync']);
  });

  it('makes who answers wait for who reads', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard, exchange } = askFor(a.link, b.peer, { ...limits, limitBytes: 16 * QUEUE_BYTES });
    clock.advance(10);
    const [call] = calls;
    call!.answer.keep(minute);
    exchange.pause();
    const part = new Uint8Array(32 * 1024);
    let written = 1;
    while (call!.answer.write([part])) written++;
    expect(written * part.length).toBeGreaterThanOrEqual(QUEUE_BYTES - part.length);
    expect(written * part.length).toBeLessThan(QUEUE_BYTES + part.length);
    clock.advance(1000);
    expect(heard.messages).toHaveLength(0);
    expect(call!.drained).toBe(0);
    exchange.resume();
    clock.advance(10);
    expect(heard.messages).toHaveLength(written);
    expect(call!.drained).toBe(1);
    expect(call!.answer.write([part])).toBe(true);
    call!.answer.end([]);
    clock.advance(10);
    expect(heard.messages).toHaveLength(written + 1);
    expect(heard.end).toBe('well');
  });

  it('is lost by a writer that does not wait', async () => {
    const { clock, a, b } = await twoLinks();
    const calls = servedCalls(b.link);
    const { heard, exchange } = askFor(a.link, b.peer, { ...limits, limitBytes: 16 * QUEUE_BYTES });
    clock.advance(10);
    exchange.pause();
    while (calls[0]!.answer.write([new Uint8Array(32 * 1024)]));
    calls[0]!.answer.write([new Uint8Array(1)]);
    expect(calls[0]!.isGone).toBe(true);
    exchange.resume();
    clock.advance(10);
    expect(heard.end).toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('the first frame of a stream', () => {
  const session = '0a0a0a0a0b0b0b0b';

  async function node() {
    const { a } = await twoLinks();
    const sealer = new Sealer('test', keyRing);
    const deliver = (changes: Partial<FrameHeader>) => {
      const header = {
        kind: 'request',
        last: true,
        session,
        receiver: receiverOf(a.peer.session),
        number: 0,
      } as const;
      const answer = new RecordedAnswer();
      a.host
        .handlers!.accept(endpointOf(7), answer)
        .frame(sealer.seal({ ...header, ...changes }, pack([bytesOf('x')])));
      return Buffer.concat(answer.frames);
    };
    return { a, deliver };
  }

  it('must be a first one, and where it is not, no number counts as seen', async () => {
    const { a, deliver } = await node();
    // As recorded from the middle of streams: none is a stream of its own.
    for (let index = 1; index < 200; index++) {
      const number = 5 * FRAMES_PER_STREAM + index;
      expect(deliver({ number })).toEqual(refusalFrame('invalid'));
    }
    for (const kind of ['datagram', 'response', 'answer'] as const) {
      expect(deliver({ number: 900 * FRAMES_PER_STREAM, kind })).toEqual(refusalFrame('invalid'));
    }
    expect(a.counters.get('refusedReplay')).toBe(0);
    // Every stream of that session up to there is still taken, once.
    for (let stream = 1; stream <= 6; stream++) {
      deliver({ number: stream * FRAMES_PER_STREAM });
      expect(a.requests).toHaveLength(stream);
      expect(deliver({ number: stream * FRAMES_PER_STREAM })).toEqual(refusalFrame('invalid'));
    }
    expect(a.counters.get('refusedReplay')).toBe(6);
  });

  it('of a request or a call counts for its own kind alone', async () => {
    const { a, deliver } = await node();
    const calls = servedCalls(a.link);
    deliver({ number: FRAMES_PER_STREAM });
    deliver({ number: FRAMES_PER_STREAM, kind: 'call' });
    expect([a.requests.length, calls.length]).toEqual([1, 1]);
    expect(deliver({ number: FRAMES_PER_STREAM, kind: 'call' })).toEqual(refusalFrame('replayed'));
  });
});

it("a stream's frames never reach the numbers of the next stream", () => {
  const header = { kind: 'answer', last: false, session: '0a0a0a0a0b0b0b0b', receiver: 1 } as const;
  const order = new FrameOrder('answer');
  for (let index = 0; index < FRAMES_PER_STREAM; index++) {
    if (!order.isNext({ ...header, number: FRAMES_PER_STREAM + index })) throw new Error(`not ${index}`);
  }
  expect(order.isNext({ ...header, number: 2 * FRAMES_PER_STREAM })).toBe(false);
});

describe('a deadline', () => {
  it('comes after idle time, which begins anew when it is touched, and in the end in any case', () => {
    const clock = new VirtualClock();
    let endedAtMs = 0;
    const start = () => {
      const startMs = clock.now();
      endedAtMs = 0;
      return new Deadline(clock, { idleMs: 100, totalMs: 1000 }, () => {
        endedAtMs = clock.now() - startMs;
      });
    };
    start();
    clock.advance(5000);
    expect(endedAtMs).toBe(100);
    const touched = start();
    for (let step = 0; step < 100; step++) {
      clock.advance(50);
      touched.touch();
    }
    expect(endedAtMs).toBe(1000);
    const held = start();
    held.hold(true);
    clock.advance(500);
    expect(endedAtMs).toBe(0);
    held.hold(false);
    clock.advance(500);
    expect(endedAtMs).toBe(600);
    const cancelled = start();
    cancelled.cancel();
    clock.advance(5000);
    expect(endedAtMs).toBe(0);
  });
});

describe('a stream over TCP', () => {
  const loopback = parseAddress('127.0.0.1');

  async function pair(accept: (responder: Responder) => InboundStream) {
    const open = async (handler: (responder: Responder) => InboundStream) => {
      const transport = new UdpTcpTransport({ bind: { address: loopback, port: 0 }, logger: silentLogger });
      await transport.open({ datagram: () => {}, accept: (_from, responder) => handler(responder) });
      return transport;
    };
    const server = await open(accept);
    const client = await open(() => ({ frame: () => {}, drained: () => {}, closed: () => {} }));
    const close = () => Promise.all([server.close(), client.close()]);
    return { client, to: server.local!, close, server };
  }

  /** Resolves to the error that it ends with. */
  function read(
    client: Transport,
    to: Endpoint,
    frame: (bytes: Uint8Array) => boolean,
    deadlines = { idleMs: 10_000, totalMs: 10_000 },
  ): Promise<Error | undefined> {
    return new Promise((resolve) => {
      client.exchange(to, [bytesOf('question')], deadlines, { frame, closed: resolve });
    });
  }

  it('is answered at once and later, and its writer waits for its reader', async () => {
    let drained = 0;
    let writes = 0;
    const { client, to, close } = await pair((responder) => {
      const more = () => {
        while (writes < 300) {
          writes++;
          if (!responder.write([new Uint8Array(32 * 1024).fill(writes)])) return;
        }
        responder.end([bytesOf('end')]);
      };
      return {
        frame: () => {
          responder.keep(minute);
          more();
        },
        drained: () => {
          drained++;
          more();
        },
        closed: () => {},
      };
    });
    let frames = 0;
    const error = await read(client, to, (bytes) => {
      frames++;
      if (frames <= 300) expect(bytes[0]).toBe(frames % 256);
      return Buffer.from(bytes).toString() === 'end';
    });
    expect(error).toBeUndefined();
    expect(frames).toBe(301);
    expect(drained).toBeGreaterThan(0);
    await close();
  });

  it('ends for both when the writer does not wait, or takes nothing for its idle time', async () => {
    let closed = () => {};
    const isClosed = () =>
      new Promise<void>((resolve) => {
        closed = resolve;
      });
    let flood = true;
    const { client, to, close } = await pair((responder) => ({
      frame: () => {
        if (flood) {
          responder.keep(minute);
          // Until the kernel's buffers are full, and this side's; and once more.
          while (responder.write([new Uint8Array(32 * 1024)]));
          responder.write([new Uint8Array(1)]);
        } else {
          responder.keep({ idleMs: 50, totalMs: 60_000 });
          while (responder.write([new Uint8Array(32 * 1024)]));
        }
      },
      drained: () => {
        while (responder.write([new Uint8Array(32 * 1024)]));
      },
      closed: () => closed(),
    }));
    let gone = isClosed();
    expect(await read(client, to, () => false)).toBeInstanceOf(Error);
    await gone;
    flood = false;
    gone = isClosed();
    const exchange = client.exchange(to, [bytesOf('question')], minute, {
      frame: () => false,
      closed: () => {},
    });
    exchange.pause();
    await gone;
    exchange.cancel();
    await close();
  });

  it('hears of the other side that goes, and of time that is up', async () => {
    let closed = () => {};
    const gone = () =>
      new Promise<void>((resolve) => {
        closed = resolve;
      });
    let keeps: { idleMs: number; totalMs: number } | undefined;
    const { client, to, close, server } = await pair((responder) => ({
      frame: () => {
        responder.keep(keeps ?? minute);
        responder.write([bytesOf('one')]);
      },
      drained: () => {},
      closed: () => closed(),
    }));
    let left = gone();
    await new Promise<void>((resolve) => {
      const exchange = client.exchange(to, [bytesOf('question')], minute, {
        frame: () => {
          exchange.cancel();
          resolve();
          return false;
        },
        closed: () => {},
      });
    });
    await left;
    expect(await read(client, to, () => false, { idleMs: 30, totalMs: 60_000 })).toMatchObject({
      code: 'ETIMEDOUT',
    });
    keeps = { idleMs: 60_000, totalMs: 30 };
    left = gone();
    expect(await read(client, to, () => false)).toMatchObject({ code: 'ECONNRESET' });
    await left;
    keeps = minute;
    left = gone();
    const dying = read(client, to, () => {
      void server.close();
      return false;
    });
    expect(await dying).toMatchObject({ code: 'ECONNRESET' });
    await left;
    await close();
  });
});
