import { describe, expect, it } from 'vitest';
import { pack } from '../../src/link/packing.ts';
import { Sealer } from '../../src/link/seal.ts';
import { encodeMessage } from '../../src/membership/codec.ts';
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

  it('is forgotten by one that missed an earlier time, too', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a, b, c] = await cluster.startAll(3);
    cluster.clock.advance(10_000);
    cluster.network.partition([a!.host, b!.host], [c!.host]);
    cluster.clock.advance(30_000);
    // Behind the back of c: b is forgotten, returns in its next generation, and is forgotten again.
    for (let time = 0; time < 2; time++) {
      await b!.kill();
      cluster.clock.advance(30_000);
      a!.membership.forget('node-1');
      if (time > 0) break;
      await b!.start();
      cluster.clock.advance(15_000);
      expect(b!.leases.state().status).toBe('active');
    }
    expect(c!.named('dead')).toContain('node-1');
    cluster.network.heal();
    cluster.clock.advance(60_000);
    expect(c!.membership.member(b!.id)).toBeUndefined();
    expect(cluster.agreesOnAlive([a!, c!])).toBe(true);
    const before = c!.membership.counters();
    cluster.clock.advance(200_000);
    const { pushPulls, pushPullsSame } = c!.membership.counters();
    expect(pushPulls! - before.pushPulls!).toBe(pushPullsSame! - before.pushPullsSame!);
  });

  it('stays so though the one that was told, or the one that heard of it, restarts at once', async () => {
    const { cluster, a, b, c } = await withDeadNode();
    cluster.network.partition([a.host], [c.host]);
    a.membership.forget('node-1');
    await a.kill();
    await a.start();
    expect(a.membership.member(b.id)).toBeUndefined();
    cluster.network.heal();
    cluster.clock.advance(30_000);
    // A newcomer hears of the tombstone of a node that it never knew, and keeps it.
    const d = cluster.add();
    await d.start();
    cluster.clock.advance(5_000);
    const e = cluster.add([3]);
    await Promise.all([a, c, d].map((node) => node.kill()));
    await d.start();
    await e.start();
    await b.start();
    cluster.clock.advance(20_000);
    expect(e.membership.member(b.id)).toBeUndefined();
  });

  it('is one of many: a flood of tombstones, old and new, does no harm', async () => {
    const { cluster, a, b, c } = await withDeadNode();
    const forget = (member: string, ageSeconds: number) =>
      a.host.handlers!.datagram(
        c.host.endpoint,
        new Sealer('simulated', undefined).seal(
          { kind: 'datagram', last: true, session: '0'.repeat(16), receiver: 0, number: 1 },
          pack([encodeMessage({ kind: 'forget', member, generation: 0, ageSeconds })]),
        ),
      );
    for (let i = 0; i < 1024; i++) forget((i + 1).toString(16).padStart(32, '0'), 0);
    forget('f'.repeat(32), 10);
    expect(a.membership.counters().bugs).toBe(0);
    forget(b.id, 0);
    cluster.clock.advance(1_000);
    forget(b.id, 0);
    expect(a.membership.member(b.id)).toBeUndefined();
  });

  it('is refused for a node that is alive, unknown or not the only one of its name', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a] = await cluster.startAll(2);
    cluster.clock.advance(3_000);
    expect(() => a!.membership.forget('node-1')).toThrow(/node-1 is alive: only a node that is gone/);
    expect(() => a!.membership.forget('nobody')).toThrow(/there is no node nobody/);
  });
});
