/**
 * Post-quantum keys as whole agents have them: made for pairs that talk and for no others, without a packet in clear of them
 * where they cannot be made, over loss, restarts of both sides, and beside agents that have none.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type IpAddress, parseAddress } from '../../src/ip/address.ts';
import { type NodeOptions, World, type WorldNode, type WorldPod } from './world.ts';

const wireguard = { encapsulation: 'wireguard' } as const;
const DATA = 4;

let world: World;

beforeEach(() => {
  world = new World(7);
});
afterEach(() => world.stop());

async function pair(...options: readonly NodeOptions[]): Promise<[WorldNode, WorldNode, WorldPod, WorldPod]> {
  const [a, b] = options.map((one) => world.add({ ...wireguard, ...one })) as [WorldNode, WorldNode];
  for (const node of [a, b]) await node.start();
  await world.until(() => [a, b].every(({ model }) => model.status().lease.status === 'active'), 30_000);
  await world.until(() => [a, b].every(({ model }) => model.peers().length > 0), 30_000);
  const pods = [await a.addPod('web'), await b.addPod('db')] as const;
  await world.advance(3_000);
  return [a, b, ...pods];
}

/** A packet each way every 100 ms, all of which must arrive. */
async function talk(one: WorldPod, other: WorldPod, packets = 10): Promise<void> {
  for (let i = 0; i < packets; i++) {
    const before = [one.received.length, other.received.length];
    one.send(other.addresses[0]!);
    other.send(one.addresses[0]!);
    await world.advance(100);
    expect([one.received.length, other.received.length]).toEqual(before.map((count) => count + 1));
  }
}

const stateOf = (node: WorldNode, other: WorldNode) =>
  node.model.peers().find(({ name }) => name === other.name)?.postQuantum;
const keysOf = (node: WorldNode) => node.model.status().encapsulation.postQuantum?.keys;
const problemsOf = (node: WorldNode) => node.model.status().cluster.problems.join('\n');
const typesSince = (from: number) => world.carried.slice(from).map(({ bytes }) => bytes[0]);

describe('two nodes that offer post-quantum keys', () => {
  it('agree on one with the first packets, of both at once, which wait for it', async () => {
    const [a, b, web, db] = await pair({}, {});
    expect([stateOf(a, b), stateOf(b, a), keysOf(a)]).toEqual(['offered', 'offered', {}]);
    await talk(web, db);
    expect([stateOf(a, b), stateOf(b, a)]).toEqual(['agreed', 'agreed']);
    const keys = [keysOf(a)!, keysOf(b)!];
    expect(keys.map(({ agreed, answered }) => agreed! + answered!)).toEqual([1, 1]);
    expect(a.model.status().encapsulation.postQuantum).toMatchObject({
      ...{ mode: 'on', library: '@noble/post-quantum' },
    });
    expect([problemsOf(a), problemsOf(b)]).toEqual(['', '']);
  });

  it('need a few milliseconds and 4 kB for that', async () => {
    const [a, , web, db] = await pair({}, {});
    const sent = () =>
      [1, 2].reduce((bytes, last) => {
        const gossip = { address: parseAddress(`192.0.2.${last}`), port: 7946 };
        const { sentBytes, sentStreamBytes } = world.network.host(gossip);
        return bytes + sentBytes + sentStreamBytes;
      }, 0);
    const before = sent();
    web.send(db.addresses[0]!);
    const tookMs = await world.clock.runUntil(() => db.received.length > 0, 1_000, 1);
    // Four ways for keys and three for the handshake, at a millisecond each.
    expect(tookMs).toBeLessThan(25);
    const bytes = sent() - before;
    expect(bytes).toBeGreaterThan(2_300);
    expect(bytes).toBeLessThan(4_000);
    expect(keysOf(a)).toEqual({ agreed: 1, answered: 0, failed: 0 });
  });

  it('send nothing to each other while they cannot agree, and say why', async () => {
    const [a, b, web, db] = await pair({}, {});
    const from = world.carried.length;
    world.network.reaches = (_from, _to, via) => via !== 'stream';
    web.send(db.addresses[0]!);
    await world.advance(20_000);
    expect(typesSince(from)).toEqual([]);
    expect(stateOf(a, b)).toBe('failed');
    expect(problemsOf(a)).toContain(`no post-quantum key with ${b.name}, so that nothing is sent to it`);
    expect(keysOf(a)!.failed).toBeGreaterThan(0);
    // Packets wait as for a handshake: so many, and for so long.
    for (let i = 0; i < 200; i++) web.send(db.addresses[0]!);
    await world.advance(120_000);
    expect(a.model.status().datapath.drops['outbound-no-session']).toBe(201);
    expect(typesSince(from)).toEqual([]);
    world.network.reaches = () => true;
    web.send(db.addresses[0]!);
    await world.until(() => db.received.length > 0, 40_000);
    expect(stateOf(a, b)).toBe('agreed');
    expect(problemsOf(a)).toBe('');
    await talk(web, db);
  });

  it.each(['stopped', 'killed'])('agree anew after one of them was %s', async (how) => {
    const [a, b, web, db] = await pair({}, {});
    await talk(web, db);
    if (how === 'stopped') await b.stop();
    else await b.kill();
    await b.start();
    await world.settle();
    await world.advance(1_000);
    await talk(web, db);
    expect([stateOf(a, b), stateOf(b, a)]).toEqual(['agreed', 'agreed']);
    const { agreed, answered } = keysOf(a)!;
    expect(agreed! + answered!).toBe(2);
  });

  it.each([1, 2, 3])('agree over a bad network, with restarts (seed %i)', async (seed) => {
    await world.stop();
    world = new World(seed);
    const [a, b, web, db] = await pair({}, {});
    world.network.quality = { delayMs: [0.2, 80], loss: 0.2, duplication: 0.1 };
    world.onTheWay = ({ bytes }) => (world.random() < 0.3 ? undefined : bytes);
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 20; i++) {
        if (world.random() < 0.5) web.send(db.addresses[0]!);
        if (world.random() < 0.5) db.send(web.addresses[0]!);
        await world.advance(200);
      }
      const [node] = world.random() < 0.5 ? [a] : [b];
      await node.stop();
      await node.start();
      await world.advance(500);
    }
    world.network.quality = { delayMs: [0.2, 1], loss: 0, duplication: 0 };
    world.onTheWay = ({ bytes }) => bytes;
    await world.settle();
    for (let i = 0; i < 100; i++) {
      web.send(db.addresses[0]!);
      db.send(web.addresses[0]!);
      await world.advance(200);
    }
    await talk(web, db);
    expect([stateOf(a, b), stateOf(b, a)]).toEqual(['agreed', 'agreed']);
  });
});

describe('a cluster', () => {
  it('has keys of pairs that talk, and of no others', async () => {
    const nodes = await world.cluster(5, wireguard);
    const pods: WorldPod[] = [];
    for (const node of nodes) pods.push(await node.addPod('pod'));
    await world.advance(30_000);
    expect(nodes.map(keysOf)).toEqual(nodes.map(() => ({})));
    expect(world.carried).toEqual([]);
    const [one, other] = pods as [WorldPod, WorldPod];
    await talk(one, other);
    await world.advance(30_000);
    const made = nodes.map((node) => {
      const { agreed = 0, answered = 0 } = keysOf(node)!;
      return agreed + answered;
    });
    expect(made).toEqual([1, 1, 0, 0, 0]);
    expect(
      world.carried.every(({ from, to }) => [from, to].every((end) => isOf(nodes.slice(0, 2), end))),
    ).toBe(true);
  });

  it('may have agents that offer none: sessions with those are as they were', async () => {
    const [a, b, web, db] = await pair({}, { withoutPairKeys: true });
    await talk(web, db);
    expect([stateOf(a, b), stateOf(b, a)]).toEqual(['none', undefined]);
    expect(keysOf(a)).toEqual({});
    // The same node, upgraded.
    await b.stop();
    const upgraded = world.add({ ...wireguard });
    await upgraded.start();
    await world.settle([a, upgraded]);
    await talk(web, await upgraded.addPod('db'));
    expect(stateOf(a, upgraded)).toBe('agreed');
  });

  it('leaves such an agent no path where post-quantum keys are required, and names it', async () => {
    const [a, b, web, db] = await pair({}, { withoutPairKeys: true });
    await a.stop();
    a.encapsulation = 'type: wireguard, postQuantum: require';
    await a.start();
    await world.advance(10_000);
    const from = world.carried.length;
    web.send(db.addresses[0]!);
    db.send(web.addresses[0]!);
    await world.advance(10_000);
    expect(db.received).toEqual([]);
    expect(a.model.peers()[0]).toMatchObject({ outbound: { packets: 0 }, inbound: { packets: 0 } });
    expect(world.carried.slice(from).filter(({ from: source }) => isOf([a], source))).toEqual([]);
    expect(problemsOf(a)).toContain(`${b.name} has no post-quantum keys`);
    const c = world.add(wireguard);
    await c.start();
    await world.until(() => a.routesTo(c), 30_000);
    await talk(web, await c.addPod('cache'));
    expect(stateOf(a, c)).toBe('agreed');
  });

  it('goes without where it is switched off', async () => {
    const [a, b] = [world.add(wireguard), world.add(wireguard)];
    for (const node of [a, b]) node.encapsulation = 'type: wireguard, postQuantum: off';
    for (const node of [a, b]) await node.start();
    await world.settle();
    await talk(await a.addPod('web'), await b.addPod('db'));
    expect([stateOf(a, b), keysOf(a)]).toEqual([undefined, {}]);
    expect(a.model.status().encapsulation.postQuantum).toEqual({ mode: 'off', keys: {} });
  });
});

function isOf(nodes: readonly WorldNode[], { address }: { readonly address: IpAddress }): boolean {
  return nodes.some((node) => node.hasAddress(address));
}
