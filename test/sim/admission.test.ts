/** Approvals and revocations in clusters of many nodes: how fast they are everywhere, and who comes late. */
import { describe, expect, it } from 'vitest';
import type { AdmissionRules } from '../../src/admission/admission.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { identityOf, podRange, SimulatedCluster, type SimulatedNode } from '../../src/simulate/cluster.ts';

const approversOf = (seed: number): readonly string[] => [identityOf(seed, 0).id, identityOf(seed, 1).id];

function say(on: SimulatedNode, verdict: 'approved' | 'revoked', ...nodes: SimulatedNode[]): void {
  const said = on.admission!.say(
    verdict,
    nodes.map(({ id, name }) => ({ id, name })),
  );
  on.membership.admissionNews.announce(said);
}

/** Started with the allowlist; the approvers then approve all but the last `pending`. */
async function approvedCluster(seed: number, count: number, pending = 0) {
  const admission: AdmissionRules = { mode: 'allowlist', approvers: approversOf(seed) };
  const cluster = new SimulatedCluster({ seed, admission });
  const nodes = await cluster.startAll(count);
  cluster.clock.advance(5_000);
  say(nodes[0]!, 'approved', ...nodes.slice(2, count - pending));
  const approved = nodes.slice(0, count - pending);
  expect(cluster.clock.advanceUntil(() => cluster.allActive(approved), 20_000)).toBeDefined();
  cluster.clock.advance(2_000);
  return { cluster, nodes, approved };
}

const owns = (seenBy: SimulatedNode, node: SimulatedNode) =>
  seenBy.leases.owners().some(({ memberId }) => memberId === node.id);

describe.each([1, 2, 3])('admission, seed %i', (seed) => {
  it('keeps a node that is not approved from a subnet, and gives it one when it is', async () => {
    const { cluster, nodes, approved } = await approvedCluster(seed, 8, 1);
    const last = nodes.at(-1)!;
    expect(last.leases.state()).toEqual({ status: 'pending', prefixes: [] });
    expect(cluster.agreesOnAlive(nodes)).toBe(true);
    say(nodes[1]!, 'approved', last);
    expect(cluster.clock.advanceUntil(() => cluster.allActive(nodes), 10_000)).toBeDefined();
    cluster.clock.advance(2_000);
    for (const node of approved) expect(owns(node, last)).toBe(true);
  });

  it('ends the forwarding of a revoked node everywhere within 5 s, with packets lost too', async () => {
    const { cluster, nodes, approved } = await approvedCluster(seed, 60);
    cluster.network.quality = { ...cluster.network.quality, loss: 0.1 };
    const last = nodes.at(-1)!;
    last.setPods(1);
    cluster.clock.advance(1_000);
    say(nodes[1]!, 'revoked', last);
    const isGone = () => approved.every((node) => !owns(node, last) && !node.admission!.admits(last.id));
    expect(cluster.clock.advanceUntil(isGone, 20_000)).toBeLessThan(5_000);
    expect(last.leases.state().status).toBe('pending');
    expect(last.membership.self().lease).toBeUndefined();
  });

  it('reaches a node that was away, cut off or not running, and is kept over restarts', async () => {
    const { cluster, nodes } = await approvedCluster(seed, 8);
    const [a, , , , , cutOff, stopped, bad] = nodes as readonly SimulatedNode[];
    const hosts = nodes.map(({ host }) => host);
    await stopped!.kill();
    cluster.network.partition(
      hosts.filter((host) => host !== cutOff!.host),
      [cutOff!.host],
    );
    cluster.clock.advance(60_000);
    say(a!, 'revoked', bad!);
    cluster.clock.advance(60_000);
    cluster.network.heal();
    await stopped!.start();
    const knows = (node: SimulatedNode) => node.admission!.standing(bad!.id) === 'revoked';
    expect(cluster.clock.advanceUntil(() => knows(stopped!), 60_000)).toBeLessThan(10_000);
    expect(cluster.clock.advanceUntil(() => knows(cutOff!), 120_000)).toBeLessThan(90_000);
    await stopped!.kill();
    // Cut off from all others it still knows.
    cluster.network.partition([stopped!.host]);
    await stopped!.start();
    expect(knows(stopped!)).toBe(true);
  });

  it('settles what two approvers say at once alike on every node', async () => {
    const { cluster, nodes } = await approvedCluster(seed, 10);
    const [a, b, c, d] = nodes as readonly SimulatedNode[];
    say(a!, 'approved', c!, d!);
    say(b!, 'revoked', c!);
    cluster.clock.advance(5_000);
    for (const node of nodes) {
      expect([c!, d!].map(({ id }) => node.admission!.standing(id))).toEqual(['revoked', 'approved']);
    }
  });

  it('frees the subnet of a revoked node, which asks for it again when it is approved', async () => {
    const { cluster, nodes } = await approvedCluster(seed, 5);
    const [a, , c] = nodes as readonly SimulatedNode[];
    c!.setPods(2);
    const { subnets } = c!;
    cluster.clock.advance(1_000);
    say(a!, 'revoked', c!);
    cluster.clock.advance(5_000);
    // Its pods keep their addresses, which lead nowhere.
    expect(c!.subnets).toBe(subnets);
    expect(c!.storedLease?.state).toBe('claiming');
    say(a!, 'approved', c!);
    expect(cluster.clock.advanceUntil(() => cluster.allActive(nodes), 10_000)).toBeDefined();
    expect(c!.subnets).toBe(subnets);
  });

  it('lets another node have the subnet of one that is revoked, be it there or away', async () => {
    const admission: AdmissionRules = { mode: 'allowlist', approvers: approversOf(seed) };
    const podCidrs = [podRange('10.42.0.0/28', 30), podRange('fd42::/124', 126)];
    const cluster = new SimulatedCluster({ seed, admission, podCidrs });
    const nodes = await cluster.startAll(6);
    const [a, , c, d, e, f] = nodes as readonly [SimulatedNode, ...SimulatedNode[]];
    say(a, 'approved', c!, d!);
    expect(cluster.clock.advanceUntil(() => cluster.allActive(nodes.slice(0, 4)), 20_000)).toBeDefined();
    say(a, 'approved', e!, f!);
    cluster.clock.advance(5_000);
    expect([e, f].map((node) => node!.leases.state().status)).toEqual(['exhausted', 'exhausted']);
    const [there, away] = [c!.subnets, d!.subnets];
    await d!.kill();
    cluster.clock.advance(30_000);
    say(a, 'revoked', c!, d!);
    expect(cluster.clock.advanceUntil(() => cluster.allActive([e!, f!]), 20_000)).toBeLessThan(5_000);
    expect([e!.subnets, f!.subnets].sort()).toEqual([there, away].sort());
    // It returns late, and has been told nothing.
    await d!.start();
    cluster.clock.advance(10_000);
    expect(d!.leases.state().status).toBe('pending');
    expect(cluster.allActive([e!, f!])).toBe(true);
  });

  it('binds subnets that an orchestrator hands out too', async () => {
    const admission: AdmissionRules = { mode: 'allowlist', approvers: [identityOf(seed, 0).id] };
    const cluster = new SimulatedCluster({ seed, admission, leases: 'assigned' });
    const [a, b] = [cluster.add(), cluster.add()];
    for (const [i, node] of [a, b].entries()) {
      node.assigned = [parsePrefix(`10.42.${i + 1}.0/24`), parsePrefix(`fd42:0:0:${i + 1}::/64`)];
      await node.start();
    }
    cluster.clock.advance(5_000);
    expect([a, b].map((node) => node.leases.state().status)).toEqual(['active', 'pending']);
    expect(b.membership.self().lease).toBeUndefined();
    say(a, 'approved', b);
    cluster.clock.advance(5_000);
    expect([owns(a, b), owns(b, b), b.subnets]).toEqual([true, true, '10.42.2.0/24 fd42:0:0:2::/64']);
    say(a, 'revoked', b);
    cluster.clock.advance(5_000);
    expect([owns(a, b), b.leases.state().status]).toEqual([false, 'pending']);
  });

  it('is passed over by nodes that have none, which see the cluster as before', async () => {
    const { cluster, nodes } = await approvedCluster(seed, 4);
    const without = cluster.add([0], { admission: undefined });
    await without.start();
    const [a, , c] = nodes as readonly SimulatedNode[];
    say(a!, 'revoked', c!);
    cluster.clock.advance(60_000);
    expect(cluster.agreesOnAlive(cluster.nodes)).toBe(true);
    expect(without.membership.counters().refusedUnexpected).toBeGreaterThan(0);
    // It still believes the revoked node, as it always did; the others believe neither.
    for (const node of nodes) expect(owns(node, without)).toBe(node === without);
  });
});
