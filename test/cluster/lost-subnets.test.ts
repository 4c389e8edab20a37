/** Subnets that are no longer who had them: of a member that is forgotten, and this node's own when another has it. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { formatPrefix } from '../../src/ip/prefix.ts';
import { World, type WorldNode } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

/** Two subnets, and how long a dead node keeps one. */
const RANGE = 'podCidrs: [10.42.0.0/23, "fd42::/63"], nodePrefixLengths: [24, 64], leaseTtl: 60s';

function status(node: WorldNode): string {
  return node.model.status().lease.status;
}

/** What the host and the packet path hold for this node's own. */
function held(node: WorldNode) {
  const { addresses, ownSubnets } = node.host.tun!.network!;
  return { addresses: addresses.length, ownSubnets: ownSubnets.map(formatPrefix) };
}

/** `b` had its lease, was away for too long, and finds that `c` has it. */
async function overtaken(pods: readonly string[]): Promise<[WorldNode, WorldNode, WorldNode]> {
  const [a, b] = (await world.cluster(2, { range: RANGE })) as [WorldNode, WorldNode];
  const c = world.add({ range: RANGE });
  await c.start();
  await world.until(() => status(c) === 'exhausted', 10_000);
  for (const name of pods) await b.addPod(name);
  world.partition([a, c], [b]);
  expect(await world.until(() => status(c) === 'active', 200_000)).toBeDefined();
  expect(status(b)).toBe('active');
  // A claim with pods wins over one without.
  if (pods.length > 0) await c.addPod('new');
  world.partition();
  expect(await world.until(() => status(b) !== 'active', 120_000)).toBeDefined();
  await world.advance(2000);
  return [a, b, c];
}

it('a member that is forgotten while others hold it for alive has no routes there at once', async () => {
  const [a, b, c] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
  const pods = new Map([
    [a, await a.addPod('web')],
    [b, await b.addPod('db')],
  ]);
  const target = await c.addPod('cache');
  await c.kill();
  const isDead = (node: WorldNode) => node.model.status().cluster.members.dead === 1;
  expect(await world.clock.runUntil(() => isDead(a) || isDead(b), 15_000, 0.1)).toBeDefined();
  const [first, other] = isDead(a) ? [a, b] : [b, a];
  expect(other.model.status().cluster.members).toMatchObject({ alive: 2, suspect: 1, dead: 0 });
  first.commands.forget(c.name);
  const isGone = () => !other.model.peers().some(({ name }) => name === c.name);
  expect(await world.until(isGone, 2000)).toBeDefined();
  await world.advance(10);
  const pod = pods.get(other)!;
  world.carried.length = 0;
  pod.send(target.addresses[0]!);
  await world.advance(5);
  expect(world.carried).toEqual([]);
  // "Network unreachable".
  expect(pod.received.at(-1)?.[20]).toBe(3);
});

it('a subnet that another node has by now is let go where no pod needs it', async () => {
  const [a, b, c] = await overtaken([]);
  expect(b.model.status()).toMatchObject({
    lease: { status: 'exhausted', subnets: [] },
    tun: { addresses: [] },
    datapath: { active: false },
  });
  expect(held(b)).toEqual({ addresses: 0, ownSubnets: [] });
  // It leads to its new owner now, from there too.
  expect(b.routesTo(c)).toBe(true);
  expect(b.model.routes().map(({ via }) => via)).not.toContain('local');
  await expect(b.addPod('late')).rejects.toMatchObject({ code: 'NO_SUBNET' });
  // What others put on the device is taken away as ever.
  b.host.tun!.network = { ...b.host.tun!.network!, mtu: 1000 };
  b.host.changed();
  await world.advance(2000);
  expect(b.host.tun!.network!.mtu).toBe(1464);

  await a.commands.leave({ force: false });
  expect(await world.until(() => status(b) === 'active', 60_000)).toBeDefined();
  await world.advance(1000);
  const [web, db] = [await b.addPod('web'), await c.addPod('db')];
  web.send(db.addresses[0]!);
  await world.advance(5);
  expect(db.received).toHaveLength(1);
  expect(b.model.status().datapath.active).toBe(true);
});

it('a subnet that is lost stays for the pods that it has, and goes with the last of them', async () => {
  const [, b, c] = await overtaken(['web', 'db']);
  expect(status(b)).toBe('lost');
  const { subnets } = b.model.status().lease;
  expect(subnets).toEqual(c.model.status().lease.subnets);
  expect(held(b)).toEqual({ addresses: 2, ownSubnets: subnets });
  const [web, db] = [b.pod('web'), b.pod('db')];
  web.send(db.addresses[0]!);
  web.send(b.model.status().tun.addresses[0]!);
  await world.advance(5);
  expect(db.received).toHaveLength(1);
  expect(b.host.received).toHaveLength(1);
  await b.commands.removePod('web');
  await world.advance(2000);
  expect(held(b).ownSubnets).toEqual(subnets);
  await b.commands.removePod('db');
  await world.advance(2000);
  expect(status(b)).toBe('exhausted');
  expect(held(b)).toEqual({ addresses: 0, ownSubnets: [] });
  expect(b.routesTo(c)).toBe(true);
});

it('what an earlier run left on the device goes too', async () => {
  const [, b, c] = await overtaken([]);
  await b.stop();
  // As if that run had ended before it heard of it.
  b.host.tun!.network = { ...b.host.tun!.network!, addresses: c.host.tun!.network!.addresses };
  await b.start();
  await world.until(() => status(b) === 'exhausted', 20_000);
  await world.advance(1000);
  expect(held(b).addresses).toBe(0);
});

it('a subnet that an orchestrator takes away is let go', async () => {
  const assigned = ['10.42.200.0/24', 'fd42:0:0:c8::/64'];
  const a = world.add({ assigned });
  await a.start();
  await world.until(() => status(a) === 'active', 10_000);
  await world.advance(1000);
  expect(held(a).ownSubnets).toEqual(assigned);
  a.assign([]);
  await world.advance(1000);
  expect(held(a)).toEqual({ addresses: 0, ownSubnets: [] });
  a.assign(assigned);
  await world.advance(1000);
  expect(held(a)).toEqual({ addresses: 2, ownSubnets: assigned });
});
