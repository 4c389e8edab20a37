/** Nodes that somebody else names to join through, such as an orchestrator: before it has answered, and after. */
import { describe, expect, it } from 'vitest';
import { MAX_DISCOVERED } from '../../src/membership/join.ts';
import { SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const MINUTE_MS = 60_000;

/** Names what it is told to, some of it each time. */
class Named {
  isPending = true;
  hosts: readonly string[] = [];
  asked = 0;
  seeds() {
    this.asked++;
    const first = (this.asked * MAX_DISCOVERED) % Math.max(1, this.hosts.length);
    return [...this.hosts.slice(first), ...this.hosts.slice(0, first)]
      .slice(0, MAX_DISCOVERED)
      .map((host) => ({ host, port: 7946 }));
  }
}

function hostOf(node: SimulatedNode): string {
  const { address } = node.membership.self().gossip;
  return [24, 16, 8, 0].map((shift) => (Number(address.value) >> shift) & 255).join('.');
}

async function started(count: number) {
  const cluster = new SimulatedCluster({ seed: 1 });
  const named = Array.from({ length: count }, () => new Named());
  const nodes = named.map((discovery) => cluster.add([], { discovery }));
  await Promise.all(nodes.map((node) => node.start()));
  return { cluster, named, nodes };
}

describe('nodes that are named by another', () => {
  it('nobody is alone, and leases, before there was an answer; then all join at once', async () => {
    const { cluster, named, nodes } = await started(3);
    cluster.clock.advance(10 * MINUTE_MS);
    for (const node of nodes) {
      expect(node.membership.outcome).toBe('joining');
      expect(node.leases.state().status).toBe('joining');
    }
    const hosts = nodes.map(hostOf);
    named.forEach((one, i) => {
      Object.assign(one, { hosts, isPending: false });
      nodes[i]!.membership.discoveryChanged();
    });
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), MINUTE_MS)).toBeLessThan(3_000);
    expect(cluster.clock.advanceUntil(() => cluster.allActive(), MINUTE_MS)).toBeLessThan(5_000);
    for (const node of nodes) expect(node.membership.problems()).toEqual([]);
  });

  it('one that names nobody else leaves this node alone', async () => {
    const { cluster, named, nodes } = await started(1);
    Object.assign(named[0]!, { hosts: [hostOf(nodes[0]!)], isPending: false });
    nodes[0]!.membership.discoveryChanged();
    cluster.clock.advance(MINUTE_MS);
    expect(nodes[0]!.membership.outcome).toBe('alone');
    expect(nodes[0]!.leases.state().status).toBe('active');
  });

  it('most run no agent: others of them are tried until one answers, and as few are known at a time', async () => {
    const { cluster, named, nodes } = await started(2);
    const silent = Array.from({ length: 60 }, (_, i) => `10.99.0.${i + 1}`);
    const hosts = [...silent, ...nodes.map(hostOf)];
    named.forEach((one, i) => {
      Object.assign(one, { hosts, isPending: false });
      nodes[i]!.membership.discoveryChanged();
    });
    expect(cluster.clock.advanceUntil(() => cluster.agreesOnAlive(nodes), 10 * MINUTE_MS)).toBeDefined();
    expect(nodes[0]!.membership.problems().length).toBeLessThanOrEqual(MAX_DISCOVERED);
    cluster.clock.advance(10 * MINUTE_MS);
    // It has joined: those that are silent are no problem.
    for (const node of nodes) expect(node.membership.problems()).toEqual([]);
  });
});
