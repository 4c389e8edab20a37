import { describe, expect, it } from 'vitest';
import { generateClusterKey, parseKeyRing } from '../../src/link/key-ring.ts';
import { pack } from '../../src/link/packing.ts';
import { Sealer } from '../../src/link/seal.ts';
import { encodeMessage } from '../../src/membership/codec.ts';
import { SimulatedCluster } from '../../src/simulate/cluster.ts';

const seeds = [1, 2, 3];

describe.each(seeds)('membership, seed %i', (seed) => {
  it('three nodes started at once know each other within a second', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = await cluster.startAll(3);
    const tookMs = cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 10_000);
    expect(tookMs).toBeLessThan(1000);
  });

  it('a killed node is dead for both others within 5 s, and alive at once when it is back', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a, b, c] = await cluster.startAll(3);
    cluster.clock.advance(5_000);
    const before = c!.membership.self().incarnation;
    await c!.kill();
    const isDead = () => [a!, b!].every((node) => node.named('dead').includes('node-2'));
    const deadMs = cluster.clock.advanceUntil(isDead, 10_000);
    expect(deadMs).toBeLessThan(5_000);
    expect(deadMs).toBeGreaterThan(1_000);
    await c!.start();
    const backMs = cluster.clock.advanceUntil(() => cluster.agreesOnAlive([a!, b!, c!]), 10_000);
    expect(backMs).toBeLessThan(1_000);
    expect(a!.membership.member(c!.id)!.incarnation).toBeGreaterThan(before);
  });

  it('nodes that were there before their seed join it as soon as it is there', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = Array.from({ length: 20 }, () => cluster.add());
    const [first, ...others] = nodes;
    await Promise.all(others.map((node) => node.start()));
    cluster.clock.advance(20_000);
    expect(others[0]!.named('alive')).toEqual(['node-1']);
    await first!.start();
    const tookMs = cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 20_000);
    expect(tookMs).toBeLessThan(1_500);
  });

  it('a node that lost the memory of its incarnation goes above the one others know', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a, , c] = await cluster.startAll(3);
    cluster.clock.advance(3_000);
    for (let i = 0; i < 20; i++) c!.membership.updateSelf({});
    cluster.clock.advance(3_000);
    const before = a!.membership.member(c!.id)!.incarnation;
    await c!.kill();
    c!.storedMembership = undefined;
    await c!.start();
    cluster.clock.advance(2_000);
    expect(a!.membership.member(c!.id)!.incarnation).toBeGreaterThan(before);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
  });

  it('a node that leaves has left for the others, and is not called dead', async () => {
    const cluster = new SimulatedCluster({ seed });
    const [a, b, c] = await cluster.startAll(3);
    cluster.clock.advance(3_000);
    const leaving = c!.membership.leave();
    cluster.clock.advance(2_000);
    await leaving;
    await c!.stop();
    cluster.clock.advance(20_000);
    for (const node of [a!, b!]) {
      expect(node.named('left')).toEqual(['node-2']);
      expect(node.named('dead')).toEqual([]);
    }
  });

  it('twenty nodes split in two and healed find each other again, whatever was declared', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = await cluster.startAll(20);
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 20_000)).toBeDefined();
    const hosts = nodes.map((node) => node.host);
    cluster.network.partition(hosts.slice(0, 10), hosts.slice(10));
    const isSplit = () => cluster.agreesOnAlive(nodes.slice(0, 10)) && cluster.agreesOnAlive(nodes.slice(10));
    expect(cluster.clock.advanceUntil(isSplit, 60_000)).toBeDefined();
    cluster.clock.advance(60_000);
    cluster.network.heal();
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 60_000)).toBeLessThan(20_000);
  });

  it('loses nobody under 10 % loss, duplication and reordering', async () => {
    const quality = { delayMs: [0.2, 40], loss: 0.1, duplication: 0.05 } as const;
    const cluster = new SimulatedCluster({ seed, quality });
    const nodes = await cluster.startAll(20);
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 20_000)).toBeDefined();
    cluster.clock.advance(300_000);
    const deaths = nodes.reduce((sum, node) => sum + node.membership.counters().deaths!, 0);
    expect(deaths).toBe(0);
  });

  it('a node with another key, no key, or a key too much never joins and says why', async () => {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const cluster = new SimulatedCluster({ seed, keyRing });
    const a = cluster.add([]);
    const b = cluster.add();
    const stranger = cluster.add([0, 1], { keyRing: parseKeyRing(generateClusterKey(), 'test') });
    await Promise.all([a.start(), b.start(), stranger.start()]);
    cluster.clock.advance(60_000);
    expect(cluster.agreesOnAlive([a, b])).toBe(true);
    expect(stranger.membership.outcome).toBe('joining');
    expect(stranger.leases.state()).toEqual({ status: 'joining', prefixes: [] });
    expect(stranger.membership.problems()).toEqual([
      'seed 10.0.0.1:7946 refused us: its cluster key or cluster name differs from ours',
      'seed 10.0.0.2:7946 refused us: its cluster key or cluster name differs from ours',
    ]);
    expect(a.membership.members()).toHaveLength(2);
    expect(a.membership.counters().refusedKey).toBeGreaterThan(0);
    expect(a.membership.problems()).toEqual([]);
  });

  it('believes no witness that it does not know: a suspect has its whole time', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = await cluster.startAll(6);
    cluster.clock.advance(5_000);
    const [a, ...others] = nodes;
    cluster.network.partition([a!.host]);
    cluster.clock.advanceUntil(() => a!.named('suspect').length > 0, 10_000);
    const suspect = others.find((node) => node.name === a!.named('suspect')[0])!;
    const { incarnation } = a!.membership.member(suspect.id)!;
    const froms = [suspect.id, ...Array.from({ length: 9 }, (_, i) => `${i}`.padStart(32, '0'))];
    for (const from of froms) {
      a!.host.handlers!.datagram(
        others[0]!.host.endpoint,
        new Sealer('simulated', undefined).seal(
          { kind: 'datagram', last: true, session: '0'.repeat(16), receiver: 0, number: 1 },
          pack([encodeMessage({ kind: 'suspect', member: suspect.id, incarnation, from })]),
        ),
      );
    }
    cluster.clock.advance(10_000);
    expect(a!.membership.member(suspect.id)!.status).toBe('suspect');
    cluster.clock.advance(10_000);
    expect(a!.membership.member(suspect.id)!.status).toBe('dead');
  });

  it('a node paused for 30 s neither stays dead nor takes others with it', async () => {
    const cluster = new SimulatedCluster({ seed });
    const nodes = await cluster.startAll(5);
    cluster.clock.advance(5_000);
    nodes[4]!.host.pause(30_000);
    cluster.clock.advance(29_000);
    expect(nodes[0]!.named('dead')).toEqual(['node-4']);
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 30_000)).toBeLessThan(10_000);
    expect(nodes[4]!.membership.counters().deaths).toBe(0);
  });
});
