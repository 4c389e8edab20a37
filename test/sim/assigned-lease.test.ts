/** Nodes whose subnets an orchestrator hands out, among nodes that lease theirs by gossip. */
import { describe, expect, it } from 'vitest';
import { formatPrefix, type Prefix, parsePrefix } from '../../src/ip/prefix.ts';
import { timingPresets } from '../../src/membership/timing.ts';
import { podRange, SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

/** Four subnets. */
const podCidrs = [podRange('10.42.0.0/22', 24)];
const ASSIGNED = { leases: 'assigned' } as const;

function subnet(number: number): Prefix[] {
  return [parsePrefix(`10.42.${number}.0/24`)];
}

function ownersText(node: SimulatedNode): string[] {
  return node.leases
    .owners()
    .map(({ prefix, memberId }) => `${formatPrefix(prefix)} ${node.membership.member(memberId)!.name}`)
    .sort();
}

function stateOf(node: SimulatedNode): string {
  return `${node.leases.state().status} ${node.subnets}`.trim();
}

describe.each([1, 2, 3])('assigned leases, seed %i', (seed) => {
  it('are as good as leased ones: all agree on whose is whose, and who leases keeps off', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const nodes = [cluster.add(), cluster.add([0], ASSIGNED), cluster.add([0], ASSIGNED), cluster.add()];
    nodes[1]!.assigned = subnet(2);
    nodes[2]!.assigned = subnet(0);
    await Promise.all(nodes.map((node) => node.start()));
    // What others hear of it first has its subnet in it; pods start when it is known that nobody else has it.
    expect(nodes[1]!.membership.self().lease).toMatchObject({ state: 'active', prefixes: subnet(2) });
    expect(nodes[1]!.leases.state().status).toBe('joining');
    expect(cluster.clock.advanceUntil(() => cluster.allActive(), 10_000)).toBeLessThan(4_000);
    cluster.clock.advance(2_000);
    expect([nodes[1]!, nodes[2]!].map(stateOf)).toEqual(['active 10.42.2.0/24', 'active 10.42.0.0/24']);
    expect(new Set([nodes[0]!.subnets, nodes[3]!.subnets])).toEqual(
      new Set(['10.42.1.0/24', '10.42.3.0/24']),
    );
    for (const node of nodes) {
      expect(ownersText(node)).toHaveLength(4);
      expect(ownersText(node)).toEqual(ownersText(nodes[0]!));
      expect(node.leases.problems()).toEqual([]);
    }
  });

  it('wait for the word of the orchestrator, and for both families of it', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a, b] = [cluster.add(), cluster.add([0], ASSIGNED)];
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(20_000);
    expect(stateOf(b)).toBe('joining');
    expect(b.leases.problems()).toEqual(['no subnet is assigned to this node']);
    expect(ownersText(a).map((line) => line.split(' ')[1])).toEqual(['node-0', 'node-0']);
    const both = [parsePrefix('10.42.7.0/24'), parsePrefix('fd42:0:0:7::/64')];
    for (const wrong of [
      both.slice(0, 1),
      [both[0]!, parsePrefix('10.42.8.0/24')],
      [parsePrefix('10.9.0.0/24'), both[1]!],
    ])
      expect(() => b.assign(wrong)).toThrow(/is no subnet of cluster\.podCidrs/);
    expect(stateOf(b)).toBe('joining');
    b.assign(both);
    expect(stateOf(b)).toBe('active 10.42.7.0/24 fd42:0:0:7::/64');
    cluster.clock.advance(2_000);
    expect(ownersText(a)).toEqual(ownersText(b));
    expect(ownersText(a)).toContain('fd42:0:0:7::/64 node-1');
    expect(b.leases.problems()).toEqual([]);
  });

  it('move at once where no pods run, and never under running ones', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const [a, b] = [cluster.add([1], ASSIGNED), cluster.add([0], ASSIGNED)];
    a.assigned = subnet(0);
    b.assigned = subnet(1);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(5_000);
    b.assign(subnet(2));
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
    b.setPods(1);
    cluster.clock.advance(2_000);
    expect(a.membership.member(b.id)!.lease).toMatchObject({ inUse: true });

    const seen: string[] = [];
    b.leases.on('change', () => seen.push(stateOf(b)));
    b.assign(subnet(3));
    cluster.clock.advance(60_000);
    expect(new Set(seen)).toEqual(new Set(['active 10.42.2.0/24']));
    expect(b.leases.problems()).toEqual([
      '10.42.3.0/24 is assigned to this node, and its pods run in 10.42.2.0/24: it is taken when they are gone',
    ]);
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-0', '10.42.2.0/24 node-1']);
    b.setPods(0);
    expect(stateOf(b)).toBe('active 10.42.3.0/24');
    expect(b.leases.problems()).toEqual([]);
    cluster.clock.advance(2_000);
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-0', '10.42.3.0/24 node-1']);
    // Taken back, or said again: nothing waits any more.
    b.setPods(1);
    b.assign(subnet(1));
    b.assign(subnet(3));
    expect(b.leases.problems()).toEqual([]);
    b.setPods(0);
    expect(stateOf(b)).toBe('active 10.42.3.0/24');
  });

  it('are given up when the orchestrator takes them away, after the last pod, and others can have them', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/24', 24)] });
    const [a, b] = [cluster.add([1], ASSIGNED), cluster.add([0])];
    a.assigned = subnet(0);
    await a.start();
    cluster.clock.advance(10_000);
    await b.start();
    a.setPods(1);
    cluster.clock.advance(5_000);
    expect([a, b].map(stateOf)).toEqual(['active 10.42.0.0/24', 'exhausted']);
    a.assign([]);
    cluster.clock.advance(5_000);
    expect(stateOf(a)).toBe('active 10.42.0.0/24');
    expect(a.leases.problems()[0]).toMatch(
      /^no subnet is assigned to this node, and its pods run in 10\.42\.0/,
    );
    a.setPods(0);
    expect(stateOf(a)).toBe('joining');
    expect(a.storedLease).toBeUndefined();
    cluster.clock.advance(5_000);
    expect(stateOf(b)).toBe('active 10.42.0.0/24');
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-1']);
  });

  it('outlive restarts while the orchestrator is away; with pods, also what it says then', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const [a, b] = [cluster.add(), cluster.add([0], ASSIGNED)];
    b.assigned = subnet(2);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(10_000);
    const restart = async (says: Prefix[] | undefined) => {
      await b.kill();
      b.assigned = says;
      await b.start();
      cluster.clock.advance(5_000);
    };
    await restart(undefined);
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
    b.setPods(1);
    await restart(subnet(3));
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
    expect(b.leases.problems()[0]).toMatch(/^10\.42\.3\.0\/24 is assigned .* run in 10\.42\.2\.0\/24/);
    b.podCount = 0;
    await restart(a.leases.state().prefixes[0]!.value === subnet(3)[0]!.value ? subnet(1) : subnet(3));
    expect(b.subnets).not.toBe('10.42.2.0/24');
    expect(stateOf(b)).toMatch(/^active /);
    // Pods in a subnet that the configuration does not know any more: to be put right by a person.
    b.storedLease = { state: 'active', prefixes: [parsePrefix('10.9.0.0/24')], reclaims: 0 };
    await b.kill();
    b.podCount = 1;
    await expect(b.start()).rejects.toThrow(/10\.9\.0\.0\/24 is no subnet of cluster\.podCidrs/);
    b.podCount = 0;
    b.assigned = subnet(2);
    await b.start();
    cluster.clock.advance(5_000);
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
  });

  it('may be the i-th subnet of one family and the j-th of the other, which takes both from those that lease', async () => {
    const ranges = [podRange('10.42.0.0/22', 24), podRange('fd42::/48', 64)];
    const cluster = new SimulatedCluster({ seed, podCidrs: ranges });
    const nodes = [cluster.add(), cluster.add([0], ASSIGNED), cluster.add([0], ASSIGNED), cluster.add()];
    nodes[1]!.assigned = [parsePrefix('fd42:0:0:900::/64'), parsePrefix('10.42.0.0/24')];
    nodes[2]!.assigned = [parsePrefix('10.42.1.0/24'), parsePrefix('fd42:0:0:2::/64')];
    await nodes[1]!.start();
    await nodes[2]!.start();
    cluster.clock.advance(10_000);
    await nodes[0]!.start();
    cluster.clock.advance(10_000);
    await nodes[3]!.start();
    cluster.clock.advance(10_000);
    expect([nodes[1]!, nodes[2]!].map(stateOf)).toEqual([
      'active 10.42.0.0/24 fd42:0:0:900::/64',
      'active 10.42.1.0/24 fd42:0:0:2::/64',
    ]);
    // Of the four that lease can choose from, 0, 1 and 2 are taken.
    expect([nodes[0]!, nodes[3]!].map(stateOf)).toEqual(['active 10.42.3.0/24 fd42:0:0:3::/64', 'exhausted']);
    for (const node of nodes) {
      expect(ownersText(node)).toHaveLength(6);
      expect(ownersText(node)).toEqual(ownersText(nodes[0]!));
    }
    // Half of what another one has is not to be had either.
    nodes[2]!.assign([parsePrefix('10.42.1.0/24'), parsePrefix('fd42:0:0:900::/64')]);
    cluster.clock.advance(2_000);
    expect(nodes[2]!.leases.state().status).toBe('lost');
    expect(ownersText(nodes[0]!).join()).not.toContain('node-2');
    // What it had is free now.
    cluster.clock.advance(10_000);
    expect(stateOf(nodes[3]!)).toBe('active 10.42.2.0/24 fd42:0:0:2::/64');
    for (const node of nodes) expect(ownersText(node)).toEqual(ownersText(nodes[0]!));
  });

  it('win over what was leased: a node without pods leases another subnet, one with pods is lost', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const [a, b] = [cluster.add(), cluster.add([0])];
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(10_000);
    b.setPods(1);
    cluster.clock.advance(5_000);
    const [first, second] = [a.leases.state().prefixes, b.leases.state().prefixes];
    const [c, d] = [cluster.add([0], ASSIGNED), cluster.add([0], ASSIGNED)];
    c.assigned = first;
    d.assigned = second;
    await Promise.all([c.start(), d.start()]);
    cluster.clock.advance(10_000);
    expect([c, d].map(stateOf)).toEqual([first, second].map((one) => `active ${one.map(formatPrefix)}`));
    expect(stateOf(a)).toMatch(/^active/);
    expect(stateOf(b)).toBe(`lost ${second.map(formatPrefix)}`);
    expect(b.leases.problems()[0]).toMatch(/is also leased by node-3, which keeps it/);
    for (const node of [a, b, c, d]) expect(ownersText(node)).toEqual(ownersText(c));
    // With pods in it, and another one assigned, it is no more than a lease.
    c.setPods(1);
    const other = [0, 1, 2, 3]
      .map(subnet)
      .find((one) => !ownersText(a).join().includes(formatPrefix(one[0]!)))!;
    c.assign(other);
    d.assign(first);
    cluster.clock.advance(2_000);
    expect(stateOf(d)).toBe(`active ${first.map(formatPrefix)}`);
    expect(stateOf(c)).toBe(`lost ${first.map(formatPrefix)}`);
  });

  it('of a subnet that another node has are lost by the same rule, until it is free or another is assigned', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const a = cluster.add([1], ASSIGNED);
    a.assigned = subnet(seed);
    await a.start();
    cluster.clock.advance(10_000);
    const [b, c] = [cluster.add([0], ASSIGNED), cluster.add([0], ASSIGNED)];
    b.assigned = c.assigned = a.leases.state().prefixes;
    await Promise.all([b.start(), c.start()]);
    cluster.clock.advance(10_000);
    for (const node of [b, c]) {
      expect(stateOf(node)).toBe(`lost ${a.subnets}`);
      expect(node.leases.problems()).toEqual([
        `${a.subnets} is also leased by node-0, which keeps it: no pods can start here until another subnet is assigned`,
      ]);
    }
    for (const node of [a, b, c]) expect(ownersText(node)).toEqual([`${a.subnets} node-0`]);
    const other = (a.leases.state().prefixes[0]!.value >> 8n) % 4n === 1n ? subnet(2) : subnet(1);
    c.assign(other);
    expect(stateOf(c)).toBe(`active ${other.map(formatPrefix).join(' ')}`);
    const taken = a.subnets;
    a.leases.release();
    const tookMs = cluster.clock.advanceUntil(() => b.leases.state().status === 'active', 10_000);
    expect(tookMs).toBeLessThan(5_000);
    // The other had the time to say that it is there after all: 2 + 2 ceil(log2 3) gossip intervals.
    expect(tookMs).toBeGreaterThanOrEqual(6 * timingPresets.lan.gossipIntervalMs);
    expect(b.subnets).toBe(taken);
    expect(b.leases.problems()).toEqual([]);
    cluster.clock.advance(2_000);
    expect(ownersText(c)).toEqual(ownersText(b));
  });

  it('beat a claim that has yet to settle, and a lease without pods where they have some', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/23', 24)] });
    const [a, b] = [cluster.add([1]), cluster.add([0], ASSIGNED)];
    b.assigned = subnet(0);
    cluster.network.partition([a.host], [b.host]);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(15_000);
    expect([a, b].map(({ leases }) => leases.state().status)).toEqual(['active', 'active']);
    b.assign(a.leases.state().prefixes);
    b.setPods(1);
    const contested = b.subnets;
    cluster.network.heal();
    cluster.clock.advance(20_000);
    expect(stateOf(b)).toBe(`active ${contested}`);
    expect(a.leases.state().status).toBe('active');
    expect(a.subnets).not.toBe(contested);
    expect(ownersText(a)).toEqual(ownersText(b));
  });

  it('are not announced before they are on the disk, and are tried again', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs });
    const [a, b] = [cluster.add([1], ASSIGNED), cluster.add([0], ASSIGNED)];
    a.assigned = subnet(0);
    b.assigned = subnet(1);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(10_000);
    b.isDiskFull = true;
    b.assign(subnet(2));
    cluster.clock.advance(30_000);
    expect(stateOf(b)).toBe('active 10.42.1.0/24');
    expect(ownersText(a)).toContain('10.42.1.0/24 node-1');
    expect(b.leases.problems()[0]).toMatch(/^cannot write the lease: no space left on device/);
    b.isDiskFull = false;
    cluster.clock.advance(10_000);
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
    expect(b.storedLease!.prefixes).toEqual(subnet(2));
    expect(b.leases.problems()).toEqual([]);
    b.isDiskFull = true;
    expect(() => b.leases.release()).toThrow(/no space left/);
    expect(stateOf(b)).toBe('active 10.42.2.0/24');
    b.isDiskFull = false;
    b.leases.release();
    expect(stateOf(b)).toBe('released');
    cluster.clock.advance(2_000);
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-0']);
  });

  it('of a node that was forgotten are announced anew, and yield to who has taken the subnet', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/24', 24)] });
    const [a, b] = [cluster.add([1], ASSIGNED), cluster.add([0], ASSIGNED)];
    b.assigned = subnet(0);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(10_000);
    const cutOff = () => {
      cluster.network.partition([a.host], [b.host]);
      cluster.clock.advance(30_000);
      a.membership.forget(b.id);
    };
    cutOff();
    cluster.network.heal();
    cluster.clock.advance(20_000);
    expect(stateOf(b)).toBe('active 10.42.0.0/24');
    expect(ownersText(a)).toEqual(['10.42.0.0/24 node-1']);
    cutOff();
    a.assign(subnet(0));
    expect(stateOf(a)).toBe('active 10.42.0.0/24');
    cluster.clock.advance(2_000);
    cluster.network.heal();
    cluster.clock.advance(20_000);
    expect([a, b].map(stateOf)).toEqual(['active 10.42.0.0/24', 'lost 10.42.0.0/24']);
    expect(ownersText(b)).toEqual(['10.42.0.0/24 node-0']);
  });
});
