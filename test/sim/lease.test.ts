import { describe, expect, it } from 'vitest';
import { formatPrefix } from '../../src/ip/prefix.ts';
import { timingPresets } from '../../src/membership/timing.ts';
import { podRange, SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const seeds = [1, 2, 3];

/** Each subnet in use, once for each node that holds it as active. */
function activeSubnets(nodes: readonly SimulatedNode[]): string[] {
  return nodes.filter((node) => node.leases.state().status === 'active').map((node) => node.subnets);
}

function ownersText(node: SimulatedNode): string[] {
  return node.leases
    .owners()
    .map(({ prefix, memberId }) => `${formatPrefix(prefix)} ${node.membership.member(memberId)!.name}`)
    .sort();
}

describe.each(seeds)('leases, seed %i', (seed) => {
  it('three nodes started at once have each their own subnets, and all agree on whose is whose', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = await cluster.startAll(3);
    expect(cluster.clock.advanceUntil(() => cluster.allActive(), 10_000)).toBeLessThan(4_000);
    cluster.clock.advance(2_000);
    expect(new Set(activeSubnets(nodes)).size).toBe(3);
    expect(nodes[0]!.subnets).toMatch(/^10\.42\.\d+\.0\/24 fd42:.*\/64$/);
    expect(ownersText(nodes[0]!)).toHaveLength(6);
    for (const node of nodes) expect(ownersText(node)).toEqual(ownersText(nodes[0]!));
  });

  it('twenty nodes started at once in a range of 32 never share one', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/19', 24)] });
    for (let i = 0; i < 20; i++) cluster.add([0, 1, 2]);
    await Promise.all(cluster.nodes.map((node) => node.start()));
    for (let step = 0; step < 3000; step++) {
      cluster.clock.advance(10);
      const active = activeSubnets(cluster.nodes);
      expect(new Set(active).size, `shared at ${cluster.clock.now()} ms`).toBe(active.length);
    }
    expect(cluster.allActive()).toBe(true);
  });

  it('a killed node comes back with the same subnet, and nobody takes it meanwhile', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/22', 24)] });
    const nodes = await cluster.startAll(3);
    cluster.clock.advance(10_000);
    const subnet = nodes[2]!.subnets;
    await nodes[2]!.kill();
    cluster.clock.advance(20_000);
    expect(ownersText(nodes[0]!)).toHaveLength(2);
    const d = cluster.add();
    const e = cluster.add();
    await d.start();
    cluster.clock.advance(10_000);
    await e.start();
    cluster.clock.advance(10_000);
    expect(d.leases.state().status).toBe('active');
    expect(d.subnets).not.toBe(subnet);
    expect(e.leases.state()).toEqual({ status: 'exhausted', prefixes: [] });
    expect(e.leases.problems()[0]).toMatch(/no subnet is free/);
    await nodes[2]!.start();
    const backMs = cluster.clock.advanceUntil(() => nodes[2]!.leases.state().status === 'active', 10_000);
    expect(backMs).toBeLessThan(1_000);
    expect(nodes[2]!.subnets).toBe(subnet);
    cluster.clock.advance(5_000);
    expect(ownersText(nodes[0]!)).toEqual(ownersText(nodes[2]!));
    expect(ownersText(nodes[0]!)).toHaveLength(4);
  });

  it('a dead node is forgotten with its lease after the retention, and its subnet is free', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/23', 24)] });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    await b!.kill();
    const c = cluster.add();
    await c.start();
    cluster.clock.advance(23 * 3600_000);
    expect(c.leases.state().status).toBe('exhausted');
    cluster.clock.advance(2 * 3600_000);
    expect(c.leases.state().status).toBe('active');
    expect(c.subnets).toBe(b!.subnets);
    // The old owner returns, without pods: it makes way.
    await b!.start();
    cluster.clock.advance(10_000);
    expect(b!.leases.state().status).toBe('exhausted');
    expect(ownersText(a!)).toEqual(ownersText(c));
    expect(c.leases.state().status).toBe('active');
  });

  it('after a partition a subnet given out twice has one owner: the one with pods', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/24', 24)] });
    const a = cluster.add([1]);
    const b = cluster.add([0]);
    cluster.network.partition([a.host], [b.host]);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(15_000);
    expect([a, b].map((node) => node.leases.state().status)).toEqual(['active', 'active']);
    b.setPods(1);
    cluster.network.heal();
    cluster.clock.advance(15_000);
    expect(b.leases.state().status).toBe('active');
    expect(a.leases.state().status).toBe('exhausted');
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-1']);
  });

  it('a loser with pods keeps them and raises an alarm until they are gone', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/23', 24)] });
    const a = cluster.add([1]);
    const b = cluster.add([0]);
    const prefixes = [podRange('10.42.1.0/24', 24).range];
    a.storedLease = b.storedLease = { state: 'active', prefixes, reclaims: 0 };
    a.podCount = b.podCount = 1;
    cluster.network.partition([a.host], [b.host]);
    await a.start();
    cluster.clock.advance(5_000);
    await b.start();
    cluster.clock.advance(15_000);
    cluster.network.heal();
    cluster.clock.advance(15_000);
    expect(a.leases.state().status).toBe('active');
    expect(b.leases.state().status).toBe('lost');
    expect(b.subnets).toBe('10.42.1.0/24');
    expect(b.leases.problems()[0]).toMatch(/also leased by node-0/);
    for (const node of [a, b]) expect(ownersText(node)).toEqual(['10.42.1.0/24 node-0']);
    b.setPods(0);
    cluster.clock.advance(10_000);
    expect(b.leases.state().status).toBe('active');
    expect(b.subnets).toBe('10.42.0.0/24');
  });

  it('a stored lease outside the configured ranges is an error, not another lease', async () => {
    const cluster = new SimulatedCluster({ seed });
    const a = cluster.add([]);
    a.storedLease = { state: 'active', prefixes: [podRange('10.9.0.0/24', 24).range], reclaims: 0 };
    await expect(a.start()).rejects.toThrow(/10\.9\.0\.0\/24 is no subnet of cluster\.podCidrs/);
  });

  it('a node that leaves keeps its subnet; one that releases it first frees it at once', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/23', 24)] });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    const subnet = b!.subnets;
    const leave = async () => {
      const leaving = b!.membership.leave();
      cluster.clock.advance(2_000);
      await leaving;
      await b!.stop();
    };
    await leave();
    const c = cluster.add();
    await c.start();
    cluster.clock.advance(10_000);
    expect(a!.named('left')).toEqual(['node-1']);
    expect(c.leases.state().status).toBe('exhausted');
    await b!.start();
    cluster.clock.advance(5_000);
    expect(b!.subnets).toBe(subnet);
    b!.leases.release();
    expect(b!.leases.state()).toEqual({ status: 'released', prefixes: [] });
    expect(b!.leases.owners().some(({ memberId }) => memberId === b!.id)).toBe(false);
    await leave();
    const tookMs = cluster.clock.advanceUntil(() => c.leases.state().status === 'active', 10_000);
    expect(tookMs).toBeLessThan(2_000);
    expect(c.subnets).toBe(subnet);
    // If it is started again after all, it is a newcomer.
    expect(b!.storedLease).toBeUndefined();
    await b!.start();
    cluster.clock.advance(10_000);
    expect(b!.leases.state().status).toBe('exhausted');
  });

  it("a dead node's lease outlives a restart of the last node that knows of it", async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/23', 24)] });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    const subnet = b!.subnets;
    await b!.kill();
    cluster.clock.advance(20_000);
    await a!.kill();
    cluster.clock.advance(60_000);
    await a!.start();
    const c = cluster.add();
    const d = cluster.add();
    await Promise.all([c.start(), d.start()]);
    cluster.clock.advance(30_000);
    for (const node of [c, d]) expect(node.leases.state()).toEqual({ status: 'exhausted', prefixes: [] });
    expect(a!.named('dead')).toEqual(['node-1']);
    await b!.start();
    cluster.clock.advance(10_000);
    expect(b!.leases.state().status).toBe('active');
    expect(b!.subnets).toBe(subnet);
    expect(cluster.agreesOnAlive([a!, b!, c, d])).toBe(true);
  });

  it('a restarted node takes nobody for dead who is there, and the rest for dead from when they died', async () => {
    const timing = { ...timingPresets.lan, deadRetentionMs: 600_000 };
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/22', 24)], timing });
    const [a, b, c, d] = await cluster.startAll(4);
    cluster.clock.advance(10_000);
    await d!.kill();
    cluster.clock.advance(300_000);
    await a!.kill();
    await a!.start();
    cluster.clock.advance(10_000);
    expect(cluster.agreesOnAlive([a!, b!, c!])).toBe(true);
    for (const node of [a!, b!, c!]) expect(node.membership.counters().refutations).toBe(0);
    expect(a!.named('dead')).toEqual(['node-3']);
    cluster.clock.advance(280_000);
    expect(a!.named('dead')).toEqual(['node-3']);
    // Where the date is lost with the power, what was measured before still counts, and nothing else does.
    for (const node of [a!, b!, c!]) await node.kill();
    a!.reboot();
    a!.wallSkewMs = -365 * 24 * 3600_000;
    await a!.start();
    expect(a!.named('dead')).toContain('node-3');
    cluster.clock.advance(590_000);
    expect(a!.named('dead')).toEqual(['node-1', 'node-2']);
    cluster.clock.advance(20_000);
    expect(a!.named('dead')).toEqual([]);
  });

  it.each([
    ['agents', false],
    ['machines', true],
  ])(
    "survivors whose %s all restart with their clocks 25 h ahead keep a dead node's lease",
    async (_, isReboot) => {
      const timing = { ...timingPresets.lan, deadRetentionMs: 2 * 3600_000 };
      const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/22', 24)], timing });
      const [a, b, c, d] = await cluster.startAll(4);
      cluster.clock.advance(10_000);
      const subnet = d!.subnets;
      await d!.kill();
      cluster.clock.advance(600_000);
      const survivors = [a!, b!, c!];
      for (const node of survivors) await node.kill();
      for (const node of survivors) {
        if (isReboot) node.reboot();
        node.wallSkewMs = 25 * 3600_000;
        await node.start();
      }
      const newcomer = cluster.add();
      newcomer.wallSkewMs = 25 * 3600_000;
      await newcomer.start();
      cluster.clock.advance(60_000);
      expect(newcomer.leases.state().status).toBe('exhausted');
      for (const node of survivors) {
        expect(node.named('dead')).toEqual(['node-3']);
        expect(node.membership.expiredLeases()).toEqual([]);
      }
      // It is free two hours after it died, or a little later, and no earlier.
      cluster.clock.advance(1.8 * 3600_000);
      expect(newcomer.leases.state().status).toBe('exhausted');
      cluster.clock.advance(0.3 * 3600_000);
      expect(newcomer.subnets).toBe(subnet);
    },
  );

  it('time in which a machine was off does not count, and what it was told before does', async () => {
    const timing = { ...timingPresets.lan, deadRetentionMs: 600_000 };
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/22', 24)], timing });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(10_000);
    await b!.kill();
    cluster.clock.advance(300_000);
    await a!.stop();
    cluster.clock.advance(3_600_000);
    a!.reboot();
    await a!.start();
    cluster.clock.advance(280_000);
    expect(a!.named('dead')).toEqual(['node-1']);
    cluster.clock.advance(40_000);
    expect(a!.named('dead')).toEqual([]);
  });

  describe('a lease that ran out while its owner was cut off, and was taken by another', () => {
    const timing = { ...timingPresets.lan, deadRetentionMs: 60_000 };

    /** Both sides of a partition outlast the retention; on the side of a, `taker` takes what b has. */
    async function taken(companions: number) {
      const podCidrs = [podRange(companions > 0 ? '10.42.0.0/22' : '10.42.0.0/23', 24)];
      const cluster = new SimulatedCluster({ seed, podCidrs, timing });
      const nodes = await cluster.startAll(2 + companions);
      const [a, b, ...others] = nodes as SimulatedNode[];
      cluster.clock.advance(10_000);
      const away = [b!, ...others];
      for (const node of nodes) node.setPods(1);
      cluster.network.partition(
        [a!.host],
        away.map(({ host }) => host),
      );
      cluster.clock.advance(90_000);
      const takers: SimulatedNode[] = [];
      // As many newcomers as there are subnets to take, and b's among them.
      for (let i = 0; i < (companions > 0 ? 3 : 1); i++) takers.push(cluster.add());
      cluster.network.partition(
        [a!, ...takers].map(({ host }) => host),
        away.map(({ host }) => host),
      );
      for (const taker of takers) await taker.start();
      cluster.clock.advance(10_000);
      const taker = takers.find((node) => node.subnets === b!.subnets);
      for (const node of takers) node.setPods(1);
      return { cluster, a: a!, b: b!, others, takers, taker: taker! };
    }

    it('stays with the taker: the late returner keeps its pods and raises an alarm', async () => {
      const { cluster, a, b, taker } = await taken(0);
      const subnet = b.subnets;
      cluster.network.heal();
      cluster.clock.advance(30_000);
      expect(taker.leases.state().status).toBe('active');
      expect(b.leases.state().status).toBe('lost');
      expect([taker.subnets, b.subnets]).toEqual([subnet, subnet]);
      expect(b.leases.problems()[0]).toMatch(/also leased by node-2/);
      for (const node of [a, b, taker]) expect(ownersText(node)).toEqual(ownersText(taker));
      expect(ownersText(b)).toContain(`${subnet} node-2`);
      expect(a.leases.state().status).toBe('active');
    });

    it('stays with the taker when the returner has no pods, and when it restarts with the date of last year', async () => {
      const { cluster, b, taker } = await taken(0);
      b.setPods(0);
      await b.kill();
      b.wallSkewMs = -365 * 24 * 3600_000;
      await b.start();
      cluster.clock.advance(5_000);
      b.setPods(1);
      cluster.network.heal();
      cluster.clock.advance(30_000);
      expect(taker.leases.state().status).toBe('active');
      expect(b.leases.state().status).toBe('lost');
      // And over a restart of the taker, which is now the younger by far.
      await taker.kill();
      taker.podCount = 1;
      await taker.start();
      cluster.clock.advance(10_000);
      expect(taker.leases.state().status).toBe('active');
      expect(b.leases.state().status).toBe('lost');
      b.setPods(0);
      cluster.clock.advance(10_000);
      expect(b.leases.state().status).toBe('exhausted');
    });

    it('binds a returner that is forgotten with its pods, also while the taker is away', async () => {
      const { cluster, a, b, taker } = await taken(0);
      const subnet = b.subnets;
      cluster.network.heal();
      cluster.clock.advance(30_000);
      const cutOff = () => {
        cluster.network.partition([b.host], [a.host, taker.host]);
        cluster.clock.advance(30_000);
      };
      cutOff();
      expect(b.leases.state().status).toBe('active');
      a.membership.forget(b.id);
      cluster.network.heal();
      cluster.clock.advance(30_000);
      expect(b.leases.state().status).toBe('lost');
      cutOff();
      expect(b.named('dead')).toContain(taker.name);
      expect(b.leases.state().status).toBe('lost');
      cluster.network.heal();
      cluster.clock.advance(30_000);
      expect([taker, b].map((node) => node.leases.state().status)).toEqual(['active', 'lost']);
      expect([taker.subnets, b.subnets]).toEqual([subnet, subnet]);
    });

    it('costs nobody else a lease, though each side let the leases of the other run out', async () => {
      const { cluster, a, b, others, takers, taker } = await taken(2);
      expect(takers.map((node) => node.leases.state().status)).toEqual(['active', 'active', 'active']);
      const changes: string[] = [];
      a.leases.on('change', () => changes.push(a.leases.state().status));
      cluster.network.heal();
      cluster.clock.advance(30_000);
      expect(new Set(changes)).toEqual(new Set(['active']));
      expect(taker.leases.state().status).toBe('active');
      for (const node of [b, ...others]) expect(node.leases.state().status).toBe('lost');
      for (const node of cluster.nodes) expect(ownersText(node)).toEqual(ownersText(a));
    });

    it('is settled in favour of the later of two takers in a row', async () => {
      const { cluster, a, b, taker } = await taken(0);
      await taker.kill();
      cluster.clock.advance(120_000);
      const next = cluster.add();
      cluster.network.partition([a.host, next.host, taker.host], [b.host]);
      await next.start();
      cluster.clock.advance(10_000);
      next.setPods(1);
      expect(next.subnets).toBe(b.subnets);
      cluster.network.heal();
      await taker.start();
      cluster.clock.advance(30_000);
      expect(next.leases.state().status).toBe('active');
      for (const node of [b, taker]) expect(node.leases.state().status).toBe('lost');
    });
  });
});
