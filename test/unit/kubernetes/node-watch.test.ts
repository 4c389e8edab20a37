/** Listing and watching against a server in memory, in virtual time: what it may do, and what it is asked then. */
import { describe, expect, it } from 'vitest';
import type { Answer } from '../../../src/kubernetes/api.ts';
import { NodeWatch } from '../../../src/kubernetes/node-watch.ts';
import { NodesView } from '../../../src/kubernetes/nodes-view.ts';
import { relistDelayMs, retryDelayMs, watchSpreadMs } from '../../../src/kubernetes/retry.ts';
import { seededRandom } from '../../../src/membership/random.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { FakeApiServer } from '../../helpers/kubernetes-api.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function harness(nodes: number, clock = new VirtualClock(), server = new FakeApiServer(), seed = 1) {
  for (let i = server.nodes.size; i < nodes; i++)
    server.put(`node-${i}`, { addresses: [`10.0.${i >> 8}.${i & 255}`] });
  const view = new NodesView();
  const troubles: string[] = [];
  const told: string[] = [];
  let contacts = 0;
  const watch = new NodeWatch({
    ...{ api: server.api(clock), ownName: 'node-0', clock, random: seededRandom(seed) },
    nodeCount: () => view.size,
    onEvent: (event) => {
      if (event.type === 'changed' || event.type === 'deleted') told.push(event.type);
      view.apply(event);
    },
    onContact: () => contacts++,
    onTrouble: (reason) => troubles.push(reason),
  });
  watch.start();
  return { clock, server, view, troubles, told, watch, contacts: () => contacts };
}

/** What it was asked since the last time. */
function asked(server: FakeApiServer) {
  const { pages, lists, watches } = server.counts;
  Object.assign(server.counts, { pages: 0, lists: 0, watches: 0, gets: 0, patches: 0 });
  return { pages, lists, watches };
}

describe('pauses', () => {
  it('grow to half a minute, with a random part, and keep to what the server asks', () => {
    expect([1, 2, 3, 7, 99].map((failures) => retryDelayMs(failures, 0.5))).toEqual([
      500, 1000, 2000, 30_000, 30_000,
    ]);
    expect([retryDelayMs(1, 0), retryDelayMs(1, 1)]).toEqual([250, 750]);
    expect([retryDelayMs(1, 0, 20_000), retryDelayMs(1, 1, 20_000)]).toEqual([20_000, 30_000]);
    expect(retryDelayMs(1, 0, 1e9)).toBe(120_000);
    expect(watchSpreadMs(10_000, 1)).toBe(10_500);
    expect([3, 1000, 10_000, 1e6].map((nodes) => relistDelayMs(1, nodes, 1) / 1000)).toEqual([
      1.3, 101, 1001, 1200,
    ]);
    expect([relistDelayMs(1, 3, 0), relistDelayMs(6, 10, 0.5), relistDelayMs(99, 10, 0.5)]).toEqual([
      250, 16_000, 300_000,
    ]);
  });
});

describe('keeping up with nodes', () => {
  it('lists in pages, then hears of each change, over watches that the server ends', () => {
    const { clock, server, view, told } = harness(600);
    clock.advance(10);
    expect(told.splice(0)).toEqual(['changed']);
    expect(view.size).toBe(600);
    expect(view.isComplete).toBe(true);
    expect(asked(server)).toEqual({ pages: 3, lists: 1, watches: 1 });
    for (let minute = 0; minute < 60; minute++) {
      server.put(`late-${minute}`);
      server.delete(`node-${minute}`);
      clock.advance(MINUTE_MS);
      server.bookmark();
      if (minute % 6 === 5) server.endWatches();
      clock.advance(10);
      expect(view.node(`late-${minute}`)).toBeDefined();
      expect(view.node(`node-${minute}`)).toBeUndefined();
    }
    expect(asked(server)).toEqual({ pages: 0, lists: 0, watches: 10 });
    // Nothing is told twice: each watch goes on where the last one was.
    expect(told).toHaveLength(120);
    expect([...view.nodes()].map(({ name }) => name).sort()).toEqual([...server.nodes.keys()].sort());
  });

  it('goes on where it was after an hour without a server, asked ever more rarely', () => {
    const { clock, server, view, troubles } = harness(10);
    clock.advance(10);
    asked(server);
    let tries = 0;
    server.fault = () => {
      tries++;
      return { error: 'connect ECONNREFUSED' };
    };
    server.endWatches({ error: 'read ECONNRESET' });
    server.put('meanwhile');
    clock.advance(HOUR_MS);
    expect(view.size).toBe(10);
    expect(tries).toBeGreaterThan(80);
    expect(tries).toBeLessThan(200);
    expect(new Set(troubles)).toEqual(new Set(['read ECONNRESET', 'connect ECONNREFUSED']));
    server.fault = () => undefined;
    clock.advance(MINUTE_MS);
    expect(view.node('meanwhile')).toBeDefined();
    expect(asked(server)).toEqual({ pages: 0, lists: 0, watches: 1 });
  });

  it('goes on at once where the server does not know its place any more, and lists later what it missed', () => {
    const { clock, server, view, troubles } = harness(1000);
    clock.advance(10);
    asked(server);
    server.fault = () => ({ error: 'connect ECONNREFUSED' });
    server.endWatches({ error: 'read ECONNRESET' });
    // However long it was away: that it is back counts.
    clock.advance(10 * MINUTE_MS);
    server.delete('node-7');
    server.delete('node-0');
    server.put('new');
    server.compact();
    server.fault = () => undefined;
    expect(clock.advanceUntil(() => server.watches.size === 1, 2 * MINUTE_MS)).toBeLessThan(46_000);
    expect(asked(server)).toEqual({ pages: 0, lists: 0, watches: 2 });
    server.put('newer');
    expect(view.node('newer')).toBeDefined();
    expect([view.node('new'), view.node('node-7')?.name]).toEqual([undefined, 'node-7']);
    expect(clock.advanceUntil(() => view.node('new') !== undefined, 2 * MINUTE_MS)).toBeDefined();
    expect([view.node('node-7'), view.node('node-0')]).toEqual([undefined, undefined]);
    clock.advance(HOUR_MS);
    expect(asked(server)).toMatchObject({ pages: 4, lists: 1 });
    expect(troubles.filter((reason) => reason.includes('410'))).toEqual([]);
    // Its own Node is looked at with that, not with the list.
    server.endWatches({ error: 'read ECONNRESET' });
    server.put('node-0', { podCidrs: ['10.42.0.0/24'] });
    server.compact();
    expect(clock.advanceUntil(() => (view.node('node-0')?.podCidrs.length ?? 0) > 0, MINUTE_MS)).toBeLessThan(
      3000,
    );
    // Where each watch is refused so, by HTTP's own 410 too, lists become rare.
    server.fault = (path) =>
      path.includes('watch=') ? { status: 410, body: { message: 'Gone' } } : undefined;
    server.endWatches({ error: 'read ECONNRESET' });
    clock.advance(HOUR_MS);
    asked(server);
    clock.advance(HOUR_MS);
    expect(asked(server).lists).toBeLessThan(15);
    expect(server.counts.places).toBeLessThan(300);
  });

  it('asks for one page again where that failed, and for all where the server has forgotten the list', () => {
    const server = new FakeApiServer();
    const clock = new VirtualClock();
    const faults: Answer[] = [
      { status: 500, body: { message: 'etcdserver: request timed out' } },
      { status: 429, body: undefined, retryAfterMs: 5000 },
      { error: 'socket hang up' },
    ];
    server.fault = (path) => (path.includes('continue=') ? faults.shift() : undefined);
    const { view, troubles } = harness(600, clock, server);
    clock.advance(30_000);
    expect(view.size).toBe(600);
    expect(server.counts).toMatchObject({ lists: 1, pages: 3, watches: 1 });
    expect(troubles).toEqual(['HTTP 500: etcdserver: request timed out', 'HTTP 429', 'socket hang up']);

    const other = harness(600);
    other.clock.advanceUntil(() => other.view.size > 0, 100, 1);
    other.server.put('late');
    other.server.compact();
    other.clock.advance(10 * MINUTE_MS);
    expect(other.view.size).toBe(601);
    expect(other.server.counts).toMatchObject({ lists: 2, pages: 5 });
  });

  it.each([
    ['too many requests', { status: 429, body: {}, retryAfterMs: 1000 }],
    ['an error of its own', { status: 500, body: { message: 'boom' } }],
    ['no right', { status: 403, body: { message: 'nodes is forbidden' } }],
    ['nonsense', { status: 200, body: { items: [] } }],
    [
      'a page without end',
      { status: 200, body: { metadata: { resourceVersion: '1', continue: 'x' }, items: [] } },
    ],
    ['no JSON', { status: 200, body: undefined }],
  ] as [string, { status: number; body: { metadata?: object } | undefined }][])(
    'a server that answers every list with %s is asked a few times a minute',
    (_, answer) => {
      const server = new FakeApiServer();
      let tries = 0;
      server.fault = () => {
        tries++;
        return answer;
      };
      const { clock, view } = harness(0, new VirtualClock(), server);
      clock.advance(HOUR_MS);
      expect(view.isComplete).toBe(false);
      // A list without end is broken off after MAX_PAGES.
      expect(tries).toBeLessThan(answer.body?.metadata ? 10_000 : 250);
    },
  );

  it('is not held up by a watch that is silent, ends at once, or brings nonsense', () => {
    const { clock, server, view, troubles } = harness(5);
    clock.advance(10);
    const [silent] = server.watches;
    server.watches.delete(silent!);
    server.put('unheard');
    clock.advance(4 * MINUTE_MS);
    expect(view.node('unheard')).toBeDefined();
    expect(troubles).toEqual(['it was silent for 150 s']);
    asked(server);
    server.fault = (path) => (path.includes('watch=') ? { status: 200, body: undefined } : undefined);
    server.endWatches();
    clock.advance(HOUR_MS);
    server.fault = () => undefined;
    clock.advance(MINUTE_MS);
    server.put('after');
    expect(view.node('after')).toBeDefined();
    for (const { line } of [...server.watches]) line({ type: 'MODIFIED', object: { metadata: 'x' } });
    expect(troubles.at(-1)).toBe('what it tells is no change of nodes');
    server.put('later');
    clock.advance(MINUTE_MS);
    expect(view.node('later')).toBeDefined();
    expect(asked(server).lists).toBe(0);
  });

  it('stops: nothing is asked any more, whatever was under way', () => {
    const { clock, server, watch } = harness(600);
    clock.advance(1);
    watch.stop();
    asked(server);
    clock.advance(HOUR_MS);
    expect(asked(server)).toEqual({ pages: 0, lists: 0, watches: 0 });
    expect(server.watches.size).toBe(0);
  });
});

describe('many agents and one server', () => {
  it('come back to a server that was restarted one after the other, and list only where they must', () => {
    const clock = new VirtualClock();
    const server = new FakeApiServer();
    const agents = Array.from({ length: 100 }, (_, i) => harness(500, clock, server, i + 1));
    clock.advance(1000);
    expect(asked(server)).toMatchObject({ lists: 100, watches: 100 });
    const perSecond = (text: string) => {
      const seconds = new Map<number, number>();
      server.fault = (path) => {
        const second = Math.floor(clock.now() / 1000);
        if (path.includes(text)) seconds.set(second, (seconds.get(second) ?? 0) + 1);
        return undefined;
      };
      return seconds;
    };
    let seconds = perSecond('watch=');
    server.endWatches({ error: 'read ECONNRESET' });
    clock.advance(MINUTE_MS);
    expect(asked(server)).toEqual({ pages: 0, lists: 0, watches: 100 });
    // 500 nodes: within a second. With as many agents as nodes, 10,000 come within 10 s.
    expect(seconds.size).toBeLessThanOrEqual(3);
    seconds = perSecond('limit=250');
    for (const { told } of agents) told.length = 0;
    server.endWatches({ error: 'read ECONNRESET' });
    server.put('new');
    server.compact();
    clock.advance(5000);
    // All watch again, and hear what is new from there on.
    expect(server.watches.size).toBe(100);
    server.put('newer');
    expect(agents.every(({ view }) => view.node('newer') !== undefined)).toBe(true);
    clock.advance(2 * MINUTE_MS);
    expect(asked(server)).toMatchObject({ lists: 100, pages: 300 });
    expect(agents.every(({ view }) => view.size === 502)).toBe(true);
    // Over the 51 s that 500 nodes take: two lists a second, of three pages each.
    expect(seconds.size).toBeGreaterThan(35);
    expect(Math.max(...seconds.values())).toBeLessThan(30);
  });
});
