/**
 * A sealed tunnel, as whole agents have it: sessions by traffic, over restarts and moves of either side, in virtual time, and
 * with what is on the wire looked at.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IpAddress, parseAddress } from '../../src/ip/address.ts';
import { World, type WorldNode, type WorldPod } from './world.ts';

const wireguard = { encapsulation: 'wireguard' } as const;
const DATA = 4;

let world: World;
let a: WorldNode;
let b: WorldNode;
let web: WorldPod;
let db: WorldPod;

beforeEach(async () => {
  world = new World(1);
  [a, b] = (await world.cluster(2, wireguard)) as [WorldNode, WorldNode];
  web = await a.addPod('web');
  db = await b.addPod('db');
  // Group probes at first contact.
  await world.advance(5_000);
});
afterEach(() => world.stop());

/** A packet each way every `everyMs`, which must arrive. */
async function talk(durationMs: number, everyMs = 100): Promise<void> {
  for (let ms = 0; ms < durationMs; ms += everyMs) {
    const before = [web.received.length, db.received.length];
    web.send(db.addresses[0]!, { bytes: 300 });
    db.send(web.addresses[1]!, { bytes: 301 });
    await world.advance(everyMs);
    expect([web.received.length, db.received.length]).toEqual(before.map((count) => count + 1));
  }
}

const typesSince = (from: number) => world.carried.slice(from).map(({ bytes }) => bytes[0]);
const sessionAge = (node: WorldNode) => node.model.peers()[0]?.sessionAgeSeconds;
const drops = (node: WorldNode) =>
  Object.fromEntries(Object.entries(node.model.status().datapath.drops).filter(([, count]) => count > 0));

describe('a sealed tunnel', () => {
  it('carries what pods send, and shows nothing of it', async () => {
    await talk(2_000);
    const addresses = [...web.addresses, ...db.addresses].map(bytesOf);
    for (const { bytes } of world.carried) {
      expect([1, 2, 3, DATA]).toContain(bytes[0]);
      for (const address of addresses) expect(Buffer.from(bytes).includes(address)).toBe(false);
    }
    expect(a.model.status().encapsulation).toMatchObject({
      ...{ type: 'wireguard', port: 51_820, overheadBytes: 60, encrypted: true, cipher: 'in memory' },
      publicKey: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
    });
    expect(a.model.status().tun.mtu).toBe(1440);
    expect(drops(a)).toEqual({});
  });

  it('is silent while nobody sends, and forgets its keys', async () => {
    await talk(1_000);
    expect(sessionAge(a)).toBeGreaterThanOrEqual(0);
    await world.advance(30_000);
    const from = world.carried.length;
    await world.advance(600_000);
    expect(typesSince(from)).toEqual([]);
    expect([sessionAge(a), a.host.keyExchange!.exchange.indexes]).toEqual([undefined, 0]);
    await talk(1_000);
  });

  it('changes its keys every two minutes under traffic, and loses nothing', async () => {
    const from = world.carried.length;
    await talk(600_000, 250);
    const handshakes = typesSince(from).filter((type) => type !== DATA);
    // Initiation and response of each, and at first perhaps one of either side.
    expect(handshakes.length).toBeGreaterThanOrEqual(8);
    expect(handshakes.length).toBeLessThanOrEqual(14);
    expect(sessionAge(a)).toBeLessThan(122);
    expect([drops(a), drops(b)]).toEqual([{}, {}]);
  });

  it('that carries one way only goes on without a pause', async () => {
    for (let second = 0; second < 400; second++) {
      const before = db.received.length;
      web.send(db.addresses[0]!);
      await world.advance(1_000);
      expect(db.received.length).toBe(before + 1);
    }
    expect([drops(a), drops(b)]).toEqual([{}, {}]);
  });

  it.each(['stopped', 'killed'])('is there again when an agent was %s and started anew', async (how) => {
    await talk(1_000);
    if (how === 'stopped') await b.stop();
    else await b.kill();
    await b.start();
    await world.settle();
    // Long before this side would find out by itself that nobody answers.
    await world.advance(1_000);
    const before = db.received.length;
    web.send(db.addresses[0]!);
    await world.advance(100);
    expect(db.received.length).toBe(before + 1);
    await talk(1_000);
  });

  it.each([8, -8])('agrees on keys with a clock that was set %i days on', async (days) => {
    await talk(1_000);
    await a.stop();
    world.clock.wallOffsetMs += days * 86_400_000;
    await a.start();
    await world.settle();
    web.send(db.addresses[0]!);
    await world.advance(1_000);
    await talk(1_000);
  });

  it('goes on where a packet path was replaced, and opens nothing twice', async () => {
    await talk(1_000);
    const last = world.carried.findLast(({ to, bytes }) => isAt(b, to) && bytes[0] === DATA)!;
    const from = world.carried.length;
    b.configFile = () => b.config('datapath: {offload: {coalesceTcp: false}}');
    await b.agent.reload();
    world.inject(last.from, last.to, last.bytes);
    await talk(1_000);
    expect(new Set(typesSince(from))).toEqual(new Set([DATA]));
    expect(drops(b)).toEqual({ 'inbound-replayed': 1 });
  });

  it('follows a node to another address, with the keys that it has', async () => {
    await talk(1_000);
    const from = world.carried.length;
    b.host.replaceAddress('eth0', parseAddress('192.0.2.77'));
    await world.until(() => a.model.peers()[0]!.endpoint.startsWith('192.0.2.77'), 30_000);
    await talk(1_000);
    expect(new Set(typesSince(from))).toEqual(new Set([DATA]));
  });

  it('follows a peer to where it was last heard from, and no forged datagram', async () => {
    await talk(1_000);
    const before = world.carried.findLast(({ from }) => isAt(b, from))!;
    const elsewhere = { address: parseAddress('192.0.2.99'), port: 4_711 };
    const forged = Uint8Array.from(before.bytes);
    forged[20]! ^= 1;
    world.inject(elsewhere, before.to, forged);
    await world.advance(100);
    expect(drops(a)).toEqual({ 'inbound-replayed': 1 });
    // Behind a translator of addresses, which changes the source of what comes from it.
    world.onTheWay = (datagram) => {
      if (!isAt(b, datagram.from)) return datagram.bytes;
      world.inject(elsewhere, datagram.to, datagram.bytes);
      return undefined;
    };
    db.send(web.addresses[0]!);
    await world.advance(100);
    const from = world.carried.length;
    web.send(db.addresses[0]!);
    await world.advance(100);
    expect(world.carried.slice(from).map(({ to }) => to.port)).toContain(4_711);
  });

  it('lets in nothing that is changed, cut short, turned round or of another peer', async () => {
    const c = world.add(wireguard);
    await c.start();
    await world.settle();
    const cache = await c.addPod('cache');
    web.send(cache.addresses[0]!);
    await talk(1_000);
    const [base] = [drops(a)];
    const to = world.carried.findLast(
      (one) => isAt(b, one.from) && isAt(a, one.to) && one.bytes[0] === DATA,
    )!;
    const heard = web.received.length;
    for (let at = 0; at < to.bytes.length; at++) {
      const changed = Uint8Array.from(to.bytes);
      changed[at]! ^= 0x10;
      world.inject(to.from, to.to, changed);
      world.inject(to.from, to.to, to.bytes.subarray(0, at));
    }
    const own = world.carried.findLast(({ from, bytes }) => isAt(a, from) && bytes[0] === DATA)!;
    world.inject(to.from, to.to, own.bytes);
    await world.advance(100);
    expect(web.received.length).toBe(heard);
    const counted = Object.values(drops(a)).reduce((sum, count) => sum + count, 0);
    expect(base).toEqual({});
    expect(counted).toBe(2 * to.bytes.length + 1);
    await talk(1_000);
  });

  it('is there soon where the first handshake was lost, as by a node that has just come up', async () => {
    await world.advance(700_000);
    const from = world.carried.length;
    world.onTheWay = ({ bytes }) => (bytes[0] === 1 ? undefined : bytes);
    const before = db.received.length;
    web.send(db.addresses[0]!);
    await world.advance(200);
    world.onTheWay = ({ bytes }) => bytes;
    await world.advance(100);
    expect(db.received.length).toBe(before + 1);
    await talk(10_000);
    expect(typesSince(from).filter((type) => type === 1)).toHaveLength(2);
  });

  it('has no path to a node with another encapsulation, and says so', async () => {
    const clear = world.add();
    await clear.start();
    await world.until(() => a.model.peers().length === 2, 30_000);
    const reason = `${clear.name} uses vxlan-gpe, this node wireguard: set the same encapsulation.type`;
    expect(a.model.peers().map(({ unreachable }) => unreachable)).toContain(reason);
    await talk(500);
  });
});

describe('a cluster that is moved from clear text to sealed, node by node', () => {
  const MOVING = 'type: wireguard, accept: vxlan-gpe';
  const SEALED = 'type: wireguard, port: 4790';

  let nodes: WorldNode[];
  let pods: WorldPod[];

  beforeEach(async () => {
    await world.stop();
    world = new World(2);
    nodes = await world.cluster(3);
    pods = [];
    for (const node of nodes) pods.push(await node.addPod('pod'));
  });

  /** Both families, from each of `some` to each other one: all of it arrives. */
  async function allTalk(some: readonly WorldPod[]): Promise<void> {
    const before = some.map(({ received }) => received.length);
    for (const from of some) {
      for (const to of some) {
        if (from !== to) for (const address of to.addresses) from.send(address, { bytes: 1_300 });
      }
    }
    await world.advance(200);
    const more = 2 * (some.length - 1);
    expect(some.map(({ received }) => received.length)).toEqual(before.map((count) => count + more));
  }

  async function restart(node: WorldNode, encapsulation: string): Promise<void> {
    const others = pods.filter((pod) => pod.node !== node);
    await node.stop();
    node.encapsulation = encapsulation;
    await node.start();
    // The others go on meanwhile.
    for (let i = 0; i < 5; i++) await allTalk(others);
    await world.settle();
    await world.advance(3_000);
  }

  function kindsBetween(one: WorldNode, other: WorldNode, from: number): string[] {
    const isBetween = ({ from: source, to }: (typeof world.carried)[number]) =>
      (isAt(one, source) && isAt(other, to)) || (isAt(other, source) && isAt(one, to));
    const between = world.carried.slice(from).filter(isBetween);
    return [...new Set(between.map(({ bytes }) => (bytes[0]! < 8 ? 'sealed' : 'clear')))];
  }

  it('goes on all the time, and sends clear text to none that has keys', async () => {
    await allTalk(pods);
    for (const [step, node] of nodes.entries()) {
      await restart(node, MOVING);
      const from = world.carried.length;
      for (let i = 0; i < 5; i++) await allTalk(pods);
      for (const [i, one] of nodes.entries()) {
        for (const [j, other] of nodes.entries())
          if (i < j) expect(kindsBetween(one, other, from)).toEqual([j <= step ? 'sealed' : 'clear']);
      }
      const { encapsulation, cluster, tun } = node.model.status();
      expect(encapsulation).toMatchObject({ encrypted: false, accept: 'vxlan-gpe' });
      expect(cluster.problems.join()).toContain('remove encapsulation.accept');
      expect(tun.mtu).toBe(1440);
    }
    for (const node of nodes) {
      await restart(node, SEALED);
      const from = world.carried.length;
      for (let i = 0; i < 5; i++) await allTalk(pods);
      for (const other of nodes) {
        if (other !== node) expect(kindsBetween(node, other, from)).toEqual(['sealed']);
      }
      expect(node.model.status().encapsulation.encrypted).toBe(true);
    }
    // Of nodes that were just started anew, and of their peers.
    const normal = ['inbound-handshake-refused', 'inbound-no-session'];
    expect(
      nodes.flatMap((node) => Object.keys(drops(node)).filter((name) => !normal.includes(name))),
    ).toEqual([]);
  });

  it('takes no clear text of a node that has keys', async () => {
    const [one, other] = nodes as [WorldNode, WorldNode];
    const [pod] = pods as [WorldPod];
    await restart(one, MOVING);
    await allTalk(pods);
    const recorded = world.carried.findLast(
      ({ from, to, bytes }) => isAt(other, from) && isAt(one, to) && bytes.length === 1_308,
    )!;
    const heard = pod.received.length;
    world.inject(recorded.from, recorded.to, recorded.bytes);
    await world.advance(100);
    // It still is one without keys.
    expect(pod.received.length).toBe(heard + 1);
    await restart(other, MOVING);
    await allTalk(pods);
    const now = pod.received.length;
    world.inject(recorded.from, recorded.to, recorded.bytes);
    await world.advance(100);
    expect(pod.received.length).toBe(now);
    expect(drops(one)).toEqual({ 'inbound-foreign-source': 1 });
  });
});

const isAt = (node: WorldNode, { address }: { address: IpAddress }) => node.hasAddress(address);

function bytesOf(address: string): Buffer {
  const { family, value } = parseAddress(address);
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, '0'), 'hex');
}
