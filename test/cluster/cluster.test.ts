/**
 * Whole agents in one process: what users and other nodes notice of a cluster, without root and in virtual time. The
 * same in real namespaces is test/e2e; what fails there is reproduced here where it can be.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAddress } from '../../src/ip/address.ts';
import { parseEndpoint } from '../../src/ip/endpoint.ts';
import { ipv4Packet, vxlanGpe } from '../helpers/packets.ts';
import { World, type WorldNode, type WorldPod } from './world.ts';

let world: World;

beforeEach(() => {
  world = new World(1);
});
afterEach(async () => {
  await world.stop();
});

async function reaches(from: WorldPod, to: WorldPod): Promise<boolean> {
  for (const address of to.addresses) {
    const before = to.received.length;
    const packet = from.send(address);
    await world.advance(5);
    const last = to.received.at(-1);
    if (to.received.length !== before + 1 || !last || Buffer.compare(last, packet) !== 0) return false;
  }
  return true;
}

async function twoPods(): Promise<[WorldNode, WorldNode, WorldPod, WorldPod]> {
  const [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
  return [a, b, await a.addPod('web'), await b.addPod('db')];
}

describe('agents', () => {
  it('join, lease different subnets, and know each other', async () => {
    const nodes = await world.cluster(5);
    const subnets = nodes.flatMap((node) => node.model.status().lease.subnets);
    expect(new Set(subnets).size).toBe(10);
    for (const node of nodes) {
      expect(node.model.status().cluster).toMatchObject({
        sealed: true,
        members: { alive: 5, suspect: 0, dead: 0, left: 0 },
        problems: [],
      });
      expect(node.model.peers()).toHaveLength(4);
      expect(node.host.tun?.network?.addresses.length).toBe(2);
    }
  });

  it('carry packets between pods of different nodes and of one, in both families', async () => {
    const [a, b, web, db] = await twoPods();
    const cache = await a.addPod('cache');
    expect(await reaches(web, db)).toBe(true);
    expect(await reaches(db, web)).toBe(true);
    // Pods of one node reach each other without the tunnel.
    const carried = world.carried.length;
    expect(await reaches(web, cache)).toBe(true);
    expect(world.carried.length).toBe(carried);
    expect(a.model.peers()[0]).toMatchObject({ name: b.name, outbound: { packets: 2 } });
    expect(b.model.status().datapath.inbound.packets).toBe(2);
  });

  it('let a node reach pods, and pods nodes', async () => {
    const [a, b, web, db] = await twoPods();
    const own = a.model.status().tun.addresses[0]!;
    a.host.send(ipv4Packet(own, db.addresses[0]!));
    await world.advance(5);
    expect(db.received).toHaveLength(1);
    web.send(b.model.status().tun.addresses[0]!);
    await world.advance(5);
    expect(b.host.received).toHaveLength(1);
  });

  it('take no packet from who does not own its source', async () => {
    const [a, b, , db] = await twoPods();
    const c = world.add();
    await c.start();
    await world.settle();
    const evil = await c.addPod('evil');
    const webs = a.model.pods()[0]!.addresses[0]!;
    // A pod's own node does not let it out under another's address...
    evil.send(db.addresses[0]!, { source: webs });
    await world.advance(5);
    expect(c.model.status().datapath.drops['outbound-foreign-source']).toBe(1);
    // ...nor does the other one let in what a node sends in another's name, or a stranger in anybody's.
    const forged = vxlanGpe(ipv4Packet(webs, db.addresses[0]!));
    const to = parseEndpoint(b.model.status().underlay.address + ':4790');
    world.inject(parseEndpoint('192.0.2.3:4790'), to, forged);
    world.inject(parseEndpoint('192.0.2.99:4790'), to, forged);
    await world.advance(5);
    expect(db.received).toHaveLength(0);
    const { drops } = b.model.status().datapath;
    expect(Object.entries(drops).filter(([, count]) => count > 0)).toHaveLength(2);
  });

  it('find out that a node has died, take its routes away, and take it back', async () => {
    const nodes = await world.cluster(3);
    const [a, b, c] = nodes as [WorldNode, WorldNode, WorldNode];
    const web = await a.addPod('web');
    const db = await c.addPod('db');
    const before = c.model.status().lease.subnets;
    await c.kill();
    const tookMs = await world.until(
      () => [a, b].every((node) => node.model.status().cluster.members.dead === 1),
      15_000,
    );
    expect(tookMs).toBeLessThan(8000);
    expect(a.model.routes().every(({ via }) => via !== c.name)).toBe(true);
    // "Network unreachable" for who still sends there.
    web.send(db.addresses[0]!);
    await world.advance(5);
    expect(web.received.at(-1)?.[20]).toBe(3);
    await c.start();
    await world.settle();
    expect(c.model.status().lease.subnets).toEqual(before);
    expect(await reaches(web, db)).toBe(true);
  });

  it('keep pods, addresses and counters of others over a restart', async () => {
    const [a, b, web, db] = await twoPods();
    expect(await reaches(web, db)).toBe(true);
    const before = b.model.pods();
    await b.stop();
    await b.start();
    await world.settle();
    expect(b.model.pods()).toEqual(before);
    expect(await reaches(web, db)).toBe(true);
    expect(a.model.peers()[0]!.outbound.packets).toBe(4);
  });

  it('do not follow a copied state folder to and fro, and the copy ends by itself', async () => {
    const [a, b, c] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    const copy = world.add();
    copy.copyStateOf(b);
    await copy.start();
    await world.advance(10_000);
    expect(copy.errors).toMatchObject([{ code: 'IDENTITY_IN_USE' }]);
    expect(b.errors).toEqual([]);
    // Also while it still runs nothing goes astray, and the others say what is wrong.
    for (let i = 0; i < 20; i++) {
      expect(await reaches(web, db)).toBe(true);
      await world.advance(500);
    }
    for (const node of [a, c]) {
      expect(node.model.status().cluster.problems).toEqual([
        expect.stringContaining(
          'two agents run with the identity of node-1: at 192.0.2.2:7946, which is believed',
        ),
      ]);
    }
    await copy.stop();
    await world.advance(120_000);
    for (const node of [a, b, c]) expect(node.model.status().cluster.problems).toEqual([]);
    expect(await reaches(web, db)).toBe(true);
  });

  it('leave for good, and free their subnets', async () => {
    const [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
    await b.commands.leave({ force: false });
    await b.stop({ leave: true });
    await world.advance(1000);
    expect(a.model.status().cluster.members).toMatchObject({ alive: 1, left: 1 });
    expect(a.model.routes().map(({ via }) => via)).toEqual(['local', 'local']);
  });

  it('heal from a partition, with connections as they were', async () => {
    const nodes = (await world.cluster(4)) as [WorldNode, WorldNode, WorldNode, WorldNode];
    const [a, b, c, d] = nodes;
    const web = await a.addPod('web');
    const db = await d.addPod('db');
    world.partition([a, b], [c, d]);
    await world.until(() => a.model.status().cluster.members.dead === 2, 20_000);
    expect(await reaches(web, db)).toBe(false);
    world.partition();
    await world.settle();
    expect(await reaches(web, db)).toBe(true);
  });
});

describe('where a node gets its subnet from', () => {
  it('is its own choice: one that is handed its subnets works among others that settle theirs', async () => {
    const [a] = (await world.cluster(2)) as [WorldNode, WorldNode];
    const c = world.add({ assigned: ['10.42.200.0/24', 'fd42:0:0:c8::/64'] });
    await c.start();
    await world.settle();
    expect(c.model.status().lease).toEqual({
      status: 'active',
      subnets: ['10.42.200.0/24', 'fd42:0:0:c8::/64'],
    });
    expect(await reaches(await a.addPod('web'), await c.addPod('db'))).toBe(true);
  });
});

describe('a node whose underlay address changes', () => {
  it('goes on under the new one, as the same node with the same subnets', async () => {
    const [a, b, web, db] = await twoPods();
    const before = b.model.status();
    b.host.replaceAddress('eth0', parseAddress('192.0.2.77'));
    await world.until(() => a.model.peers()[0]!.endpoint === '192.0.2.77:4790', 10_000);
    expect(await reaches(web, db)).toBe(true);
    expect(await reaches(db, web)).toBe(true);
    const after = b.model.status();
    expect(after.node.id).toBe(before.node.id);
    expect(after.lease).toEqual(before.lease);
    expect(after.underlay.address).toBe('192.0.2.77');
    expect(after.repairs.underlay).toBe(1);
    // It never counts as gone: its gossip comes from there, and is answered there.
    await world.advance(30_000);
    for (const node of [a, b]) {
      expect(node.model.status().gossip).toMatchObject({ deaths: 0, suspicions: 0 });
      expect(node.model.status().cluster.members.alive).toBe(2);
    }
  });

  it('stays as it is while it cannot move whole, and moves as soon as it can', async () => {
    const [a, b, web, db] = await twoPods();
    b.host.failing.set('startPath', new Error('no thread'));
    b.host.addInterface('eth1', 1500, parseAddress('192.0.2.77'));
    b.host.replaceAddress('eth0');
    await world.advance(3000);
    // Neither is announced from the new address, nor does the gossip speak from there.
    expect(b.model.status().underlay.address).toBe('192.0.2.2');
    expect(a.model.peers()[0]!.endpoint).toBe('192.0.2.2:4790');
    expect(b.model.status().cluster.problems.join()).toContain('no thread');
    b.host.failing.clear();
    await world.until(() => a.model.peers()[0]!.endpoint === '192.0.2.77:4790', 10_000);
    expect(b.model.status().cluster.problems).toEqual([]);
    expect(await reaches(web, db)).toBe(true);
  });

  it('tells others the MTU of its link, and its pods get it', async () => {
    const [a, b, web, db] = await twoPods();
    b.host.setMtu('eth0', 1400);
    await world.advance(3000);
    expect(b.model.status()).toMatchObject({ underlay: { mtu: 1400 }, tun: { mtu: 1364 } });
    expect(b.links[0]).toMatchObject({ id: 'db', mtu: 1364 });
    expect(b.host.tun?.network?.mtu).toBe(1364);
    // The path from the other node starts with the smaller one of the two.
    web.send(db.addresses[0]!, { bytes: 1365 });
    await world.advance(5);
    expect(db.received).toHaveLength(0);
    expect(new DataView(web.received.at(-1)!.buffer).getUint16(26)).toBe(1364);
    web.send(db.addresses[0]!, { bytes: 1364 });
    await world.advance(5);
    expect(db.received).toHaveLength(1);
    expect(a.model.status().tun.mtu).toBe(1464);
  });
});

describe('what others change on the host', () => {
  it('is put back, and counted', async () => {
    const [a, , web, db] = await twoPods();
    a.host.deleteTun();
    await world.advance(2000);
    expect(await reaches(web, db)).toBe(true);
    expect(a.model.status().repairs.device).toBe(1);
    a.host.tun!.network = { ...a.host.tun!.network!, addresses: [] };
    a.host.changed();
    await world.advance(2000);
    expect(a.model.status().repairs.address).toBe(1);
  });
});

describe('a node with many pods', () => {
  it('follows its peers while it restores them', async () => {
    const [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
    for (let i = 0; i < 200; i++) await a.addPod(`pod-${i}`);
    await a.stop();
    let steps = 0;
    a.hostStep = () => {
      steps++;
      return new Promise((resolve) => world.clock.after(100, resolve));
    };
    await a.start();
    await world.until(() => a.model.status().tun.addresses.length > 0, 5000);
    const c = world.add();
    await c.start();
    await world.until(() => b.routesTo(c), 10_000);
    const tookMs = await world.until(() => a.routesTo(c), 1000);
    expect(tookMs).toBeLessThanOrEqual(200);
    // It is in the middle of them: each takes two steps.
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBeLessThan(400);
  });

  it('stops in the middle of restoring them, without going through them all', async () => {
    const [a] = (await world.cluster(2)) as [WorldNode, WorldNode];
    for (let i = 0; i < 200; i++) await a.addPod(`pod-${i}`);
    await a.stop();
    a.hostStep = () => new Promise((resolve) => world.clock.after(100, resolve));
    await a.start();
    await world.advance(1000);
    const startMs = world.clock.now();
    await a.stop();
    expect(world.clock.now() - startMs).toBeLessThan(500);
    // What was left is taken up by the next start.
    a.hostStep = async () => {};
    await a.start();
    await world.advance(5000);
    expect(a.model.pods().filter(({ status }) => status === 'ready')).toHaveLength(200);
  });

  it('takes up the others when one cannot be restored, and that one when it can', async () => {
    const [a] = (await world.cluster(2)) as [WorldNode, WorldNode];
    for (const name of ['web', 'db', 'cache']) await a.addPod(name);
    await a.stop();
    a.attachmentNetwork.pairs.clear();
    let isStuck = true;
    a.hostStep = async (what) => {
      if (isStuck && what.includes('db')) throw new Error('no such device');
    };
    await a.start();
    await world.advance(5000);
    const status = () => Object.fromEntries(a.model.pods().map((pod) => [pod.name, pod.status]));
    expect(status()).toEqual({ web: 'ready', db: 'missing', cache: 'ready' });
    isStuck = false;
    await a.stop();
    await a.start();
    await world.advance(5000);
    expect(status()).toEqual({ web: 'ready', db: 'ready', cache: 'ready' });
  });
});

describe('what a node has attached', () => {
  it('is known to all within a second', async () => {
    const nodes = await world.cluster(4);
    const [a] = nodes as [WorldNode];
    const web = await a.addPod('web');
    const tookMs = await world.until(
      () =>
        nodes.every(
          (node) => node.agent.inventory.holders(parseAddress(web.addresses[0]!))[0]?.entry.name === 'web',
        ),
      5000,
    );
    expect(tookMs).toBeLessThanOrEqual(1000);
    await a.commands.removePod('web');
    await world.advance(1000);
    for (const node of nodes) {
      expect(node.agent.inventory.holders(parseAddress(web.addresses[0]!))).toEqual([]);
    }
  });
});

describe('questions to other nodes', () => {
  it('are answered by all that are alive, and name those that are not', async () => {
    const [a, b, c] = (await world.cluster(3)) as [WorldNode, WorldNode, WorldNode];
    await b.addPod('db');
    await c.kill();
    await world.until(() => a.model.status().cluster.members.dead === 1, 15_000);
    const asked = a.commands.allTargets();
    let all: Awaited<typeof asked> | undefined;
    asked.then((value) => (all = value)).catch(() => {});
    await world.until(() => all !== undefined, 20_000);
    expect(all!.targets.map(({ node, pods }) => [node, pods.map(({ name }) => name)])).toEqual([
      [a.name, []],
      [b.name, ['db']],
    ]);
    expect(all!.unreachable.map(({ node }) => node)).toEqual([c.name]);
  });

  it('change the keys of a cluster that runs', async () => {
    const nodes = await world.cluster(3);
    const [a] = nodes as [WorldNode];
    const key = Buffer.alloc(32, 9).toString('base64');
    const { fingerprint } = await a.commands.changeKeys({ action: 'add', key });
    await world.advance(3000);
    const used = a.commands.changeKeys({ action: 'use', fingerprint });
    let isUsed = false;
    used.then(() => (isUsed = true)).catch(() => {});
    await world.until(() => isUsed, 20_000);
    await used;
    await world.advance(3000);
    const listed = nodes[2]!.commands.listKeys();
    let keys: Awaited<typeof listed> | undefined;
    listed.then((value) => (keys = value)).catch(() => {});
    await world.until(() => keys !== undefined, 20_000);
    expect(keys!.keys[0]).toEqual({ fingerprint, primary: true, nodes: 3, primaryOn: 3 });
    expect(nodes.every((node) => node.model.status().cluster.members.alive === 3)).toBe(true);
  });
});

describe('an agent that starts before its host has a network', () => {
  it('waits, and is a node like any other once the address is there', async () => {
    const [a] = (await world.cluster(1)) as [WorldNode];
    const late = world.add();
    late.host.interfaces.clear();
    const starting = late.start();
    await world.advance(60_000);
    expect(a.model.peers()).toEqual([]);
    late.host.addInterface('eth0', 1500, parseAddress('192.0.2.2'));
    await world.advance(1000);
    await starting;
    await world.settle();
    expect(late.errors).toEqual([]);
    const [web, db] = [await a.addPod('web'), await late.addPod('db')];
    expect(await reaches(web, db)).toBe(true);
  });
});

describe('a configuration that is read again', () => {
  it('changes static peers at once, and names what needs a restart', async () => {
    const [a] = (await world.cluster(2)) as [WorldNode];
    const peer = 'staticPeers: [{name: legacy, endpoint: "192.0.2.9:4790", subnets: [10.50.0.0/24]}]';
    a.configFile = () => a.config(`${peer}\ntun: {name: other0}`);
    const outcome = await a.commands.reload();
    expect(outcome.needsRestart).toEqual(['tun.name']);
    expect(outcome.changed).toEqual(['staticPeers']);
    await world.advance(100);
    expect(a.model.peers().map(({ name }) => name)).toContain('legacy');
    expect(a.model.routes().map(({ prefix }) => prefix)).toContain('10.50.0.0/24');
    expect(a.host.tun?.network?.extraPrefixes).toHaveLength(1);
    a.configFile = () => a.config('');
    await a.commands.reload();
    await world.advance(100);
    expect(a.model.routes().map(({ prefix }) => prefix)).not.toContain('10.50.0.0/24');
  });

  it('makes static pods that are new, and takes the log level', async () => {
    const [a] = (await world.cluster(1)) as [WorldNode];
    a.configFile = () => a.config('staticPods: [web]\nlog: {level: error}');
    expect((await a.commands.reload()).changed).toEqual(['staticPods', 'log.level']);
    expect(a.log.level).toBe('error');
    expect(a.model.pods().map(({ name }) => name)).toEqual(['web']);
    // Once more: nothing is different any more.
    expect(await a.commands.reload()).toEqual({ changed: [], needsRestart: [] });
  });

  it('changes nothing where the file has mistakes', async () => {
    const [a] = (await world.cluster(1)) as [WorldNode];
    a.configFile = () => a.config('staticPods: [web]\nlog: {level: loud}\ntun: {mtu: 12}');
    await expect(a.commands.reload()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/world:6:14: log\.level: .*\nworld:7:12: tun\.mtu: /),
    });
    expect(a.model.pods()).toEqual([]);
    // It goes on, and takes a file that is right.
    a.configFile = () => a.config('staticPods: [web]');
    expect((await a.commands.reload()).changed).toEqual(['staticPods']);
  });

  it('switches offloads while packets flow, and tells the others of the one that is theirs too', async () => {
    const [a, b] = (await world.cluster(2)) as [WorldNode, WorldNode];
    const [web, db] = [await a.addPod('web'), await b.addPod('db')];
    await world.until(() => b.model.peers()[0]!.partialChecksums, 5000);
    web.send(db.addresses[0]!);
    await world.advance(10);
    expect(db.received).toHaveLength(1);
    a.configFile = () => a.config('datapath: {offload: {tso: false, coalesceTcp: false, checksum: false}}');
    expect(await a.commands.reload()).toEqual({
      changed: ['datapath.offload.tso', 'datapath.offload.coalesceTcp', 'datapath.offload.checksum'],
      needsRestart: [],
    });
    const { datapath } = a.model.status();
    expect(datapath.offloads).toMatchObject({ tso: false, uso: true, coalesceTcp: false, checksum: false });
    expect(datapath.outbound.packets).toBe(1);
    expect(a.model.peers()[0]!.partialChecksums).toBe(false);
    await world.until(() => !b.model.peers()[0]!.partialChecksums, 5000);
    expect(b.model.peers()[0]!.partialChecksums).toBe(false);
    web.send(db.addresses[0]!);
    await world.advance(10);
    expect(db.received).toHaveLength(2);
    expect(a.model.status().datapath.outbound.packets).toBe(2);
  });

  it('has all of its old offloads, and everything else as it was, where one cannot be switched', async () => {
    const [a] = (await world.cluster(1)) as [WorldNode];
    a.host.failing.set('startPath', new Error('no thread'));
    a.configFile = () => a.config('staticPods: [web]\ndatapath: {offload: off}');
    await expect(a.commands.reload()).rejects.toThrow('no thread');
    expect(a.model.status().datapath.offloads).toMatchObject({
      tso: true,
      coalesceTcp: true,
      checksum: true,
    });
    expect(a.model.pods()).toEqual([]);
    a.host.failing.clear();
    expect((await a.commands.reload()).changed).toContain('datapath.offload.tso');
    expect(a.model.status().datapath.offloads).toMatchObject({ tso: false, checksum: false });
  });
});
