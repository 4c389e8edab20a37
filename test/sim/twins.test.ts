/** Two agents with one key: others are not tossed to and fro, and say so; the younger one ends where it can tell. */
import { describe, expect, it } from 'vitest';
import type { WarrenError } from '../../src/errors.ts';
import { formatEndpoint } from '../../src/ip/endpoint.ts';
import { SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const MINUTE_MS = 60_000;

async function setUp(seed: number) {
  const cluster = new SimulatedCluster({ seed });
  const [a, b, c] = await cluster.startAll(3);
  cluster.clock.advance(MINUTE_MS);
  expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
  const bystanders = [a!, c!];
  const { id } = b!;
  const moves = new Map(bystanders.map((node) => [node, 0]));
  for (const node of bystanders) {
    node.membership.on('change', (member, previous) => {
      if (member.id !== id || !previous) return;
      const [before, now] = [previous, member].map(({ vtep }) => formatEndpoint(vtep));
      if (before !== now) moves.set(node, moves.get(node)! + 1);
    });
  }
  /** Where the others send what is for b. */
  const homes = () => bystanders.map(({ membership }) => membership.member(id)!.gossip);
  const copy = async (endsItself: boolean) => {
    const twin = cluster.add();
    twin.keyNumber = 1;
    twin.storedMembership = b!.storedMembership;
    twin.storedLease = b!.storedLease;
    await twin.start();
    const errors: WarrenError[] = [];
    for (const node of [twin, b!]) {
      node.membership.on('twin', (error) => {
        errors.push(error);
        if (endsItself) void node.kill();
      });
    }
    return { twin, errors };
  };
  return { cluster, b: b!, bystanders, moves, homes, copy };
}

const twinProblems = ({ membership }: SimulatedNode) =>
  membership.problems().filter((text) => text.includes('two agents run with the identity of'));

describe.each([1, 2, 3, 4, 5])('a copied state folder, seed %i', (seed) => {
  it('moves nothing after a few times, is told of everywhere, and is over when one of the two is', async () => {
    const { cluster, b, bystanders, moves, homes, copy } = await setUp(seed);
    const { twin } = await copy(false);
    await cluster.clock.run(MINUTE_MS);
    const before = [...moves.values()];
    for (const count of before) expect(count).toBeLessThan(20);
    await cluster.clock.run(10 * MINUTE_MS);
    expect([...moves.values()]).toEqual(before);
    expect(homes()).toEqual([b.host.endpoint, b.host.endpoint]);
    for (const node of bystanders) expect(twinProblems(node)).toHaveLength(1);
    for (const node of bystanders) expect(node.named('alive')).toContain('node-1');
    await twin.kill();
    await cluster.clock.run(3 * MINUTE_MS);
    for (const node of bystanders) expect(twinProblems(node)).toEqual([]);
    expect(homes()).toEqual([b.host.endpoint, b.host.endpoint]);
    expect([...moves.values()]).toEqual(before);
  });

  it('the one that is left is believed, also where it is the copy', async () => {
    const { cluster, b, bystanders, homes, copy } = await setUp(seed);
    const { twin } = await copy(false);
    await cluster.clock.run(2 * MINUTE_MS);
    await b.kill();
    await cluster.clock.run(5 * MINUTE_MS);
    expect(homes()).toEqual([twin.host.endpoint, twin.host.endpoint]);
    for (const node of bystanders) {
      expect(twinProblems(node)).toEqual([]);
      expect(node.membership.member(b.id)!.status).toBe('alive');
    }
  });

  it('the agent that came second ends by itself, and the first goes on', async () => {
    const { cluster, b, homes, copy } = await setUp(seed);
    const { twin, errors } = await copy(true);
    await cluster.clock.run(3 * MINUTE_MS);
    expect(errors.map(({ code }) => code)).toEqual(['IDENTITY_IN_USE']);
    expect([twin.isRunning, b.isRunning]).toEqual([false, true]);
    expect(homes()).toEqual([b.host.endpoint, b.host.endpoint]);
    expect(b.leases.state().status).toBe('active');
  });
});

it('a node that restarts, moves and loses what it knew is no twin of itself', async () => {
  const { cluster, b, bystanders } = await setUp(6);
  const errors: WarrenError[] = [];
  for (let run = 0; run < 5; run++) {
    await b.kill();
    if (run % 2 === 0) b.storedMembership = undefined;
    await b.start();
    b.membership.on('twin', (error) => errors.push(error));
    await cluster.clock.run(5000);
  }
  expect(errors).toEqual([]);
  for (const node of bystanders) expect(twinProblems(node)).toEqual([]);
  expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
});
