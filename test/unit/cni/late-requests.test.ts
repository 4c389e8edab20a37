/**
 * A runtime is killed and leaves a plugin that it has started, which asks the agent after those of the runtime's next run; or
 * the plugin dies while the agent is at work for it. Over a real control socket, on a host in memory.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { callerOf, thisCaller } from '../../../src/cni/caller.ts';
import { LateRequests } from '../../../src/cni-server/late-requests.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { CniHost, NETNS } from '../../helpers/cni-host.ts';

let host: CniHost;
const KEY = { network: 'warren', containerId: 'c1', interfaceName: 'eth0' };
const OK = { exitCode: 0 };

beforeEach(async () => {
  host = new CniHost();
  await host.start();
});
afterEach(async () => {
  expect(host.memory.violations).toEqual([]);
  await host.remove();
});

/** Keeps the agent at work on what it attaches until `go` is called. */
function slowly(): { readonly begun: Promise<void>; readonly go: () => void } {
  const { network } = host.memory;
  const ensure = network.ensure.bind(network);
  let go!: () => void;
  let begin!: () => void;
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const gate = new Promise<void>((resolve) => (go = resolve));
  network.ensure = async (link) => {
    begin();
    await gate;
    return ensure(link);
  };
  return { begun, go };
}

/** The request of a plugin that can be killed. */
function ask(path: string, body: object): Socket {
  const text = JSON.stringify(body);
  const socket = connect({ path: host.socket });
  socket.on('error', () => {});
  socket.resume();
  socket.write(
    `POST /v1/cni/${path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return socket;
}

const askAdd = (more: object = {}) => ask('add', { ...KEY, netns: NETNS, queue: host.queue, ...more });

describe('a plugin of a runtime that was killed, which is late', () => {
  it('with its ADD attaches nothing after a DEL that was started later', async () => {
    expect(await host.call('DEL', { startedAt: 2000 })).toMatchObject(OK);
    const late = await host.call('ADD', { startedAt: 1999 });
    expect(late).toMatchObject({ exitCode: 1, json: { code: 11, msg: expect.stringMatching(/deleted/) } });
    expect(host.left()).toEqual([]);
    // The same id may be used again, even within the same hundredth of a second.
    expect(await host.call('ADD', { startedAt: 2000 })).toMatchObject(OK);
    expect(await host.call('DEL', { startedAt: 2100 })).toMatchObject(OK);
    expect(await host.call('ADD', { startedAt: 2050 })).toMatchObject({ exitCode: 1 });
    // Another attachment of the container, or another network, is another matter.
    expect(await host.call('ADD', { startedAt: 2050, env: { CNI_IFNAME: 'eth1' } })).toMatchObject(OK);
    expect(await host.call('ADD', { startedAt: 2050, network: 'other' })).toMatchObject(OK);
  });

  it('with its ADD attaches nothing while the DEL is at work', async () => {
    await host.call('ADD', { startedAt: 1000 });
    const { network } = host.memory;
    const remove = network.remove.bind(network);
    let late: Promise<unknown> = Promise.resolve();
    network.remove = async (link) => {
      late = host.call('ADD', { startedAt: 1500 });
      await late;
      return remove(link);
    };
    expect(await host.call('DEL', { startedAt: 2000 })).toMatchObject(OK);
    expect(await late).toMatchObject({ exitCode: 1, json: { code: 11 } });
    expect(host.left()).toEqual([]);
  });

  it('with its DEL takes no container away that was added since', async () => {
    await host.call('ADD', { startedAt: 1000 });
    expect(await host.call('DEL', { startedAt: 2000 })).toMatchObject(OK);
    await host.call('ADD', { startedAt: 3000 });
    expect(await host.call('DEL', { startedAt: 2000 })).toMatchObject({ exitCode: 0, text: '' });
    expect(host.attachments.size).toBe(1);
    expect(await host.call('DEL', { startedAt: 3000 })).toMatchObject(OK);
    expect(host.left()).toEqual([]);
  });

  it('with its GC collects no container that was added since', async () => {
    host.memory.network.makeNamespace('/run/netns/db');
    await host.call('ADD', { startedAt: 1000 });
    const db = { env: { CNI_CONTAINERID: 'db', CNI_NETNS: '/run/netns/db' } };
    await host.call('ADD', { ...db, startedAt: 3000 });
    const config = { 'cni.dev/valid-attachments': [] };
    expect(await host.call('GC', { config, startedAt: 2000 })).toMatchObject(OK);
    expect(host.attachments.list().map(({ id }) => id)).toEqual(['cni/warren/db/eth0']);
    expect(await host.call('GC', { config, startedAt: 4000 })).toMatchObject(OK);
    expect(host.left()).toEqual([]);
  });

  it('with an ADD whose result nobody reads has it undone', async () => {
    const answer = await host.call('ADD', { startedAt: 1000 });
    await answer.undo?.();
    expect(host.left()).toEqual([]);
    // Nothing that came after it, and no other command.
    const again = await host.call('ADD', { startedAt: 2000 });
    await answer.undo?.();
    expect(host.attachments.size).toBe(1);
    expect(await host.call('ADD', { startedAt: 3000 })).toMatchObject(OK);
    await again.undo?.();
    expect(host.attachments.size).toBe(1);
    expect((await host.call('DEL', { startedAt: 4000 })).undo).toBeUndefined();
    // Without an agent it is left to what the runtime says next.
    const last = await host.call('ADD', { startedAt: 5000 });
    await host.stop();
    await last.undo?.();
    expect(host.memory.network.pairs.size).toBe(1);
  });

  it('is known by its process, wherever its name ends', () => {
    expect(callerOf(7, `7 (a) b (c)) S ${'1 '.repeat(18)}4242 9 9`)).toEqual({ pid: 7, startedAt: 4242 });
    for (const stat of ['', '7 (x', `7 (x) S ${'1 '.repeat(18)}`, `7 (x) S ${'a '.repeat(30)}`])
      expect(callerOf(7, stat)).toBeUndefined();
    expect(thisCaller()).toEqual({ pid: process.pid, startedAt: expect.any(Number) });
  });
});

describe('a plugin that is killed while the agent attaches its container', () => {
  it('leaves nothing, though no DEL and no GC comes', async () => {
    const { begun, go } = slowly();
    const socket = askAdd();
    await begun;
    socket.destroy();
    await once(socket, 'close');
    // A collection passes by what is being made.
    expect(await host.call('GC', { config: { 'cni.dev/valid-attachments': [] } })).toMatchObject(OK);
    go();
    await expect.poll(() => host.left()).toEqual([]);
  });

  it('leaves nothing where its request is read after its end', async () => {
    const socket = askAdd();
    // It is written, and its end is there before the agent has had its turn.
    await once(socket, 'connect');
    socket.destroy();
    await expect.poll(() => host.memory.store.state.last.length).toBeGreaterThan(0);
    await expect.poll(() => host.left()).toEqual([]);
  });

  it('loses what it asked for to the one that asked for the same meanwhile', async () => {
    const { begun, go } = slowly();
    const adds = vi.spyOn(host.service, 'add');
    const socket = askAdd();
    await begun;
    const again = host.call('ADD');
    await expect.poll(() => adds.mock.calls.length).toBe(2);
    socket.destroy();
    await expect.poll(() => adds.mock.calls[0]![1]?.aborted).toBe(true);
    go();
    expect(await again).toMatchObject(OK);
    await host.attachments.check('cni/warren/c1/eth0');
    expect(host.attachments.size).toBe(1);
  });

  it('takes nothing away that was attached before', async () => {
    await host.call('ADD');
    const adds = vi.spyOn(host.service, 'add');
    const socket = askAdd();
    await once(socket, 'connect');
    socket.destroy();
    await expect.poll(() => adds.mock.calls[0]?.[1]?.aborted).toBe(true);
    await adds.mock.results[0]!.value;
    await host.attachments.check('cni/warren/c1/eth0');
    expect(host.attachments.size).toBe(1);
  });
});

describe('what is remembered of requests', () => {
  const options = { isAttached: () => false, remove: async () => {}, log: silentLogger };

  it('has a bound, and the deletions of longest ago go first', () => {
    const late = new LateRequests(options);
    for (let i = 0; i <= 1024; i++) late.admitDeletion(`c${i}`, { pid: 1, startedAt: 100 });
    late.admit('c0', { pid: 2, startedAt: 50 });
    expect(() => late.admit('c1', { pid: 2, startedAt: 50 })).toThrow(
      expect.objectContaining({ code: 'CNI_ADD_LATE' }),
    );
    // An earlier one that comes later does not make it earlier.
    late.admitDeletion('c1', { pid: 3, startedAt: 20 });
    expect(() => late.admit('c1', { pid: 2, startedAt: 50 })).toThrow(/deleted/);
  });

  it('goes with what came to nothing, and an undo that fails is no more than said', async () => {
    const removed: string[] = [];
    const remove = async (id: string) => {
      removed.push(id);
      throw new Error('busy');
    };
    const late = new LateRequests({ ...options, remove });
    const caller = { pid: 2, startedAt: 50 };
    late.withdraw(late.admit('a', caller));
    expect(late.claimOf('a', caller)).toBeUndefined();
    const claim = late.admit('a', caller);
    const gone = new AbortController();
    late.answer(claim, gone.signal);
    gone.abort();
    await late.undo(claim);
    expect(removed).toEqual(['a']);
  });
});
