/** Containers of the CNI plugin on whole agents: packets flow between them, every node knows them, and they go. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ipv4Packet } from '../helpers/packets.ts';
import { World, type WorldNode } from './world.ts';

let folder: string;
let world: World;
let a: WorldNode;
let b: WorldNode;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-cni-cluster-'));
  world = new World(1);
  a = world.add({ cniFolder: join(folder, 'a') });
  b = world.add({ cniFolder: join(folder, 'b') });
  for (const node of [a, b]) await node.start();
});
afterEach(async () => {
  await world.stop();
  rmSync(folder, { recursive: true });
});

async function add(node: WorldNode, containerId: string, more: object = {}) {
  const netns = `/run/netns/${containerId}`;
  if (node.attachmentNetwork.identityOf(netns) === undefined) node.attachmentNetwork.makeNamespace(netns);
  const cni = await node.commands.cni();
  const queue = join(folder, node === a ? 'a' : 'b', 'cni-deletes');
  return cni.add({ network: 'warren', containerId, interfaceName: 'eth0', netns, queue, ...more });
}

it('containers are attached once there is a subnet, reach each other, and are known everywhere', async () => {
  await expect(add(a, 'web')).rejects.toMatchObject({ code: 'NO_SUBNET' });
  expect((await a.commands.cni()).status()).toMatchObject({ isReady: false, isLimited: true });
  await world.settle();
  const [web, db] = [
    await add(a, 'web', { name: 'shop/web', labels: { tier: 'front' } }),
    await add(b, 'db', { network: 'other' }),
  ];
  expect((await a.commands.cni()).status()).toEqual({ isReady: true, isLimited: false });
  const { addresses: nameservers } = a.model.status().tun;
  expect(web.dns).toEqual({ nameservers, search: ['warren.warren'] });
  const bare = (cidr: string) => cidr.split('/')[0]!;
  const packet = ipv4Packet(bare(web.addresses[0]!.address), bare(db.addresses[0]!.address));
  a.host.send(packet);
  await world.advance(1000);
  // Probes of the path are carried as well.
  expect(world.carried.filter(({ bytes }) => Buffer.from(packet).equals(bytes.subarray(8)))).toHaveLength(1);
  const known = b.model.inventory().find(({ name }) => name === 'shop/web');
  expect(known).toMatchObject({ node: a.name, labels: { tier: 'front' }, network: 'warren' });
  await (await a.commands.cni()).delete({ network: 'warren', containerId: 'web', interfaceName: 'eth0' });
  await world.advance(1000);
  expect(b.model.inventory().map(({ name }) => name)).toEqual(['db']);
});

it('a container whose runtime went away in the middle of its ADD goes again, everywhere', async () => {
  await world.settle();
  await add(a, 'web');
  await world.advance(1000);
  expect(b.model.inventory().map(({ name }) => name)).toEqual(['web']);
  const gone = new AbortController();
  const netns = '/run/netns/db';
  a.attachmentNetwork.makeNamespace(netns);
  const cni = await a.commands.cni();
  const queue = join(folder, 'a', 'cni-deletes');
  const db = { network: 'warren', containerId: 'db', interfaceName: 'eth0', netns, queue };
  const adding = cni.add(db, gone.signal);
  gone.abort();
  const [address] = (await adding).addresses;
  await world.advance(1000);
  expect(a.links.map(({ id }) => id)).toEqual(['cni/warren/web/eth0']);
  expect(b.model.inventory().map(({ name }) => name)).toEqual(['web']);
  // It may come again, with another address for now.
  expect((await cni.add(db)).addresses[0]).not.toEqual(address);
});

it('while containers come and go nobody looks at the rest of the host, for a second at most', async () => {
  await world.settle();
  await world.advance(2000);
  const looks = vi.spyOn(a.host, 'underlayAt');
  const addOne = async (i: number) => {
    await add(a, `c${i}`);
    // What the kernel says of it.
    a.host.changed();
    await world.advance(50);
  };
  for (let i = 0; i < 10; i++) await addOne(i);
  expect(looks).not.toHaveBeenCalled();
  await world.advance(200);
  expect(looks).toHaveBeenCalledTimes(1);
  for (let i = 10; i < 40; i++) await addOne(i);
  expect(looks.mock.calls.length).toBeGreaterThan(1);
});

it('a deletion that was left is carried out by the next run, and a container survives it', async () => {
  await world.settle();
  await add(a, 'web');
  await add(a, 'db');
  await a.stop();
  writeFileSync(join(folder, 'a', 'cni-deletes', 'warren+web+eth0'), '');
  await a.start();
  await world.settle();
  expect(a.links.map(({ id }) => id)).toEqual(['cni/warren/db/eth0']);
  expect(readdirSync(join(folder, 'a', 'cni-deletes'))).toEqual([]);
});

it('a container that ended while the agent was away is gone ten seconds after its start', async () => {
  await world.settle();
  await add(a, 'web');
  await add(a, 'db');
  await a.stop();
  a.attachmentNetwork.loseNamespace('/run/netns/web');
  await a.start();
  const names = () => a.model.inventory().map(({ name }) => name);
  await world.advance(9000);
  expect(names()).toEqual(['db', 'web']);
  await world.advance(1500);
  expect(names()).toEqual(['db']);
});

it('the network configuration is written when the overlay is up, and stays over restarts and until it is unwanted', async () => {
  const conflist = join(folder, 'net.d', '10-warren.conflist');
  const plugin = join(folder, 'warren-cni');
  writeFileSync(plugin, '');
  const wanted = { conflist, plugin, portmap: true };
  expect((await a.commands.cni()).install(wanted)).toEqual({ isWritten: false });
  expect(existsSync(conflist)).toBe(false);
  await world.settle();
  const text = readFileSync(conflist, 'utf8');
  expect(JSON.parse(text)).toMatchObject({
    cniVersion: '1.0.0',
    cniVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    name: 'warren',
    plugins: [
      { type: 'warren-cni', socket: '/run/warren/agent.sock', queue: join(folder, 'a', 'cni-deletes') },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
  await a.stop();
  expect(existsSync(conflist)).toBe(true);
  // Somebody changes it while the agent is away.
  writeFileSync(conflist, '{}');
  await a.start();
  await world.settle();
  expect(readFileSync(conflist, 'utf8')).toBe(text);
  expect(readdirSync(join(folder, 'net.d'))).toEqual(['10-warren.conflist']);
  (await a.commands.cni()).uninstall(conflist);
  expect(existsSync(conflist)).toBe(false);
  await a.stop();
  await a.start();
  await world.settle();
  expect(existsSync(conflist)).toBe(false);
});

it('a configuration whose plugin is gone goes with the next start', async () => {
  await world.settle();
  const conflist = join(folder, '10-warren.conflist');
  const plugin = join(folder, 'warren-cni');
  writeFileSync(plugin, '');
  expect((await a.commands.cni()).install({ conflist, plugin, portmap: false })).toEqual({ isWritten: true });
  rmSync(plugin);
  await a.stop();
  await a.start();
  await world.settle();
  await world.advance(100);
  expect(existsSync(conflist)).toBe(false);
});

it('an agent that is to announce the plugin by itself writes its configuration when the overlay is up', async () => {
  const conflist = join(folder, 'c.d', '10-warren.conflist');
  const plugin = join(folder, 'warren-cni');
  writeFileSync(plugin, '');
  const announce = { conflist, plugin, portmap: false };
  const c = world.add({ cniFolder: join(folder, 'c'), announce });
  await c.start();
  expect(existsSync(conflist)).toBe(false);
  await world.settle();
  expect(JSON.parse(readFileSync(conflist, 'utf8'))).toMatchObject({ plugins: [{ type: 'warren-cni' }] });
  await c.stop();
  expect(existsSync(conflist)).toBe(true);
});
