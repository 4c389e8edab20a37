/** Each of the ways in which a healthy node is kept from being declared dead, seen to be what saves it. */
import { describe, expect, it } from 'vitest';
import { type MembershipTiming, timingPresets } from '../../src/membership/timing.ts';
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
    let worst = 0;
    for (let step = 0; step < 6_000; step++) {
      // Shorter than any answer takes: a score that lasts for a moment is seen.
      whole.clock.advance(0.4);
      worst = Math.max(worst, ...nodes.slice(0, 4).map((node) => node.membership.health));
    }
    expect(sum(nodes.slice(0, 4), 'probesFailed')).toBeGreaterThan(0);
    expect(worst).toBe(0);
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

  /** Node 1 is cut off from node 0, and has just become suspect there. */
  async function suspected(timing: MembershipTiming) {
    const whole = new SimulatedCluster({ seed, timing });
    const [a, b] = await whole.startAll(2);
    whole.clock.advance(5_000);
    whole.network.partition([a!.host], [b!.host]);
    expect(whole.clock.advanceUntil(() => a!.named('suspect').length > 0, 5_000)).toBeDefined();
    return { whole, a: a!, b: b! };
  }

  it.each([
    ['is told so by the node that pings it, and refutes', true],
    ['is not told so without the buddy system, and dies', false],
  ])('that is suspect %s', async (_what, tellsSuspects) => {
    // News is told once, and is lost with the partition.
    const timing = { ...timingPresets.lan, tellsSuspects, retransmitMultiplier: 0 };
    const { whole, a } = await suspected(timing);
    whole.clock.advance(600);
    whole.network.heal();
    whole.clock.advance(10_000);
    expect(a.membership.counters().deaths).toBe(tellsSuspects ? 0 : 1);
  });

  it('that hears of it at the very last moment can still refute', async () => {
    // Of two nodes neither can wait for a witness: the time is at its minimum, and no ping is due then.
    const timing = { ...timingPresets.lan, suspicionMultiplier: 4.5, awarenessMaxMultiplier: 1 };
    const { whole, a } = await suspected(timing);
    whole.clock.advance(timing.suspicionMultiplier * timing.probeIntervalMs - 20);
    const { probes } = a.membership.counters();
    whole.network.heal();
    whole.clock.advance(260);
    expect(a.membership.counters().probes).toBe(probes);
    expect(a.named('alive')).toContain('node-1');
    whole.clock.advance(10_000);
    expect(a.membership.counters().deaths).toBe(0);
  });
});
