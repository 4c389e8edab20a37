/** Names across whole agents: how soon they are there, how soon they are gone, and what a port that is taken does. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { World, type WorldNode } from './world.ts';

describe('names', () => {
  let world: World;
  let nodes: WorldNode[];

  beforeEach(async () => {
    world = new World(7);
    nodes = await world.cluster(5);
  });
  afterEach(async () => {
    await world.stop();
    for (const { errors } of world.nodes) expect(errors).toEqual([]);
  });

  /** Until all that are up say so, with how long that took. */
  async function everywhere(holds: (node: WorldNode) => Promise<boolean>, limitMs: number): Promise<number> {
    const running = nodes.filter(({ isDown }) => !isDown);
    for (let tookMs = 0; tookMs <= limitMs; tookMs += 20) {
      if ((await Promise.all(running.map(holds))).every(Boolean)) return tookMs;
      await world.advance(20);
    }
    return Number.POSITIVE_INFINITY;
  }

  it('of what is attached are known on every node within a second', async () => {
    const took: number[] = [];
    for (let i = 0; i < 40; i++) {
      const node = nodes[i % nodes.length]!;
      const pod = await node.addPod(`pod-${i}`, { 'warren.service': 'db' });
      const name = `pod-${i}.${node.name}.warren`;
      took.push(await everywhere(async (one) => (await one.resolve(name))[0] === pod.addresses[0], 5000));
    }
    expect(Math.max(...took)).toBeLessThanOrEqual(1000);
    expect(await nodes[0]!.resolve('db.warren')).toHaveLength(40);
    expect(await nodes[3]!.resolve('db', { from: nodes[3]!.pod('pod-3').addresses[0]! })).toHaveLength(40);
    await nodes[2]!.commands.removePod('pod-2');
    const goneMs = await everywhere(
      async (one) => (await one.resolve('pod-2.node-2.warren'))[0] === 'NXDOMAIN',
      5000,
    );
    expect(goneMs).toBeLessThanOrEqual(1000);
  });

  it('of a node that dies are gone when it is known to be dead, and back with it', async () => {
    const [a, b, c] = nodes as [WorldNode, WorldNode, WorldNode];
    const labels = { 'warren.service': 'db' };
    await a.addPod('db-a', labels);
    await b.addPod('db-b', labels);
    await everywhere(async (one) => (await one.resolve('db.warren')).length === 2, 2000);
    await b.kill();
    const isDead = (one: WorldNode) =>
      one.model.peers().some(({ name, status }) => name === b.name && status === 'dead');
    while (!isDead(c)) await world.advance(20);
    expect(await c.resolve('db.warren')).toHaveLength(1);
    expect(await c.resolve('db-b.node-1.warren')).toEqual(['NXDOMAIN']);
    await b.start();
    await world.settle();
    expect(await everywhere(async (one) => (await one.resolve('db.warren')).length === 2, 3000)).toBeLessThan(
      3000,
    );
  });

  it('are answered to pods and nodes alone, of all nodes and backwards', async () => {
    const [a, b] = nodes as [WorldNode, WorldNode];
    const pod = await a.addPod('web');
    await everywhere(async (one) => (await one.resolve('web.node-0.warren'))[0] === pod.addresses[0], 2000);
    const [v4, v6] = pod.addresses as [string, string];
    expect(await b.resolve('web.node-0.warren', { from: v4 })).toEqual([v4]);
    expect(await b.resolve('web.node-0.warren', { type: 'AAAA', from: v6 })).toEqual([v6]);
    expect(await b.resolve('web.node-0.warren', { from: '192.0.2.1' })).toEqual(['REFUSED']);
    const reversed = v4.split('.').reverse().join('.');
    expect(await b.resolve(`${reversed}.in-addr.arpa`, { type: 'PTR' })).toEqual(['web.node-0.warren']);
    expect(await b.resolve('node-0.warren')).toEqual([a.model.status().tun.addresses[0]]);
    expect(await b.resolve('example.com')).toEqual(['SERVFAIL']);
    expect(b.model.status().dns.queries).toMatchObject({ refused: 1, failed: 1 });
  });

  it('wait for a port that is taken, and say so', async () => {
    const node = world.add();
    nodes.push(node);
    node.names.isTaken = true;
    await node.start();
    await world.settle();
    const problems = () => node.model.status().cluster.problems.join();
    expect(problems()).toContain('another program has port 53');
    expect(node.model.status().dns.addresses).toEqual([]);
    node.names.isTaken = false;
    await world.advance(11_000);
    expect(problems()).toBe('');
    expect(node.model.status().dns.addresses).toEqual(node.model.status().tun.addresses);
    expect(await node.resolve('node-1.warren')).toHaveLength(1);
  });

  it('are told to pods with a namespace of their own, which keep that over a restart', async () => {
    const [a] = nodes as [WorldNode];
    a.names.files.set('/run/netns/warren-node-0-gone', 'of an earlier run');
    await a.addPod('web');
    await world.advance(100);
    const [v4, v6] = a.model.status().tun.addresses;
    const text = `nameserver ${v4}\nnameserver ${v6}\nsearch warren\n`;
    const file = a.model.pods()[0]!.netns;
    expect(a.names.files.get(file)).toBe(text);
    await a.stop();
    expect(a.names.files.get(file)).toBe(text);
    await a.start();
    await world.settle();
    await world.advance(100);
    expect([...a.names.files]).toEqual([[file, text]]);
    await a.commands.removePod('web');
    await world.advance(100);
    expect([...a.names.files]).toEqual([]);
    await a.addPod('db');
    a.configFile = () => a.config('dns: {enabled: false}');
    await world.advance(100);
    expect(a.names.files.size).toBe(1);
    await a.commands.reload();
    await world.advance(100);
    expect(a.names.files.size).toBe(0);
  });

  it('can be turned off and on', async () => {
    const [a] = nodes as [WorldNode];
    a.configFile = () => a.config('dns: {enabled: false}');
    expect((await a.commands.reload()).changed).toEqual(['dns.enabled']);
    await world.advance(10);
    expect(a.names.listeners.size).toBe(0);
    expect(a.model.status().dns).toMatchObject({ enabled: false, addresses: [] });
    a.configFile = () => a.config();
    await a.commands.reload();
    await world.advance(10);
    expect(await a.resolve('node-1.warren')).toHaveLength(1);
    await a.stop();
    expect(a.names.listeners.size).toBe(0);
  });
});
