/** Each of the ways in which a healthy node is kept from being declared dead, seen to be what saves it. */
import { describe, expect, it } from 'vitest';
import { timingPresets } from '../../src/membership/timing.ts';
import { SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const sum = (nodes: readonly SimulatedNode[], counter: string) =>
  nodes.reduce((total, node) => total + node.membership.counters()[counter]!, 0);

describe.each([1, 2, 3])('a healthy node, seed %i', (seed) => {
  async function cluster(count: number) {
    const whole = new SimulatedCluster({ seed });
    const nodes = await whole.startAll(count);
    whole.clock.advance(5_000);
    return { whole, nodes, hosts: nodes.map(({ host }) => host) };
  }

  it('that answers over TCP alone is alive, and the others say what is blocked', async () => {
    const { whole, nodes, hosts } = await cluster(4);
    const [blocked] = hosts;
    whole.network.reaches = (from, to, via) => via === 'stream' || (from !== blocked && to !== blocked);
    whole.clock.advance(60_000);
    expect(sum(nodes.slice(1), 'probesOnlyTcp')).toBeGreaterThan(10);
    expect(sum(nodes, 'deaths')).toBe(0);
    expect(whole.agreesOnAlive(nodes)).toBe(true);
  });

  it.each([3, 5])('that one other of %i cannot reach is vouched for by the rest', async (count) => {
    const { whole, nodes, hosts } = await cluster(count);
    const [a, b] = hosts;
    whole.network.reaches = (from, to) => !((from === a && to === b) || (from === b && to === a));
    whole.clock.advance(120_000);
    // Each probe of one by the other fails directly, and none in the end.
    expect(sum(nodes, 'probesFailed')).toBe(0);
    expect(sum(nodes, 'suspicions')).toBe(0);
    expect(whole.agreesOnAlive(nodes)).toBe(true);
  });

  it('does not doubt itself because of a dead one: helpers say that they hear nothing either', async () => {
    const { whole, nodes } = await cluster(5);
    await nodes[4]!.kill();
    whole.clock.advance(3_000);
    for (const node of nodes.slice(0, 4)) expect(node.membership.health).toBe(0);
  });

  it('doubts itself when it hears nothing from anyone, and no more when it does', async () => {
    const { whole, nodes, hosts } = await cluster(5);
    whole.network.partition(hosts.slice(0, 4), hosts.slice(4));
    const cutOff = nodes[4]!.membership;
    whole.clock.advance(4_000);
    expect(cutOff.health).toBeGreaterThan(1);
    whole.network.heal();
    whole.clock.advance(30_000);
    expect(cutOff.health).toBe(0);
    expect(whole.agreesOnAlive(nodes)).toBe(true);
  });

  /** Node 1 is suspect on node 0 alone, and no news of that or of its refutation spreads. */
  async function suspectedBy(timing = timingPresets.lan) {
    const whole = new SimulatedCluster({ seed, timing });
    const [a, b] = await whole.startAll(2);
    whole.clock.advance(5_000);
    return { whole, a: a!, b: b! };
  }

  it.each([
    ['is told so by the node that pings it, and refutes', true],
    ['is not told so without the buddy system, and dies', false],
  ])('that is suspect %s', async (_what, tellsSuspects) => {
    const { whole, a, b } = await suspectedBy({ ...timingPresets.lan, tellsSuspects, retransmitMultiplier: 0 });
    // Only b cannot be heard; it hears everything.
    b.host.pause(1_200);
    expect(whole.clock.advanceUntil(() => a.named('suspect').length > 0, 5_000)).toBeDefined();
    whole.clock.advance(20_000);
    expect(a.membership.counters().deaths).toBe(tellsSuspects ? 0 : 1);
    expect(b.membership.counters().refutations! > 0).toBe(tellsSuspects);
  });
});
