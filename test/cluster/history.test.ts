/** What whole agents tell of the last minutes: rates, what happened, who has which subnet, and links of each other. */
import { afterEach, expect, it } from 'vitest';
import type { LinkReport } from '../../src/readmodel/reports.ts';
import { World, type WorldNode } from './world.ts';

let world: World;

afterEach(() => world.stop());

function told(node: WorldNode): string[] {
  return node.model.events().map(({ kind, node }) => `${node} ${kind}`);
}

it('rates of what pods send, on both ends, and on the map of a third', async () => {
  world = new World(21);
  const [a, b, c] = (await world.cluster(3, { encapsulation: 'wireguard', withoutGroupProbes: true })) as [
    WorldNode,
    WorldNode,
    WorldNode,
  ];
  const web = await a.addPod('web');
  const db = await b.addPod('db');
  for (let i = 0; i < 120; i++) {
    web.send(db.addresses[0]!, { bytes: 1000 });
    await world.advance(100);
  }
  const sent = a.model.history(0);
  expect(sent.times.length).toBeGreaterThanOrEqual(2);
  const toB = sent.peers.find(({ name }) => name === b.name)!;
  // Ten a second, of 1,000 bytes; and a probe of the path's MTU each second.
  const isRight = (rate: number | undefined) => rate! > 9900 && rate! < 12_000;
  expect(toB.outboundBytes.at(-1)).toSatisfy(isRight);
  const fromA = b.model.history(0).peers.find(({ name }) => name === a.name)!;
  expect(fromA.inboundBytes.at(-1)).toSatisfy(isRight);
  expect(a.model.history(sent.sequence).times).toEqual([]);

  let links: readonly LinkReport[] | undefined;
  const asked = c.commands.links().then((all) => {
    links = all;
  });
  await world.until(() => links !== undefined, 10_000);
  await asked;
  const link = { from: a.model.status().node.id, to: b.model.status().node.id, isSealed: true };
  expect(links).toContainEqual(expect.objectContaining(link));
});

it('a node that dies, is forgotten, and one that joins', async () => {
  world = new World(22);
  const [a, b] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
  expect(told(a)).toContain(`${b.name} joined`);
  await b.kill();
  await world.until(() => told(a).includes(`${b.name} died`), 30_000);
  expect(told(a).slice(0, 2)).toEqual([`${b.name} died`, `${b.name} suspect`]);
  a.commands.forget(b.name);
  expect(told(a)[0]).toBe(`${b.name} forgotten`);
});

it('who has which subnet, and that a node that is gone keeps its own', async () => {
  world = new World(23);
  const [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
  const subnet = b.model.status().lease.subnets[0]!;
  const ofB = () => a.model.leases().leases.find(({ node }) => node === b.name);
  expect(a.model.leases().ranges).toEqual([
    { range: '10.42.0.0/16', nodePrefixLength: 24 },
    { range: 'fd42::/48', nodePrefixLength: 64 },
  ]);
  expect(ofB()).toMatchObject({ status: 'alive', state: 'active', conflicts: [] });
  expect(ofB()!.subnets).toContain(subnet);
  expect(ofB()!.slots[0]).toEqual({ range: 0, index: Number(subnet.split('.')[2]) });
  await b.kill();
  await world.until(() => ofB()?.status === 'dead', 30_000);
  expect(ofB()!.subnets).toContain(subnet);
});
