/** Calls between nodes on the virtual network, in virtual time. */
import { beforeEach, describe, expect, it } from 'vitest';
import { WarrenError } from '../../../src/errors.ts';
import { DEFAULT_ANSWER_BYTES, MAX_BODY_BYTES, MAX_PART_BYTES } from '../../../src/rpc/limits.ts';
import type { RpcHandler } from '../../../src/rpc/rpc.ts';
import { inTime } from '../../../src/simulate/in-time.ts';
import { CallHarness, type CallingNode, text, texts } from './call-harness.ts';

/** The error's code and text. */
async function failure(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof WarrenError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no failure';
}

const echo: RpcHandler = (body, caller) => [text(`${caller.name} said`), body];

describe.each(['sealed', 'clear'] as const)('in a %s cluster, a call', (kind) => {
  let cluster: CallHarness;
  let a: CallingNode;
  let b: CallingNode;

  beforeEach(async () => {
    cluster = new CallHarness(kind);
    a = await cluster.start(0);
    b = await cluster.start(1);
  });

  const ask = (method: string, body: Uint8Array | string = '', options = {}) =>
    cluster.inTime(a.rpc.call(b.id, method, typeof body === 'string' ? text(body) : body, options));

  it('is answered with its parts, and the handler knows who asked', async () => {
    b.rpc.serve('echo', echo);
    expect(texts(await ask('echo', 'hello'))).toEqual(['node-0 said', 'hello']);
    expect(texts(await ask('echo', ''))).toEqual(['node-0 said', '']);
    expect([...a.bugs, ...b.bugs]).toEqual([]);
  });

  it('may be of the node itself', async () => {
    a.rpc.serve('echo', echo);
    const parts = await cluster.inTime(a.rpc.call(a.id, 'echo', text('me')));
    expect(texts(parts)).toEqual(['node-0 said', 'me']);
  });

  it('carries the largest body and parts over many frames, byte for byte', async () => {
    const body = new Uint8Array(MAX_BODY_BYTES).map((_, at) => (at * 7919) >> 5);
    b.rpc.serve('double', (received) => [received, received.subarray(1)]);
    const [first, second, ...rest] = await ask('double', body);
    expect(Buffer.compare(first!, body)).toBe(0);
    expect(Buffer.compare(second!, body.subarray(1))).toBe(0);
    expect(rest).toEqual([]);
  });

  it('is streamed: parts come while the handler goes on', async () => {
    let next = () => {};
    b.rpc.serve('news', async function* () {
      for (const part of ['one', 'two', 'three']) {
        yield text(part);
        await new Promise<void>((resolve) => {
          next = resolve;
        });
      }
    });
    const stream = a.rpc.stream(b.id, 'news', text(''));
    const got: string[] = [];
    for (const expected of ['one', 'two', 'three']) {
      const { value } = await cluster.inTime(stream.next());
      got.push(...texts([value]));
      expect(got.at(-1)).toBe(expected);
      next();
    }
    expect(await cluster.inTime(stream.next())).toEqual({ done: true, value: undefined });
  });

  it('rejects with what the handler threw, at once or in between', async () => {
    const error = new WarrenError('POD_UNKNOWN', 'there is no pod web', { hint: 'See warren pods.' });
    b.rpc.serve('now', () => {
      throw error;
    });
    b.rpc.serve('later', async function* () {
      yield text('a part');
      throw error;
    });
    for (const method of ['now', 'later']) {
      await expect(ask(method)).rejects.toMatchObject({
        code: 'POD_UNKNOWN',
        message: 'there is no pod web',
        hint: 'See warren pods.',
      });
    }
    expect(b.bugs).toEqual([]);
  });

  it('learns of a bug no more than that it was one, and the bug is told of', async () => {
    const bug = new TypeError('secret is undefined');
    b.rpc.serve('broken', () => {
      throw bug;
    });
    b.rpc.serve('large', () => [new Uint8Array(MAX_PART_BYTES + 1)]);
    const told = await failure(ask('broken'));
    expect(told).toMatch(/^RPC_INTERNAL: a bug in warren/);
    expect(told).not.toContain('secret');
    expect(await failure(ask('large'))).toMatch(/^RPC_INTERNAL/);
    expect(b.bugs).toEqual([bug, expect.any(Error)]);
  });

  it('of a method that is not there is not supported', async () => {
    expect(await failure(ask('nothing'))).toMatch(/^RPC_UNSUPPORTED: .*nothing/);
  });

  it('of nobody, of a node that is gone, or with too large a body is not even sent', async () => {
    const before = a.host.sentStreamBytes;
    expect(await failure(a.rpc.call('0'.repeat(32), 'echo', text('')))).toMatch(/^RPC_UNREACHABLE/);
    expect(await failure(ask('echo', new Uint8Array(MAX_BODY_BYTES + 1)))).toMatch(/^RPC_REFUSED/);
    cluster.know({ ...cluster.directory.get(b.id)!, status: 'dead' });
    expect(await failure(ask('echo'))).toBe('RPC_UNREACHABLE: cannot ask node-1: it is dead');
    expect(a.host.sentStreamBytes).toBe(before);
  });

  it('of a node that does not answer ends when its time is up, and so does the handler', async () => {
    let aborted = false;
    b.rpc.serve('sleep', async (_body, _caller, signal) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
      aborted = true;
      return [];
    });
    const startMs = cluster.clock.now();
    expect(await failure(ask('sleep', '', { timeoutMs: 3000 }))).toMatch(/^RPC_UNREACHABLE: .*3000 ms/);
    expect(cluster.clock.now() - startMs).toBeLessThan(3010);
    await cluster.pass(10);
    expect(aborted).toBe(true);
    cluster.network.partition([a.host], [b.host]);
    expect(await failure(ask('sleep'))).toMatch(/^RPC_UNREACHABLE: .*10000 ms/);
  });

  it('may take as long as the caller says', async () => {
    b.rpc.serve('slow', async () => {
      await new Promise<void>((resolve) => cluster.clock.after(50_000, resolve));
      return [text('done')];
    });
    const startMs = cluster.clock.now();
    const slow = a.rpc.call(b.id, 'slow', text(''), { timeoutMs: 100_000 });
    expect(texts(await inTime(cluster.clock, slow, { stepMs: 50 }))).toEqual(['done']);
    expect(cluster.clock.now() - startMs).toBeGreaterThan(50_000);
  });

  it('that hears nothing for its idle time ends', async () => {
    b.rpc.serve('stall', async function* (_body, _caller, signal) {
      yield text('one');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    });
    const startMs = cluster.clock.now();
    const work = ask('stall', '', { timeoutMs: 600_000, idleTimeoutMs: 2000 });
    expect(await failure(work)).toMatch(/^RPC_UNREACHABLE/);
    expect(cluster.clock.now() - startMs).toBeLessThan(2100);
  });

  it('ends when the target dies in the middle: told so by its host, or by time', async () => {
    b.rpc.serve('stall', async function* (_body, _caller, signal) {
      yield text('one');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    });
    const stream = a.rpc.stream(b.id, 'stall', text(''));
    await cluster.inTime(stream.next());
    await b.stop();
    const startMs = cluster.clock.now();
    expect(await failure(cluster.inTime(stream.next()))).toMatch(/^RPC_UNREACHABLE/);
    expect(cluster.clock.now() - startMs).toBeLessThan(10);
    b = await cluster.start(1, 2);
    b.rpc.serve('stall', async function* (_body, _caller, signal) {
      yield text('one');
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    });
    const other = a.rpc.stream(b.id, 'stall', text(''));
    await cluster.inTime(other.next());
    b.host.isDown = true;
    expect(await failure(cluster.inTime(other.next()))).toMatch(/^RPC_UNREACHABLE: .*10000 ms/);
  });

  it('can be cancelled, by a signal or by leaving the loop, and the handler hears of it', async () => {
    const aborted: string[] = [];
    b.rpc.serve('endless', async function* (body, _caller, signal) {
      signal.addEventListener('abort', () => aborted.push(Buffer.from(body).toString()));
      for (;;) {
        yield text('tick');
        await new Promise<void>((resolve) => cluster.clock.after(5, resolve));
      }
    });
    const abort = new AbortController();
    const work = ask('endless', 'signal', { signal: abort.signal });
    cluster.clock.after(50, () => abort.abort());
    expect(await failure(work)).toMatch(/^RPC_CANCELLED/);
    const read = async () => {
      for await (const _ of a.rpc.stream(b.id, 'endless', text('loop'))) return;
    };
    await cluster.inTime(read());
    await cluster.pass(20);
    expect(aborted).toEqual(['signal', 'loop']);
    expect(await failure(a.rpc.call(b.id, 'endless', text(''), { signal: AbortSignal.abort() }))).toMatch(
      /^RPC_CANCELLED/,
    );
  });

  it('asks for parts no faster than they are taken', async () => {
    let made = 0;
    b.rpc.serve('flood', function* () {
      for (; made < 1000; made++) yield new Uint8Array(32 * 1024);
    });
    const stream = a.rpc.stream(b.id, 'flood', text(''), { maxAnswerBytes: 64 * 1024 * 1024 });
    await cluster.inTime(stream.next());
    await cluster.pass(200);
    // A quarter of a megabyte waits here, and as much on its way.
    expect(made).toBeLessThan(30);
    let taken = 1;
    const rest = (async () => {
      for await (const _ of stream) taken++;
    })();
    await cluster.inTime(rest);
    expect(taken).toBe(1000);
  });

  it('is refused when its answer is larger than asked for', async () => {
    b.rpc.serve('large', function* () {
      for (let at = 0; at < 6; at++) yield new Uint8Array(MAX_PART_BYTES);
    });
    expect(await failure(ask('large'))).toMatch(new RegExp(`^RPC_REFUSED: .*${DEFAULT_ANSWER_BYTES} bytes`));
    const parts = await ask('large', '', { maxAnswerBytes: 6 * MAX_PART_BYTES });
    expect(parts).toHaveLength(6);
    expect(await failure(ask('large', '', { maxAnswerBytes: 10 }))).toMatch(/more than 10 bytes/);
  });

  it('of one caller has at most sixteen others beside it, which another caller is not kept from', async () => {
    const open: (() => void)[] = [];
    b.rpc.serve('wait', async () => {
      await new Promise<void>((resolve) => open.push(resolve));
      return [text('done')];
    });
    const calls = Array.from({ length: 17 }, () => a.rpc.call(b.id, 'wait', text('')));
    const outcomes = Promise.allSettled(calls);
    await cluster.pass(20);
    expect(open).toHaveLength(16);
    const c = await cluster.start(2);
    const other = c.rpc.call(b.id, 'wait', text(''));
    await cluster.pass(20);
    expect(open).toHaveLength(17);
    for (const finish of open.splice(0)) finish();
    await cluster.inTime(other);
    const refused = (await cluster.inTime(outcomes)).filter(({ status }) => status === 'rejected');
    expect(refused).toMatchObject([{ reason: { code: 'RPC_REFUSED' } }]);
    // There is room again.
    const again = a.rpc.call(b.id, 'wait', text(''));
    await cluster.pass(20);
    for (const finish of open) finish();
    expect(texts(await cluster.inTime(again))).toEqual(['done']);
  });

  it('reaches the present run of a node that has restarted, of which the caller has not heard', async () => {
    const { session } = b;
    await b.stop();
    b = await cluster.start(1, 2);
    b.rpc.serve('echo', echo);
    expect(b.session).not.toBe(session);
    cluster.know({ ...cluster.directory.get(b.id)!, session });
    expect(texts(await ask('echo', 'hi'))).toEqual(['node-0 said', 'hi']);
  });

  it('waits a little for a node that has yet to hear of the caller, and not for ever', async () => {
    b.rpc.serve('echo', echo);
    cluster.unknown.set(1, new Set([a.id]));
    const work = a.rpc.call(b.id, 'echo', text('hi'));
    await cluster.pass(300);
    cluster.unknown.clear();
    expect(texts(await cluster.inTime(work))).toEqual(['node-0 said', 'hi']);
    cluster.unknown.set(1, new Set([a.id]));
    expect(await failure(ask('echo'))).toBe(
      'RPC_REFUSED: cannot ask node-1: it does not know this node, or not its present run',
    );
    const startMs = cluster.clock.now();
    expect(await failure(ask('echo', '', { timeoutMs: 200 }))).toMatch(/^RPC_UNREACHABLE: .*200 ms/);
    expect(cluster.clock.now() - startMs).toBeLessThan(210);
  });

  it('of an agent that stops, or to one, is unreachable', async () => {
    b.rpc.serve('sleep', (_body, _caller, signal) => {
      return new Promise((resolve) => signal.addEventListener('abort', () => resolve([])));
    });
    const work = failure(ask('sleep'));
    await cluster.pass(10);
    a.rpc.close();
    expect(await work).toMatch(/^RPC_UNREACHABLE: .*stops/);
    expect(await failure(ask('sleep'))).toMatch(/^RPC_UNREACHABLE/);
    const c = await cluster.start(2);
    const other = failure(cluster.inTime(c.rpc.call(b.id, 'sleep', text(''))));
    await cluster.pass(10);
    b.rpc.close();
    expect(await other).toMatch(/^RPC_UNREACHABLE: .*stops/);
  });

  it('cannot have two handlers, nor a name that is none', () => {
    b.rpc.serve('echo', echo);
    expect(() => b.rpc.serve('echo', echo)).toThrow(/has a handler/);
    for (const name of ['', 'a b', 'x'.repeat(65), 'é']) expect(() => b.rpc.serve(name, echo)).toThrow();
    expect(() => a.rpc.stream(b.id, 'a b', text(''))).toThrow();
  });
});
