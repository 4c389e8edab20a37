import { describe, expect, it } from 'vitest';
import { podRange, SimulatedCluster } from '../../src/simulate/cluster.ts';

const twoSubnets = [podRange('10.42.0.0/23', 24)];

describe.each([1, 2, 3])('a node forgotten on purpose, seed %i', (seed) => {
  async function withDeadNode() {
    const cluster = new SimulatedCluster({ seed, podCidrs: twoSubnets });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    const subnet = b!.subnets;
    await b!.kill();
    const c = cluster.add();
    await c.start();
    cluster.clock.advance(30_000);
    expect(a!.named('dead')).toEqual(['node-1']);
    expect(c.leases.state().status).toBe('exhausted');
    return { cluster, a: a!, b: b!, c, subnet };
  }

  it('frees its lease at once for a node that could get none', async () => {
    const { cluster, a, b, c, subnet } = await withDeadNode();
    a.membership.forget('node-1');
    const tookMs = cluster.clock.advanceUntil(() => c.leases.state().status === 'active', 10_000);
    expect(tookMs).toBeLessThan(3_000);
    expect(c.subnets).toBe(subnet);
    expect(c.leases.problems()).toEqual([]);
    // It returns, and must claim anew; the range is full now.
    await b.start();
    cluster.clock.advance(10_000);
    expect(b.leases.state()).toEqual({ status: 'exhausted', prefixes: [] });
    expect(c.subnets).toBe(subnet);
    expect(cluster.agreesOnAlive([a, b, c])).toBe(true);
  });

  it('claims anew when it returns, and gets what is free', async () => {
    const { cluster, a, b, c } = await withDeadNode();
    await c.stop();
    a.membership.forget(b.id);
    cluster.clock.advance(5_000);
    expect(a.membership.member(b.id)).toBeUndefined();
    const statuses: string[] = [];
    await b.start();
    b.leases.on('change', () => statuses.push(b.leases.state().status));
    cluster.clock.advance(15_000);
    expect(statuses).toContain('claiming');
    expect(b.leases.state().status).toBe('active');
    expect(a.membership.member(b.id)!.status).toBe('alive');
  });

  it('stays forgotten for nodes that restart and nodes that were away', async () => {
    const { cluster, a, b, c } = await withDeadNode();
    cluster.network.partition([a.host], [b.host, c.host]);
    cluster.clock.advance(20_000);
    a.membership.forget('node-1');
    cluster.clock.advance(5_000);
    await a.kill();
    await a.start();
    cluster.clock.advance(5_000);
    cluster.network.heal();
    cluster.clock.advance(60_000);
    for (const node of [a, c]) expect(node.membership.member(b.id)).toBeUndefined();
    expect(c.leases.state().status).toBe('active');
  });

  it('keeps its subnet under live pods if nobody has taken it', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: twoSubnets });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    b!.setPods(2);
    const subnet = b!.subnets;
    cluster.network.partition([a!.host], [b!.host]);
    cluster.clock.advance(60_000);
    a!.membership.forget('node-1');
    cluster.network.heal();
    const seen = new Set<string>();
    b!.leases.on('change', () => seen.add(b!.subnets));
    cluster.clock.advance(30_000);
    expect(b!.leases.state().status).toBe('active');
    expect([...seen]).toEqual([subnet]);
    expect(a!.leases.owners().some(({ memberId }) => memberId === b!.id)).toBe(true);
  });

  it('is refused for a node that is alive, unknown or not the only one of its name', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a] = await cluster.startAll(2);
    cluster.clock.advance(3_000);
    expect(() => a!.membership.forget('node-1')).toThrow(/node-1 is alive: only a node that is gone/);
    expect(() => a!.membership.forget('nobody')).toThrow(/there is no node nobody/);
  });
});
