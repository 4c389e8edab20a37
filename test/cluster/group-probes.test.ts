/** Groups of datagrams that do not arrive whole at one peer, in whole agents. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/ip/address.ts';
import { type Flow, sendGroup, udpPayload } from '../helpers/memory-probe-sockets.ts';
import { type Carried, World, type WorldNode, type WorldPod } from './world.ts';

const PORT = 7;
let world: World;
let a: WorldNode;
let b: WorldNode;
let c: WorldNode;
let web: WorldPod;
let db: WorldPod;
let flow: Flow;

beforeEach(async () => {
  world = new World(1);
  [a, b, c] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
  web = await a.addPod('web');
  db = await b.addPod('db');
  const own = (address: string | undefined) => ({ address: parseAddress(address!), port: PORT });
  flow = { from: own(web.addresses[0]), to: own(db.addresses[0]) };
});
afterEach(async () => {
  await world.stop();
});

const isToB = ({ to }: Carried) => b.hasAddress(to.address);
const dropGroups = (datagram: Carried) =>
  isToB(datagram) && datagram.isGrouped ? undefined : datagram.bytes;

/** A flow of groups of four, every 50 ms; gives after how long the first one arrived that was sent after `fromMs`. */
async function recoveryMs(limitMs: number): Promise<number | undefined> {
  const startMs = world.clock.now();
  db.received.length = 0;
  while (world.clock.now() - startMs < limitMs) {
    sendGroup(a.host, flow, groupOf(4));
    await world.advance(50);
    if (db.received.some((packet) => udpPayload(packet, PORT))) return world.clock.now() - startMs;
  }
  return undefined;
}

async function flowFor(durationMs: number): Promise<void> {
  for (let ms = 0; ms < durationMs; ms += 50) {
    sendGroup(a.host, flow, groupOf(4));
    await world.advance(50);
  }
}

function groupOf(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => new Uint8Array(1000).fill(i));
}

function peer(node: WorldNode, other: WorldNode) {
  return node.model.peers().find(({ name }) => name === other.name)!;
}

function probes(node: WorldNode): number {
  return Object.values(node.model.status().datapath.groupProbes).reduce((sum, count) => sum + count, 0);
}

describe('groups that arrive', () => {
  it('are found to at first contact, by each node of each other, and nobody looks again while nothing is sent', async () => {
    await world.advance(10_000);
    for (const node of [a, b, c]) expect(node.model.status().datapath.groupProbes.whole).toBe(2);
    const carried = world.carried.length;
    await world.advance(3_600_000);
    expect(world.carried.length).toBe(carried);
    for (const node of [a, b, c]) expect(probes(node)).toBe(2);
    expect(peer(a, b).sentSingly).toBeUndefined();
  });

  it('are looked at once a second while they are sent', async () => {
    await world.advance(10_000);
    await flowFor(10_000);
    expect(a.model.status().datapath.groupProbes.whole).toBeGreaterThanOrEqual(2 + 9);
    expect(a.model.status().datapath.groupProbes.whole).toBeLessThanOrEqual(2 + 11);
    expect(probes(b)).toBe(2);
  });

  it('are looked at anew when the node has moved', async () => {
    await world.advance(10_000);
    a.host.replaceAddress('eth0', parseAddress('192.0.2.77'));
    await world.advance(10_000);
    expect(a.model.status().datapath.groupProbes.whole).toBe(4);
    // The others see another endpoint of its.
    expect(b.model.status().datapath.groupProbes.whole).toBe(3);
  });
});

describe.each([
  ['do not arrive', dropGroups],
  [
    'arrive damaged',
    (datagram: Carried) => {
      const { bytes } = datagram;
      if (isToB(datagram) && datagram.isGrouped) bytes[60]! ^= 1;
      return bytes;
    },
  ],
])('groups that %s', (what, onTheWay) => {
  it('at first contact: single ones are sent to that peer alone', async () => {
    world.onTheWay = onTheWay;
    await world.advance(10_000);
    expect(peer(a, b).sentSingly).toBe(true);
    expect(peer(c, b).sentSingly).toBe(true);
    expect(peer(a, c).sentSingly).toBeUndefined();
    expect(peer(b, a).sentSingly).toBeUndefined();
    expect(a.model.status().cluster.problems.join()).toContain(`do not arrive whole at ${b.name}`);
    world.carried.length = 0;
    sendGroup(a.host, flow, groupOf(4));
    await world.advance(10);
    expect(world.carried).toHaveLength(4);
    expect(world.carried.some(({ isGrouped }) => isGrouped)).toBe(false);
    expect(db.received).toHaveLength(4);
  });

  it('no more while traffic flows: it recovers within 2 s', async () => {
    await world.advance(10_000);
    for (const phaseMs of [0, 350, 700]) {
      world.onTheWay = ({ bytes }) => bytes;
      await flowFor(30_000 + phaseMs);
      expect(peer(a, b).sentSingly).toBeUndefined();
      world.onTheWay = onTheWay;
      if (what === 'do not arrive') expect(await recoveryMs(5000)).toBeLessThanOrEqual(2000);
      else await flowFor(2000);
      expect(peer(a, b).sentSingly).toBe(true);
    }
  });

  it('are tried again with growing pauses, and sent again once they arrive', async () => {
    world.onTheWay = onTheWay;
    await world.advance(10_000);
    await flowFor(120_000);
    // After 10, 20, 40 s.
    expect(a.model.status().datapath.groupProbes.broken).toBe(5);
    world.onTheWay = ({ bytes }) => bytes;
    await flowFor(80_000);
    expect(peer(a, b).sentSingly).toBeUndefined();
    expect(a.model.status().cluster.problems).toEqual([]);
    world.carried.length = 0;
    sendGroup(a.host, flow, groupOf(4));
    await world.advance(1);
    expect(world.carried.every(({ isGrouped }) => isGrouped)).toBe(true);
  });
});

describe('nothing is concluded', () => {
  it('where the path loses everything', async () => {
    world.onTheWay = (datagram) => (isToB(datagram) ? undefined : datagram.bytes);
    await world.advance(60_000);
    expect(peer(a, b).sentSingly).toBeUndefined();
    expect(a.model.status().datapath.groupProbes.unclear).toBeGreaterThan(0);
  });

  it('of random loss', async () => {
    world.onTheWay = ({ bytes }) => (world.random() < 0.05 ? undefined : bytes);
    await flowFor(120_000);
    expect(peer(a, b).sentSingly).toBeUndefined();
    expect(a.model.status().datapath.groupProbes.whole).toBeGreaterThan(10);
  });

  it('of an agent that does not know the question, which is rarely asked it', async () => {
    const old = world.add({ withoutGroupProbes: true });
    await old.start();
    await world.settle();
    await world.advance(300_000);
    expect(peer(a, old).sentSingly).toBeUndefined();
    expect(a.model.status().datapath.groupProbes.unsupported).toBe(1);
    expect(probes(old)).toBe(0);
  });
});
