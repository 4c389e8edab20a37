/** Whom a node asks for what, when, and how often. */
import { describe, expect, it } from 'vitest';
import { TimerGroup } from '../../../src/clock.ts';
import { WarrenError } from '../../../src/errors.ts';
import { decodeEntry, encodeEntry, inventoryHash } from '../../../src/inventory/entry.ts';
import {
  decodePullRequest,
  encodePullAnswer,
  type PullAnswer,
  type Want,
} from '../../../src/inventory/pull-messages.ts';
import { Puller } from '../../../src/inventory/puller.ts';
import { Replica } from '../../../src/inventory/replica.ts';
import { inventoryTiming } from '../../../src/inventory/timing.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import type { Rpc, RpcCallOptions } from '../../../src/rpc/rpc.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const idOf = (number: number) => number.toString(16).padStart(32, '0');
const [OWNER, TELLER, OTHER] = [idOf(1), idOf(2), idOf(3)] as const;
const { stored } = encodeEntry({ id: 'a', name: 'a', addresses: [], network: '', labels: {} })!;
const MARK = { version: 3, hash: inventoryHash([stored]) };

type Reply = 'whole' | 'absent' | 'forged' | 'garbage' | 'nothing' | 'error' | 'silence';

function harness(replyOf: (to: string, want: Want) => Reply) {
  const clock = new VirtualClock();
  const asked: { readonly to: string; readonly wants: readonly Want[]; readonly atMs: number }[] = [];
  const state = {
    there: new Set([OWNER, TELLER, OTHER]),
    open: 0,
    mostOpen: 0,
    signal: undefined as AbortSignal | undefined,
  };
  const rpc: Rpc = {
    serve: () => {},
    call: () => Promise.reject(new Error('not used')),
    async *stream(to: string, _method: string, body: Uint8Array, options?: RpcCallOptions) {
      const request = decodePullRequest(body);
      if (!request.ok) throw new Error('refused');
      asked.push({ to, wants: request.value, atMs: clock.now() });
      state.open++;
      state.mostOpen = Math.max(state.mostOpen, state.open);
      state.signal = options?.signal;
      try {
        for (const want of request.value) {
          const reply = replyOf(to, want);
          if (reply === 'error') throw new WarrenError('RPC_UNREACHABLE', 'no answer');
          if (reply === 'silence') await new Promise<void>((resolve) => clock.after(5000, resolve));
          if (reply === 'garbage') yield Buffer.from('ffff', 'hex');
          else if (reply !== 'nothing' && reply !== 'silence') yield* encodePullAnswer(answerOf(want, reply));
        }
      } finally {
        state.open--;
      }
    },
  };
  const puller = new Puller({
    ...{ rpc, clock, timers: new TimerGroup(clock), timing: inventoryTiming, logger: silentLogger },
    random: () => 0.5,
    canAsk: (id) => state.there.has(id),
    anyone: () => [OTHER, TELLER].find((id) => state.there.has(id)),
    decodeEntry,
  });
  const want = (id: string, teller?: string) => {
    const replica = new Replica(id, MARK, { mayGrow: () => true, onTaken: () => {} });
    puller.want(replica, teller);
    return replica;
  };
  return { clock, asked, state, puller, want, sources: () => asked.map(({ to }) => to) };
}

function answerOf({ node, version }: Want, reply: Reply): PullAnswer {
  if (reply === 'absent') return { node, kind: 'absent', version: 0, entries: [], deleted: [] };
  const entries = reply === 'forged' ? [] : [stored];
  return { node, kind: 'whole', version, entries, deleted: [] };
}

describe('a new version', () => {
  it('is pulled from who told of it, at once', async () => {
    const { clock, want, sources, puller } = harness(() => 'whole');
    const replica = want(OWNER, TELLER);
    await clock.run(inventoryTiming.gatherMs);
    expect(sources()).toEqual([TELLER]);
    expect(replica.isCurrent).toBe(true);
    expect(puller.size).toBe(0);
    await clock.run(60_000);
    expect(sources()).toHaveLength(1);
  });

  it.each<[Reply, string]>([
    ['absent', 'has it not yet'],
    ['error', 'does not answer'],
    ['garbage', 'answers with what is no answer'],
    ['nothing', 'leaves it out'],
    ['forged', 'gives others than were signed'],
  ])('is pulled from its owner if who told of it says "%s": it %s', async (reply) => {
    const { clock, want, sources } = harness((to) => (to === TELLER ? reply : 'whole'));
    const replica = want(OWNER, TELLER);
    await clock.run(100);
    expect(sources()).toEqual([TELLER, OWNER]);
    expect(replica.isCurrent).toBe(true);
  });

  it('is pulled from others where its owner is gone', async () => {
    const { clock, want, sources, state } = harness((to) => (to === OTHER ? 'whole' : 'absent'));
    state.there.delete(OWNER);
    expect(want(OWNER, TELLER).isCurrent).toBe(false);
    await clock.run(100);
    expect(sources()).toEqual([TELLER, OTHER]);
  });

  it('that nobody has is asked for ever less often, and at once when its owner is back', async () => {
    const { clock, want, asked, state, puller } = harness((to) => (to === OWNER ? 'whole' : 'absent'));
    state.there.delete(OWNER);
    const replica = want(OWNER, TELLER);
    await clock.run(60_000);
    const within = (fromMs: number, toMs: number) =>
      asked.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).length;
    expect(within(0, 1000)).toBeGreaterThan(4);
    expect(within(30_000, 60_000)).toBeLessThan(5);
    state.there.add(OWNER);
    puller.revive(OWNER);
    await clock.run(200);
    expect(replica.isCurrent).toBe(true);
  });

  it('waits without turning in circles while there is nobody to ask', async () => {
    const { clock, want, asked, state, puller } = harness(() => 'whole');
    state.there.clear();
    const replica = want(OWNER, undefined);
    await clock.run(60_000);
    expect(asked).toEqual([]);
    expect(puller.behind()).toMatchObject([{ nodeId: OWNER, isLie: false }]);
    state.there.add(OWNER);
    await clock.run(15_000);
    expect(replica.isCurrent).toBe(true);
    expect(puller.behind()).toEqual([]);
  });

  it('of an owner that lies is named, and not asked for again and again', async () => {
    const { clock, want, asked, puller } = harness((to) => (to === OWNER ? 'forged' : 'absent'));
    const replica = want(OWNER, undefined);
    await clock.run(2_000);
    expect(puller.behind()).toMatchObject([{ nodeId: OWNER, isLie: true }]);
    const before = asked.length;
    // New versions of a liar change nothing.
    for (let i = 0; i < 100; i++) {
      puller.want(replica, undefined);
      await clock.run(100);
    }
    expect(asked.length - before).toBeLessThan(10);
  });
});

describe('many inventories', () => {
  it('are asked of one member, as many as a request takes', async () => {
    const { clock, want, asked, sources, state } = harness(() => 'whole');
    const replicas = Array.from({ length: 400 }, (_, i) => {
      state.there.add(idOf(100 + i));
      return want(idOf(100 + i));
    });
    await clock.run(200);
    expect(replicas.every(({ isCurrent }) => isCurrent)).toBe(true);
    expect(sources()).toEqual([OTHER, OTHER]);
    expect(asked.map(({ wants }) => wants.length)).toEqual([256, 144]);
  });

  it('that one answer has no room for are asked for again', async () => {
    let answers = 0;
    const { clock, want, asked } = harness(() => (++answers % 3 === 0 ? 'nothing' : 'whole'));
    const replicas = [10, 11, 12, 13].map((number) => want(idOf(number)));
    await clock.run(500);
    expect(replicas.every(({ isCurrent }) => isCurrent)).toBe(true);
    expect(asked.length).toBeLessThan(4);
  });

  it('take a few calls at a time, and one to each member', async () => {
    const { clock, want, state } = harness(() => 'silence');
    for (let i = 0; i < 20; i++) {
      const [id, teller] = [idOf(100 + i), idOf(200 + i)];
      state.there.add(teller);
      want(id, teller);
      want(idOf(300 + i), teller);
    }
    await clock.run(20_000);
    expect(state.mostOpen).toBe(4);
  });

  it('are waited for no longer when the agent stops', async () => {
    const { clock, want, state, puller, asked } = harness(() => 'silence');
    want(OWNER, TELLER);
    await clock.run(100);
    puller.stop();
    expect(state.signal!.aborted).toBe(true);
    await clock.run(60_000);
    expect(asked).toHaveLength(1);
  });
});
