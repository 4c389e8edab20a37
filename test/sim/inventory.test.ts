/** Attachments as all nodes know them: in time, after loss, partitions and restarts, and against an owner that lies. */
import { describe, expect, it } from 'vitest';
import { decodeEntry, encodeEntry } from '../../src/inventory/entry.ts';
import { encodePullAnswer, PullAnswerReader } from '../../src/inventory/pull-messages.ts';
import { parseAddress } from '../../src/ip/address.ts';
import { generateClusterKey, parseKeyRing } from '../../src/link/key-ring.ts';
import { timingPresets } from '../../src/membership/timing.ts';
import type { Rpc } from '../../src/rpc/rpc.ts';
import type { SimulatedNode } from '../../src/simulate/cluster.ts';
import {
  attachment,
  InventoryCluster,
  type InventoryClusterOptions,
} from '../../src/simulate/inventory-cluster.ts';
import { measureInventorySpread } from '../../src/simulate/inventory-spread.ts';

const timing = timingPresets.lan;
const SHOP = {
  ...{ id: 'shop/eth0', name: 'shop', network: '', labels: { app: 'shop' } },
  addresses: [parseAddress('10.42.7.7')],
};
const shopAddress = SHOP.addresses[0]!;

async function clusterOf(count: number, attachments: number, options: Partial<InventoryClusterOptions> = {}) {
  const all = new InventoryCluster({ seed: 1, ...options });
  await all.start(count, attachments);
  const settle = (limitMs = 60_000) => all.clock.runUntil(() => all.isSettled, limitMs);
  expect(await settle()).toBeDefined();
  expect(all.agrees()).toBe(true);
  return { all, nodes: all.nodes, clock: all.clock, settle };
}

describe.each([1, 2])('attachments, seed %i', (seed) => {
  it('are known to all within a second, with little more than one call each', async () => {
    const options = { seed, nodes: 40, attachments: 20, changes: 40, loss: 0, timing } as const;
    const result = await measureInventorySpread({ ...options, first: 'teller' });
    expect(result.knownToAll.p99).toBeLessThan(1000);
    expect(result.callsPerChange).toBeLessThan(1.5);
    expect(result.mostCallsAtOnce).toBeLessThan(20);
    // The newcomer pulls from a few what many have.
    expect(result.lateJoinMs).toBeLessThan(2000);
    expect(result.healMs - result.healKnownMs).toBeLessThan(1000);
    // At rest nothing is pulled.
    expect(result.bytesAtRest.stream).toBeLessThan(10);
  });

  it('are known to all within a second where 1 % of the packets are lost', async () => {
    const options = { seed, nodes: 30, attachments: 10, changes: 40, loss: 0.01, timing } as const;
    const result = await measureInventorySpread({ ...options, first: 'teller' });
    expect(result.knownToAll.p99).toBeLessThan(1000);
  });

  it('keep their version over a restart of their owner, and are not pulled again where they are the same', async () => {
    const { all, nodes, clock, settle } = await clusterOf(5, 10, { seed });
    const [owner, ...others] = nodes;
    for (const kind of ['stop', 'kill'] as const) {
      const before = others[0]!.inventories.node(owner!.id)!.version!;
      const taken = others.map(({ inventories }) => inventories.counters().taken!);
      await owner![kind]();
      await owner!.node.start();
      expect(await settle()).toBeDefined();
      expect(others[0]!.inventories.node(owner!.id)!.version).toBeGreaterThan(before);
      expect(others.map(({ inventories }) => inventories.counters().taken!)).toEqual(taken);
      owner!.set({ ...SHOP, name: `after ${kind}` });
      await clock.run(1000);
      expect(await settle()).toBeDefined();
      expect(all.agrees()).toBe(true);
    }
  });

  it('are known to all where gossip and calls are sealed, and owners are asked by few', async () => {
    const keyRing = parseKeyRing(generateClusterKey(), 'test');
    const { all, nodes, clock, settle } = await clusterOf(20, 5, { seed, keyRing });
    const before = nodes[0]!.inventories.counters().served!;
    for (let i = 0; i < 5; i++) {
      nodes[0]!.set({ ...SHOP, name: `shop-${i}` });
      await clock.run(700);
      expect(nodes[19]!.inventories.holders(shopAddress)).toMatchObject([{ entry: { name: `shop-${i}` } }]);
    }
    expect(await settle()).toBeDefined();
    expect(all.agrees()).toBe(true);
    // 19 others, five times.
    expect(nodes[0]!.inventories.counters().served! - before).toBeLessThan((19 * 5) / 2);
  });

  it('come together after a partition in which both sides went on', async () => {
    const { all, nodes, clock, settle } = await clusterOf(10, 5, { seed });
    const hosts = nodes.map(({ node }) => node.host);
    all.cluster.network.partition(hosts.slice(0, 3), hosts.slice(3));
    await clock.run(40_000);
    nodes[0]!.set(SHOP);
    nodes[5]!.delete([...nodes[5]!.attached.keys()][0]!);
    await clock.run(5_000);
    expect(nodes[1]!.inventories.holders(shopAddress)).toHaveLength(1);
    expect(nodes[5]!.inventories.holders(shopAddress)).toEqual([]);
    // What the other side was last known to have is there, with its state.
    expect(nodes[5]!.inventories.node(nodes[0]!.id)).toMatchObject({ status: 'dead', isCurrent: true });
    all.cluster.network.heal();
    expect(await settle()).toBeLessThan(30_000);
    expect(all.agrees()).toBe(true);
    expect(nodes[5]!.inventories.holders(shopAddress)).toMatchObject([{ nodeId: nodes[0]!.id, entry: SHOP }]);
  });
});

describe('what others believe of a node', () => {
  it("is shown by address, with its node's state, until the node has left", async () => {
    const { nodes, clock } = await clusterOf(4, 2);
    const [a, b, c] = nodes;
    const changes: string[] = [];
    b!.inventories.on('change', ({ nodeId, set, deleted }) => {
      if (nodeId === a!.id)
        changes.push(...set.map(({ name }) => `+${name}`), ...deleted.map((id) => `-${id}`));
    });
    a!.set(SHOP);
    await clock.run(1000);
    expect(b!.inventories.holders(shopAddress)).toEqual([{ nodeId: a!.id, status: 'alive', entry: SHOP }]);
    a!.delete(SHOP.id);
    await clock.run(1000);
    expect(b!.inventories.holders(shopAddress)).toEqual([]);
    expect(changes).toEqual(['+shop', '-shop/eth0']);
    // Two that claim one address: the living first.
    a!.set(SHOP);
    c!.set({ ...SHOP, id: 'other' });
    await clock.run(1000);
    await a!.kill();
    await clock.run(10_000);
    expect(b!.inventories.holders(shopAddress).map(({ status }) => status)).toEqual(['alive', 'dead']);
    expect(b!.inventories.node(a!.id)!.entries).toHaveLength(3);
    const leaving = c!.node.membership.leave();
    await clock.run(1000);
    await leaving;
    await c!.stop();
    expect(b!.inventories.node(c!.id)).toBeUndefined();
    expect(b!.inventories.holders(shopAddress).map(({ status }) => status)).toEqual(['dead']);
    expect([...b!.inventories.entries()]).toHaveLength(2 + 2 + 3);
    // Forgotten on one node, gone on all.
    nodes[3]!.node.membership.forget(a!.id);
    await clock.run(2000);
    expect(b!.inventories.node(a!.id)).toBeUndefined();
    expect(b!.inventories.holders(shopAddress)).toEqual([]);
  });

  it('comes from others where the node itself is gone', async () => {
    const { all, nodes, clock } = await clusterOf(4, 3);
    await nodes[3]!.kill();
    await clock.run(10_000);
    const late = all.add(1);
    await late.node.start();
    await clock.run(5_000);
    expect(late.inventories.node(nodes[3]!.id)).toMatchObject({ status: 'dead', isCurrent: true });
    expect(late.inventories.node(nodes[3]!.id)!.entries).toHaveLength(3);
  });

  it('is what it signed: one that gives other entries is not believed, and is named', async () => {
    const lying = new Set<SimulatedNode>();
    const { all, nodes, clock, settle } = await clusterOf(4, 3, {
      rpcOf: (node) => forging(node.rpc, () => lying.has(node)),
    });
    const [liar, b, c] = nodes;
    lying.add(liar!.node);
    liar!.set(SHOP);
    await clock.run(5_000);
    for (const { inventories } of [b!, c!]) {
      expect(inventories.node(liar!.id)).toMatchObject({ isCurrent: false });
      expect(inventories.node(liar!.id)!.entries.map(({ name }) => name)).toEqual([
        'pod-0-0',
        'pod-0-1',
        'pod-0-2',
      ]);
      expect(inventories.problems()).toEqual([expect.stringMatching(/^node node-0 lists other attachments/)]);
    }
    lying.clear();
    expect(await settle()).toBeDefined();
    expect(all.agrees()).toBe(true);
    expect(b!.inventories.problems()).toEqual([]);
  });

  it('does not suffer where one that others ask lies of it', async () => {
    const lying = new Set<SimulatedNode>();
    const { all, nodes, clock, settle } = await clusterOf(8, 3, {
      rpcOf: (node) => forging(node.rpc, () => lying.has(node)),
    });
    for (const { node } of nodes.slice(1, 4)) lying.add(node);
    nodes[0]!.set(SHOP);
    await clock.run(1_000);
    expect(await settle()).toBeLessThan(2_000);
    expect(all.agrees()).toBe(true);
  });

  it('is asked of agents without an inventory by nobody', async () => {
    const all = new InventoryCluster({ seed: 1 });
    const old = all.cluster.add();
    await old.start();
    const a = all.add(2);
    const b = all.add(2);
    await Promise.all([a.node.start(), b.node.start()]);
    await all.clock.run(10_000);
    a.set(attachment(1, 50));
    await all.clock.run(2_000);
    expect(b.inventories.node(a.id)!.entries).toHaveLength(3);
    expect(b.inventories.node(old.id)).toBeUndefined();
    expect(b.inventories.problems()).toEqual([]);
    expect(b.inventories.counters().failed).toBe(0);
  });
});

/** Renames every attachment in what it answers, while `isLying`. */
function forging(rpc: Rpc, isLying: () => boolean): Rpc {
  return {
    call: (...question) => rpc.call(...question),
    stream: (...question) => rpc.stream(...question),
    serve: (method, handler) =>
      rpc.serve(method, async function* (...question) {
        const reader = new PullAnswerReader(decodeEntry);
        for await (const part of await handler(...question)) {
          const read = reader.read(part);
          if (!isLying() || !read.ok || !read.value) {
            yield part;
            continue;
          }
          const entries = read.value.entries.map(
            ({ entry }) => encodeEntry({ ...entry, name: 'forged' })!.stored,
          );
          yield* encodePullAnswer({ ...read.value, entries });
        }
      }),
  };
}
