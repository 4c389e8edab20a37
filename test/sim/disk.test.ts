/** A disk that is full, or has become read-only, ends no agent: it goes on with what it has in memory. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { generateClusterKey, parseKeyRing } from '../../src/link/key-ring.ts';
import { podRange, SimulatedCluster } from '../../src/simulate/cluster.ts';

const FULL = /no space left on device/;

describe.each([1, 2])('a disk that refuses, seed %i', (seed) => {
  it('keeps nobody from new keys and members; all is written when it can be', async () => {
    const cluster = new SimulatedCluster({ seed, keyRing: parseKeyRing(generateClusterKey(), 'test') });
    const [a, b] = await cluster.startAll(2);
    cluster.clock.advance(5_000);
    b!.isDiskFull = true;
    const key = a!.keys.add(new Uint8Array(randomBytes(32)));
    await a!.keys.use(key, { force: true });
    await cluster.add().start();
    cluster.clock.advance(10_000);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    expect(b!.storedKeys.load()).toBeUndefined();
    expect(b!.membership.problems()).toHaveLength(2);
    for (const problem of b!.membership.problems()) expect(problem).toMatch(FULL);
    // A command that cannot be kept is refused, and has changed nothing.
    expect(() => b!.keys.add(new Uint8Array(32).fill(1))).toThrow(FULL);
    b!.isDiskFull = false;
    cluster.clock.advance(15_000);
    expect(b!.storedKeys.load()?.primary).toBe(key);
    expect(b!.storedMembership!.lessees).toHaveLength(2);
    expect(b!.membership.problems()).toEqual([]);
  });

  it('keeps no node from giving up a subnet that it cannot have', async () => {
    const cluster = new SimulatedCluster({ seed, podCidrs: [podRange('10.42.0.0/24', 24)] });
    const a = cluster.add([1]);
    const b = cluster.add([0]);
    cluster.network.partition([a.host], [b.host]);
    await Promise.all([a.start(), b.start()]);
    cluster.clock.advance(15_000);
    b.setPods(1);
    a.isDiskFull = true;
    cluster.network.heal();
    cluster.clock.advance(15_000);
    expect(a.leases.state().status).toBe('exhausted');
    expect(a.leases.problems()).toEqual([
      expect.stringMatching(/no subnet is free/),
      expect.stringMatching(FULL),
    ]);
    expect(a.storedLease).toBeDefined();
    a.isDiskFull = false;
    cluster.clock.advance(10_000);
    expect(a.storedLease).toBeUndefined();
    expect(a.leases.problems()).toHaveLength(1);
  });
});
