/** What the history of a node notes by itself: traffic of its peers, and what happened. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { TrafficTotals } from '../../../src/dataplane/dataplane.ts';
import { EventLog } from '../../../src/history/event-log.ts';
import { History } from '../../../src/history/history.ts';
import { parseEndpoint } from '../../../src/ip/endpoint.ts';
import type { Member, MemberStatus } from '../../../src/membership/types.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { knownPeer, noTraffic } from '../../helpers/read-model-sources.ts';

type Listener = (member: Member, previous?: Member) => void;

let clock: VirtualClock;
let history: History;
let traffic: Map<string, TrafficTotals>;
let ages: Map<string, number>;
let drops: Record<string, number>;
let offloads: Record<string, boolean>;
let repairs: Record<string, number>;
let vtep = parseEndpoint('192.0.2.1:4790');
let listeners: Record<string, Listener[]>;

function member(status: MemberStatus, vtep = '192.0.2.2:4790'): Member {
  return { id: 'id-b', name: 'node-b', status, vtep: parseEndpoint(vtep) } as Member;
}
function change(now: Member, before?: Member): void {
  for (const listener of listeners.change!) listener(now, before);
}
const told = () =>
  history.events().map(({ kind, node, detail }) => [kind, node, detail].filter(Boolean).join(' '));
const peerTraffic = (outboundBytes: number): TrafficTotals => ({ ...noTraffic, outboundBytes });

beforeEach(() => {
  clock = new VirtualClock();
  traffic = new Map();
  ages = new Map();
  drops = {};
  offloads = { tso: true };
  repairs = { route: 0 };
  vtep = parseEndpoint('192.0.2.1:4790');
  listeners = { change: [], removed: [] };
  history = new History({
    clock,
    self: { id: 'id-a', name: 'node-a' },
    peers: {
      peers: () => ['b', 'c'].map((name) => knownPeer(name, { id: `id-${name}`, name: `node-${name}` })),
    },
    dataPlane: {
      get vtep() {
        return vtep;
      },
      report: () => ({ totals: traffic.get('') ?? noTraffic, drops, offloads }) as never,
      traffic: (key) => traffic.get(key) ?? noTraffic,
      sessionAgeMs: (key) => ages.get(key),
    },
    members: { on: (event: string, listener: Listener) => listeners[event]!.push(listener) } as never,
    repairs: () => repairs,
  });
  history.start();
});

describe('the history of a node', () => {
  it('samples every 5 s what has grown, until it is stopped', async () => {
    traffic.set('key-b', peerTraffic(100));
    drops = { late: 10 };
    await clock.run(5000);
    traffic.set('key-b', peerTraffic(600));
    await clock.run(5000);
    const { times, peers, drops: dropped } = history.samples(0);
    expect(times).toHaveLength(2);
    expect(peers).toEqual([{ key: 'key-b', outboundBytes: [20, 100], inboundBytes: [0, 0] }]);
    expect(dropped).toEqual({ late: [2, 0] });
    history.stop();
    await clock.run(60_000);
    expect(history.samples(0).times).toHaveLength(2);
  });

  it('takes counters that began anew for what they are', async () => {
    traffic.set('key-b', peerTraffic(1000));
    await clock.run(5000);
    traffic.set('key-b', peerTraffic(50));
    await clock.run(5000);
    expect(history.samples(1).peers[0]!.outboundBytes).toEqual([10]);
  });

  it('tells of members that come and go', () => {
    change(member('alive'));
    change(member('suspect'), member('alive'));
    change(member('alive'), member('suspect'));
    change(member('suspect'), member('alive'));
    change(member('dead'), member('suspect'));
    change(member('alive', '192.0.2.3:4790'), member('dead'));
    change(member('left'), member('alive'));
    for (const listener of listeners.removed!) listener(member('left'));
    expect(told().reverse()).toEqual([
      'joined node-b',
      'suspect node-b',
      'recovered node-b',
      'suspect node-b',
      'died node-b',
      'joined node-b',
      'moved node-b 192.0.2.3:4790',
      'left node-b',
      'forgotten node-b',
    ]);
  });

  it('says nothing of who was gone before, nor of changes that show nowhere', () => {
    change(member('dead'));
    change(member('alive'), member('alive'));
    change({ ...member('suspect'), id: 'id-a' }, member('alive'));
    expect(told()).toEqual([]);
  });

  it('tells of repairs, offloads, a move of its own, and new keys once for all peers', async () => {
    for (const key of ['key-b', 'key-c']) {
      traffic.set(key, peerTraffic(1));
      ages.set(key, 90_000);
    }
    await clock.run(5000);
    expect(told()).toEqual([]);
    repairs = { route: 2 };
    offloads = { tso: false };
    vtep = parseEndpoint('192.0.2.77:4790');
    for (const key of ['key-b', 'key-c']) ages.set(key, 1000);
    let changes = 0;
    history.on('change', () => changes++);
    await clock.run(5000);
    expect(told().reverse()).toEqual([
      'rekeyed node-b',
      'offload-off node-a tso',
      'repaired node-a route',
      'moved node-a 192.0.2.77:4790',
    ]);
    expect(history.events().at(-1)).toMatchObject({ kind: 'rekeyed', others: 1 });
    expect(changes).toBe(4);
    offloads = { tso: true };
    await clock.run(5000);
    expect(told()[0]).toBe('offload-on node-a tso');
  });
});

describe('the log of events', () => {
  it('keeps 400, newest first, and new keys push out none of the others', () => {
    const log = new EventLog();
    const add = (kind: 'joined' | 'rekeyed', timeMs: number) =>
      log.add({ kind, timeMs, nodeId: 'b', node: 'b' });
    add('joined', 0);
    for (let i = 1; i <= 1000; i++) add('rekeyed', i);
    expect(log.list()).toHaveLength(101);
    expect(log.list()[0]).toMatchObject({ timeMs: 1000 });
    expect(log.list().at(-1)).toMatchObject({ kind: 'joined' });
    for (let i = 0; i < 1000; i++) add('joined', 2000 + i);
    expect(log.list()).toHaveLength(500);
    expect(log.list()[0]).toMatchObject({ timeMs: 2999 });
  });
});
