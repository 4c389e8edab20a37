/**
 * Ordinary WireGuard devices in a cluster: a laptop gets a file from its home node, reaches pods on all nodes and is reached by
 * them, wherever it is, over restarts, and until it is removed.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKeyPair, privateKeyBytes } from '../../src/encapsulation/wireguard/x25519.ts';
import type { TunNetwork } from '../../src/host/tun-network.ts';
import { formatEndpoint, parseEndpoint } from '../../src/ip/endpoint.ts';
import type { WireguardPeerFile } from '../../src/readmodel/reports.ts';
import { MemoryWireguard, readQuickFile } from '../helpers/memory-wireguard.ts';
import { World, type WorldNode, type WorldPod } from './world.ts';

const wireguard = { encapsulation: 'wireguard' } as const;
const HOME = '198.51.100.7:40001';
const code = (of: string) => expect.objectContaining({ code: of });

let world: World;
let a: WorldNode;
let b: WorldNode;
let web: WorldPod;
let db: WorldPod;
const devices: MemoryWireguard[] = [];

beforeEach(async () => {
  world = new World(1);
  [a, b] = (await world.cluster(2, wireguard)) as [WorldNode, WorldNode];
  web = await a.addPod('web');
  db = await b.addPod('db');
  await world.advance(5_000);
});
afterEach(async () => {
  for (const device of devices.splice(0)) device.close();
  await world.stop();
});

/** The device with that file is switched on. */
function start(
  { file }: Pick<WireguardPeerFile, 'file'>,
  at = HOME,
  privateKey?: Uint8Array,
): MemoryWireguard {
  const device = new MemoryWireguard({
    ...{ file, clock: world.clock, endpoint: parseEndpoint(at), ...(privateKey && { privateKey }) },
    send: (from, to, datagram) => {
      const copy = Uint8Array.from(datagram);
      world.clock.after(10, () => world.inject(from, to, copy));
    },
  });
  world.outside.set(at, ({ from, bytes }) => device.take(from, bytes));
  devices.push(device);
  return device;
}

/** From now on it sends from there, and hears nothing where it was. */
function moveTo(device: MemoryWireguard, at: string): void {
  world.outside.delete(formatEndpoint(device.endpoint));
  device.endpoint = parseEndpoint(at);
  world.outside.set(at, ({ from, bytes }) => device.take(from, bytes));
}

interface Party {
  readonly addresses: readonly string[];
  readonly received: Uint8Array[];
  send(to: string): Uint8Array;
}

/** One packet of each family each way, of which each arrives as it was sent. */
async function talk(one: Party, other: Party, waitMs = 200): Promise<void> {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    for (const address of to.addresses) {
      const before = to.received.length;
      const packet = from.send(address);
      await world.advance(waitMs);
      expect(to.received.length - before, `${from.addresses[0]} to ${address}`).toBe(1);
      expect(Buffer.from(to.received.at(-1)!).subarray(0, packet.length)).toEqual(Buffer.from(packet));
    }
  }
}

const drops = (node: WorldNode) =>
  Object.fromEntries(Object.entries(node.model.status().datapath.drops).filter(([, count]) => count > 0));

describe('a WireGuard device', () => {
  it('gets a file with keys and an address of its home node', async () => {
    const added = await a.commands.addWireguardPeer({ name: 'laptop', dns: ['10.42.0.53', 'cluster.local'] });
    const [subnet4, subnet6] = a.model.status().lease.subnets.map((one) => one.replace(/0?\/\d+$/, ''));
    expect(added.addresses[0]).toMatch(new RegExp(`^${subnet4}\\d+$`));
    expect(added.addresses[1]).toMatch(new RegExp(`^${subnet6}`));
    const values = readQuickFile(added.file);
    expect(values).toEqual({
      'Interface.PrivateKey': expect.stringMatching(/^[\w+/]{43}=$/),
      'Interface.Address': `${added.addresses[0]}/32, ${added.addresses[1]}/128`,
      'Interface.DNS': '10.42.0.53, cluster.local',
      'Interface.MTU': '1420',
      'Peer.PublicKey': a.model.status().encapsulation.publicKey,
      'Peer.PresharedKey': expect.stringMatching(/^[\w+/]{43}=$/),
      'Peer.AllowedIPs': '10.42.0.0/16, fd42::/48',
      'Peer.Endpoint': '192.0.2.1:51820',
      'Peer.PersistentKeepalive': '25',
    });
    expect(added).toMatchObject({ isComplete: true, endpoint: '', presharedKey: true });
    // The private key is nowhere afterwards.
    const secret = values['Interface.PrivateKey']!;
    const shown = a.commands.showWireguardPeer('laptop');
    expect(shown.file).toContain('# PrivateKey = the one that was shown when laptop was added');
    expect(readQuickFile(shown.file)).toEqual({ ...values, 'Interface.PrivateKey': undefined });
    expect(shown.isComplete).toBe(false);
    const kept = a.guestsOnDisk.map((one) => Buffer.from(one.publicKey).toString('base64'));
    expect(kept).toEqual([added.publicKey]);
    expect(JSON.stringify(a.guestsOnDisk)).not.toContain(secret);
  });

  it('reaches pods of all nodes, and they reach it: nobody but its home node knows its key', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, web, 1_000);
    await talk(laptop, db);
    expect([drops(a), drops(b)]).toEqual([{}, {}]);
    const { addresses } = laptop;
    expect(a.model.peers().find(({ name }) => name === 'laptop')).toMatchObject({
      ...{ kind: 'wireguard', status: 'wireguard', endpoint: HOME, mtu: 1420 },
      subnets: [`${addresses[0]}/32`, `${addresses[1]}/128`],
      handshakeAgeSeconds: expect.any(Number),
    });
    // Besides what finds out how much the path carries.
    expect(a.model.peers().at(-1)!.inbound.packets).toBeGreaterThanOrEqual(4);
    expect(a.model.peers().at(-1)!.outbound.packets).toBeGreaterThanOrEqual(4);
    expect(b.model.peers().map(({ name }) => name)).toEqual(['node-0']);
    // Everywhere it is an attachment of its node.
    for (const node of [a, b])
      expect(node.model.inventory().find(({ name }) => name === 'laptop')).toMatchObject({
        ...{ node: 'node-0', addresses, labels: { kind: 'peer' } },
      });
    expect(a.model.pods().map(({ name }) => name)).toEqual(['web']);
  });

  it('reaches others like it, of its node and of another', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    const phone = start(await a.commands.addWireguardPeer({ name: 'phone' }), '198.51.100.8:1');
    const router = start(await b.commands.addWireguardPeer({ name: 'router' }), '198.51.100.9:1');
    await talk(phone, web, 1_000);
    await talk(router, db, 1_000);
    await talk(laptop, phone, 1_000);
    await talk(laptop, router);
    expect([drops(a), drops(b)]).toEqual([{}, {}]);
  });

  it('brings its own key, and says where it is: then pods begin', async () => {
    const pair = generateKeyPair();
    const added = await b.commands.addWireguardPeer({
      ...{ name: 'office', publicKey: pair.publicKey.toString('base64'), endpoint: '198.51.100.9:51820' },
      ...{ nodeEndpoint: 'vpn.example.org', labels: { site: 'north' } },
    });
    expect(added).toMatchObject({ isComplete: false, presharedKey: false });
    expect(added.file).toContain(`# PrivateKey = the one of the public key ${added.publicKey}`);
    expect(readQuickFile(added.file)).toMatchObject({ 'Peer.Endpoint': 'vpn.example.org:51820' });
    expect(b.model.inventory().find(({ name }) => name === 'office')?.labels).toEqual({
      ...{ kind: 'peer', site: 'north' },
    });
    const reachable = added.file.replace('vpn.example.org:51820', '192.0.2.2:51820');
    const office = start({ file: reachable }, '198.51.100.9:51820', new Uint8Array(privateKeyBytes(pair)));
    web.send(office.addresses[0]!);
    await world.advance(1_000);
    expect(office.received).toHaveLength(1);
    await talk(office, web);
  });

  it('may come as soon as it has its file, and is out as soon as it is said to be', async () => {
    const { configureTun } = a.host.parts;
    let release = () => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    Object.assign(a.host.parts, {
      configureTun: (network: TunNetwork) => held.then(() => configureTun(network)),
    });
    let isAdded = false;
    const adding = a.commands.addWireguardPeer({ name: 'laptop' }).finally(() => (isAdded = true));
    await world.advance(1_000);
    expect(isAdded).toBe(false);
    release();
    const laptop = start(await adding);
    laptop.send(web.addresses[0]!);
    await world.advance(200);
    expect(web.received).toHaveLength(1);
    await a.commands.removeWireguardPeer('laptop');
    expect(a.host.tun!.network!.extraPrefixes).toEqual([]);
    expect(a.model.routes().some(({ via }) => via === 'laptop')).toBe(false);
  });

  it('is followed wherever it goes', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, db, 1_000);
    moveTo(laptop, '203.0.113.5:999');
    await talk(laptop, db);
    expect(a.model.peers().at(-1)!.endpoint).toBe('203.0.113.5:999');
    expect(a.model.routes().find(({ via }) => via === 'laptop')?.endpoint).toBe('203.0.113.5:999');
  });

  it('is not sent back to where it was, whatever is written down and whoever else comes', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, db, 1_000);
    await world.advance(61_000);
    expect(formatEndpoint(a.guestsOnDisk[0]!.lastEndpoint!)).toBe(HOME);
    moveTo(laptop, '203.0.113.5:999');
    await talk(laptop, db);
    await a.commands.addWireguardPeer({ name: 'phone' });
    await talk(db, laptop);
  });

  it('is told what does not fit the way to another node', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    b.host.setMtu('eth0', 1_400);
    await talk(laptop, db, 1_000);
    laptop.received.length = 0;
    for (const address of db.addresses) laptop.send(address, { bytes: 1_400 });
    await world.advance(500);
    // Destination unreachable, fragmentation needed; packet too big.
    const [ipv4, ipv6] = laptop.received;
    expect([ipv4?.subarray(20, 22), ipv6?.subarray(40, 42)]).toEqual([
      Uint8Array.of(3, 4),
      Uint8Array.of(2, 0),
    ]);
    expect(drops(a)).toEqual({ 'outbound-too-big': 2 });
  });

  it('speaks for nobody else', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, web, 1_000);
    for (const source of [web.addresses[0]!, db.addresses[0]!, '192.0.2.9'])
      laptop.send(db.addresses[0]!, { source });
    await world.advance(500);
    expect(db.received).toEqual([]);
    expect(drops(a)).toEqual({ 'inbound-foreign-source': 3 });
  });

  it('ends within a second when it is removed, and its address is free', async () => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, db, 1_000);
    expect(await a.commands.removeWireguardPeer('laptop')).toMatchObject({ name: 'laptop' });
    await world.advance(900);
    expect(a.host.keyExchange!.exchange.indexes).toBe(1);
    const before = [laptop.received.length, db.received.length];
    laptop.send(db.addresses[0]!);
    web.send(laptop.addresses[0]!);
    db.send(laptop.addresses[0]!);
    await world.advance(60_000);
    expect([laptop.received.length, db.received.length]).toEqual(before);
    expect(drops(a)).toMatchObject({ 'inbound-no-session': expect.any(Number) });
    expect(a.model.peers().map(({ name }) => name)).toEqual(['node-1']);
    expect(b.model.inventory().map(({ name }) => name)).toEqual(['db', 'web']);
    expect([a.guestsOnDisk, a.commands.listWireguardPeers()]).toEqual([[], []]);
    expect(a.host.tun!.network!.extraPrefixes).toEqual([]);
    await expect(a.commands.removeWireguardPeer('laptop')).rejects.toEqual(code('PEER_UNKNOWN'));
  });

  it.each(['stopped', 'killed'])('is there again when its agent was %s, from where it was', async (how) => {
    const laptop = start(await a.commands.addWireguardPeer({ name: 'laptop' }));
    await talk(laptop, db, 1_000);
    // Written down now and then, and at the end.
    if (how === 'killed') await world.advance(61_000);
    if (how === 'stopped') await a.stop();
    else await a.kill();
    await a.start();
    await world.settle();
    await world.advance(1_000);
    expect(a.commands.listWireguardPeers()).toMatchObject([
      {
        name: 'laptop',
        addresses: laptop.addresses,
        endpoint: HOME,
        handshakeAgeSeconds: expect.any(Number),
      },
    ]);
    // It has not found out by itself: that takes it fifteen seconds.
    await talk(laptop, db);
    await talk(web, laptop);
  });
});

describe('peers of a node', () => {
  const key = () => generateKeyPair().publicKey.toString('base64');
  const add = (request: Partial<Parameters<WorldNode['commands']['addWireguardPeer']>[0]>, node = a) =>
    node.commands.addWireguardPeer({ name: 'laptop', ...request });

  it('are refused with what is wrong about them', async () => {
    const publicKey = key();
    await add({ name: 'first', publicKey });
    for (const [request, wanted] of [
      [{ name: 'Laptop 1' }, 'PEER_NAME_INVALID'],
      [{ name: 'first' }, 'PEER_EXISTS'],
      [{ name: 'node-1' }, 'PEER_EXISTS'],
      [{ name: 'node-0' }, 'PEER_EXISTS'],
      [{ publicKey: 'short' }, 'PEER_KEY_INVALID'],
      [{ publicKey: Buffer.alloc(32).toString('base64') }, 'PEER_KEY_INVALID'],
      [{ publicKey }, 'PEER_KEY_TAKEN'],
      [{ publicKey: a.model.status().encapsulation.publicKey! }, 'PEER_KEY_TAKEN'],
      [{ publicKey: b.model.status().encapsulation.publicKey! }, 'PEER_KEY_TAKEN'],
      [{ endpoint: 'example.org:1' }, 'PEER_OPTION_INVALID'],
      [{ endpoint: '[2001:db8::1]:1' }, 'PEER_OPTION_INVALID'],
      [{ nodeEndpoint: 'not a host' }, 'PEER_OPTION_INVALID'],
      [{ nodeEndpoint: 'line\nbreak' }, 'PEER_OPTION_INVALID'],
      [{ dns: ['10.0.0.1\nPostUp = sh'] }, 'PEER_OPTION_INVALID'],
      [{ dns: Array(9).fill('10.0.0.1') }, 'PEER_OPTION_INVALID'],
      [{ labels: { '': 'x' } }, 'ATTACHMENT_INVALID'],
    ] as const)
      await expect(add(request), JSON.stringify(request)).rejects.toEqual(code(wanted));
    expect(a.commands.listWireguardPeers().map(({ name }) => name)).toEqual(['first']);
    expect(a.guestsOnDisk).toHaveLength(1);
    expect(() => b.commands.showWireguardPeer('first')).toThrow(code('PEER_UNKNOWN'));
  });

  it('get an IPv6 address of the node in brackets', async () => {
    const { file } = await add({ nodeEndpoint: '[2001:db8::5]:443' });
    expect(readQuickFile(file)['Peer.Endpoint']).toBe('[2001:db8::5]:443');
  });

  it('need a tunnel with keys', async () => {
    const clear = new World(2);
    const [node] = await clear.cluster(1);
    await expect(add({}, node)).rejects.toEqual(code('PEER_NEEDS_WIREGUARD'));
    await clear.stop();
  });

  it('need a free address', async () => {
    const small = new World(3);
    const [node] = await small.cluster(1, {
      ...wireguard,
      range: 'podCidrs: [10.42.0.0/24], nodePrefixLengths: [30]',
    });
    await add({ name: 'first' }, node);
    await expect(add({ name: 'second' }, node)).rejects.toEqual(code('POD_SUBNET_EXHAUSTED'));
    await node!.commands.removeWireguardPeer('first');
    await add({ name: 'second' }, node);
    expect(node!.guestsOnDisk.map(({ name }) => name)).toEqual(['second']);
    await small.stop();
  });

  it('are forgotten where a crash left half of one', async () => {
    await add({ name: 'whole' });
    await add({ name: 'half' });
    const [whole, half] = a.guestsOnDisk;
    await a.stop();
    a.guestsOnDisk = [whole!, { ...half!, name: 'other' }];
    await a.start();
    await world.settle();
    expect(a.commands.listWireguardPeers().map(({ name }) => name)).toEqual(['whole']);
    expect(a.guestsOnDisk.map(({ name }) => name)).toEqual(['whole']);
    expect(a.model.inventory().filter(({ node }) => node === 'node-0')).toHaveLength(2);
  });

  it('go with everything else when the node leaves', async () => {
    await add({});
    await expect(a.commands.leave({ force: false })).rejects.toEqual(code('LEAVE_PODS'));
    await a.commands.leave({ force: true });
    await world.advance(1_000);
    expect([a.guestsOnDisk, a.model.peers().map(({ name }) => name)]).toEqual([[], ['node-1']]);
  });
});

describe('a site of the configuration', () => {
  it('has several subnets, comes from anywhere, and reaches all nodes from those within its node', async () => {
    const pair = generateKeyPair();
    const subnets = ['10.42.1.16/28', '10.50.0.0/24', 'fd50::/64'];
    const site = (more = '') =>
      `staticPeers: [{name: site, publicKey: ${pair.publicKey.toString('base64')}, subnets: [${subnets.map((one) => `"${one}"`)}]${more}}]`;
    const sites = new World(5);
    const common = { ...wireguard, range: 'podCidrs: [10.42.0.0/16, "fd42::/48"]' };
    const [home, other] = [1, 2].map((number) =>
      sites.add({ ...common, assigned: [`10.42.${number}.0/24`, `fd42:0:0:${number}::/64`] }),
    ) as [WorldNode, WorldNode];
    await home.start(site());
    await other.start();
    await sites.settle();
    const pods = [await home.addPod('web'), await other.addPod('db')] as const;
    await sites.advance(5_000);
    const device = new MemoryWireguard({
      file: [
        '[Interface]\nAddress = 10.42.1.17/32, fd50::1/128\nMTU = 1420\n[Peer]',
        `PublicKey = ${home.model.status().encapsulation.publicKey}`,
        'Endpoint = 192.0.2.1:51820\nPersistentKeepalive = 25',
      ].join('\n'),
      ...{
        privateKey: new Uint8Array(privateKeyBytes(pair)),
        clock: sites.clock,
        endpoint: parseEndpoint(HOME),
      },
      send: (from, to, datagram) => sites.inject(from, to, Uint8Array.from(datagram)),
    });
    sites.outside.set(HOME, ({ from, bytes }) => device.take(from, bytes));
    devices.push(device);
    const arrives = async (to: Party | MemoryWireguard, send: () => unknown) => {
      const before = to.received.length;
      send();
      await sites.advance(1_000);
      return to.received.length > before;
    };
    const [web, db] = pods;
    // What belongs to its home node goes everywhere, its own subnets to that node alone.
    for (const source of ['10.42.1.17', '10.42.1.30', '10.50.0.7'])
      expect(await arrives(web, () => device.send(web.addresses[0]!, { source }))).toBe(true);
    expect(await arrives(db, () => device.send(db.addresses[0]!, { source: '10.42.1.17' }))).toBe(true);
    expect(await arrives(device, () => db.send('10.42.1.30'))).toBe(true);
    for (const to of ['10.50.0.200', 'fd50::9']) expect(await arrives(device, () => web.send(to))).toBe(true);
    expect(drops(home)).toEqual({});
    expect(await arrives(db, () => device.send(db.addresses[0]!, { source: '10.50.0.7' }))).toBe(false);
    expect(drops(other)).toEqual({ 'inbound-foreign-source': 1 });
    // Pods get none of its addresses.
    for (let nth = 0; nth < 20; nth++) {
      const [address] = (await home.addPod(`pod-${nth}`)).addresses;
      const last = Number(address!.split('.')[3]);
      expect(last < 16 || last > 31, address).toBe(true);
    }
    // It is gone as soon as it is not in the file any more.
    home.configFile = () => home.config();
    await home.agent.reload();
    expect(await arrives(device, () => web.send('10.50.0.200'))).toBe(false);
    expect(await arrives(web, () => device.send(web.addresses[0]!))).toBe(false);
    await sites.stop();
  });
});
