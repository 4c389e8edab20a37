/**
 * The userspace data plane on hosts in memory: packets really go through it, encapsulated and checked, and every step
 * that can fail on a host can be made to fail.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { parseConfig } from '../../../src/config/load.ts';
import type { ForwardingPeer } from '../../../src/dataplane/dataplane.ts';
import { UserspaceDataPlane } from '../../../src/dataplane/userspace.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { type Endpoint, formatEndpoint } from '../../../src/ip/endpoint.ts';
import { type Prefix, parsePrefix, prefixContains } from '../../../src/ip/prefix.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryHost } from '../../helpers/memory-host.ts';
import { ipv4Packet } from '../../helpers/packets.ts';

const SUBNETS = {
  a: [parsePrefix('10.42.1.0/24'), parsePrefix('fd42:0:0:1::/64')],
  b: [parsePrefix('10.42.2.0/24'), parsePrefix('fd42:0:0:2::/64')],
};

const CONFIG = 'cluster: {podCidrs: [10.42.0.0/16, "fd42::/48"]}';

interface Node {
  readonly host: MemoryHost;
  readonly plane: UserspaceDataPlane;
  readonly pods: Uint8Array[];
}

const hosts: MemoryHost[] = [];
let carried: { from: Endpoint; to: Endpoint; bytes: number }[] = [];
const onDeviceLost = vi.fn();
const onHealthChange = vi.fn();
const onFailure = vi.fn();
let clock: VirtualClock;

/** Everything arrives at once. */
const carrier = {
  linkMtu: () => 1500,
  carry: (from: Endpoint, to: Endpoint, datagram: Uint8Array) => {
    carried.push({ from, to, bytes: datagram.length });
    for (const host of hosts) host.deliver(from, to, datagram);
  },
};

async function node(address: string, subnets: readonly Prefix[]): Promise<Node> {
  const host = new MemoryHost(carrier, () => 0);
  hosts.push(host);
  host.addInterface('eth0', 1500, parseAddress(address));
  const config = parseConfig(CONFIG, 'test', 'host');
  const plane = new UserspaceDataPlane({
    config,
    underlay: await host.resolveUnderlay(),
    parts: host.parts,
    log: silentLogger,
    clock,
    onFailure,
    onDeviceLost,
    onHealthChange,
    onPathChange: () => {},
  });
  const pods: Uint8Array[] = [];
  host.toPod = (to, packet) => {
    if (!subnets.some((subnet) => prefixContains(subnet, to))) return false;
    pods.push(packet);
    return true;
  };
  return { host, plane, pods };
}

function peer(key: string, plane: UserspaceDataPlane, subnets = SUBNETS.b, mtu?: number): ForwardingPeer {
  return { key, name: key, endpoint: plane.vtep, partialChecksums: false, subnets, mtu };
}

let a: Node;
let b: Node;

beforeEach(async () => {
  hosts.length = 0;
  for (const listener of [onDeviceLost, onHealthChange, onFailure]) listener.mockClear();
  clock = new VirtualClock();
  a = await node('192.0.2.1', SUBNETS.a);
  b = await node('192.0.2.2', SUBNETS.b);
  await a.plane.activate(SUBNETS.a);
  await b.plane.activate(SUBNETS.b);
  await a.plane.update([peer('b', b.plane)]);
  await b.plane.update([peer('a', a.plane, SUBNETS.a)]);
  carried = [];
});

const PACKET = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 100 });

function sendOne(): number {
  a.pods.length = 0;
  b.pods.length = 0;
  a.host.send(PACKET);
  return b.pods.length;
}

describe('the userspace data plane', () => {
  it('carries packets between pods of two nodes, and counts them by peer', () => {
    expect(sendOne()).toBe(1);
    expect(b.pods[0]).toEqual(PACKET);
    expect(a.plane.traffic('b')).toEqual({
      outboundPackets: 1,
      outboundBytes: 100,
      inboundPackets: 0,
      inboundBytes: 0,
    });
    expect(b.plane.traffic('a')).toMatchObject({ inboundPackets: 1, inboundBytes: 100 });
    expect(b.plane.report()).toMatchObject({
      type: 'userspace',
      isActive: true,
      overheadBytes: 36,
      totals: { inboundPackets: 1 },
    });
  });

  it('has no timers any more once it is closed, also while it takes over peers', async () => {
    const closing = [a, b].map(async ({ plane }) => {
      const updating = plane.update([peer('c', plane, [parsePrefix('10.42.3.0/24')])]);
      await plane.close();
      await updating;
    });
    await Promise.all(closing);
    const after = vi.spyOn(clock, 'after');
    await clock.run(60_000);
    expect(after).not.toHaveBeenCalled();
  });

  it('is not active before it has subnets, and says so', async () => {
    const subnets = [parsePrefix('10.42.3.0/24')];
    const fresh = await node('192.0.2.3', subnets);
    expect(fresh.plane.report().isActive).toBe(false);
    await fresh.plane.update([peer('b', b.plane)]);
    expect(fresh.host.steps).not.toContain('startPath');
    await fresh.plane.activate(subnets);
    expect(fresh.plane.report().isActive).toBe(true);
    // The peers that it heard of before count from the first packet on.
    fresh.host.send(ipv4Packet('10.42.3.2', '10.42.2.2'));
    expect(fresh.plane.traffic('b').outboundPackets).toBe(1);
  });

  it('does not take on subnets when the host refuses them', async () => {
    a.host.failing.set('configureTun', new Error('refused'));
    await expect(a.plane.activate([parsePrefix('10.42.9.0/24')])).rejects.toThrow('refused');
    a.host.failing.clear();
    expect(await a.plane.repair()).toEqual([]);
    expect(a.host.tun?.network?.ownSubnets).toEqual(SUBNETS.a);
  });

  it('routes prefixes beside the pod ranges while a peer owns them', async () => {
    const beside = parsePrefix('10.50.0.0/24');
    const static1 = { ...peer('static/legacy', b.plane, [beside]) };
    await a.plane.update([static1, peer('b', b.plane)]);
    expect(a.host.tun?.network?.extraPrefixes).toEqual([beside]);
    await a.plane.update([peer('b', b.plane)]);
    expect(a.host.tun?.network?.extraPrefixes).toEqual([]);
  });

  it('routes what guests have of its own subnets, whichever those are', async () => {
    const [guest] = [parsePrefix('10.42.1.9/32')];
    const isGuest = { isGuest: true, publicKey: new Uint8Array(32) };
    const laptop = { ...peer('wireguard/laptop', b.plane, [guest!]), ...isGuest };
    await a.plane.update([laptop, peer('b', b.plane)]);
    expect(a.host.tun?.network?.extraPrefixes).toEqual([guest]);
    await a.plane.activate([parsePrefix('10.42.9.0/24')]);
    expect(a.host.tun?.network?.extraPrefixes).toEqual([]);
  });

  it('leaves the host alone when peers change that need no route', async () => {
    a.host.steps.length = 0;
    await a.plane.update([peer('b', b.plane), peer('c', b.plane, [parsePrefix('10.42.3.0/24')])]);
    expect(a.host.steps).toEqual([]);
  });
});

describe('without subnets again', () => {
  it('nothing is its own: neither for the host nor for packets', async () => {
    await a.plane.activate([]);
    expect(a.host.tun?.network).toMatchObject({ addresses: [], ownSubnets: [] });
    expect(a.plane.report().isActive).toBe(false);
    expect(sendOne()).toBe(0);
    b.host.send(ipv4Packet('10.42.2.2', '10.42.1.2'));
    expect(a.pods).toHaveLength(0);
    expect(a.plane.report().drops).toMatchObject({
      'outbound-foreign-source': 1,
      'inbound-not-local': 1,
    });
    // What had been its own leads to whoever has it now, in the host's routes and in the table.
    await a.plane.update([peer('b', b.plane, [...SUBNETS.a, ...SUBNETS.b])]);
    expect(await a.plane.repair()).toEqual([]);
    await a.plane.activate([parsePrefix('10.42.3.0/24')]);
    carried = [];
    a.host.toPod = () => false;
    a.host.send(ipv4Packet('10.42.3.2', '10.42.1.2'));
    expect(carried).toHaveLength(1);
  });

  it('it stays as it was where the host refuses that', async () => {
    a.host.failing.set('configureTun', new Error('refused'));
    await expect(a.plane.activate([])).rejects.toThrow('refused');
    a.host.failing.clear();
    expect(await a.plane.repair()).toEqual([]);
    expect(a.host.tun?.network?.ownSubnets).toEqual(SUBNETS.a);
  });
});

describe('moving to another underlay address', () => {
  const next = parseAddress('192.0.2.77');

  beforeEach(() => a.host.interfaces.get('eth0')!.addresses.push(next));

  it('sends from there, with counters that go on', async () => {
    sendOne();
    await a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1500 });
    await b.plane.update([peer('a', a.plane, SUBNETS.a)]);
    expect(sendOne()).toBe(1);
    expect(formatEndpoint(carried.at(-1)!.from)).toBe('192.0.2.77:4790');
    expect(a.plane.traffic('b').outboundPackets).toBe(2);
    expect(a.plane.report().totals.outboundPackets).toBe(2);
  });

  it('binds the new address before it lets go of the old one', async () => {
    a.host.steps.length = 0;
    await a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1500 });
    expect(a.host.steps).toEqual(['openSockets', 'startPath']);
    expect(a.host.openDescriptors).toBe(2);
  });

  it.each(['openSockets', 'startPath', 'configureTun'] as const)(
    'is as it was when %s fails, and still carries packets',
    async (step) => {
      const vtep = a.plane.vtep;
      const error = new Error(`no ${step}`);
      a.host.failing.set(step, error);
      await expect(a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1400 })).rejects.toThrow(
        error.message,
      );
      a.host.failing.clear();
      expect(a.plane.vtep).toEqual(vtep);
      expect(a.plane.mtu).toBe(1464);
      expect(a.host.openDescriptors).toBe(2);
      await a.plane.repair();
      expect(a.host.tun?.network?.mtu).toBe(1464);
      expect(sendOne()).toBe(1);
      expect(formatEndpoint(carried.at(-1)!.from)).toBe('192.0.2.1:4790');
    },
  );
});

describe('the MTU', () => {
  it('follows the link to the TUN, and how many segments fill a send with it', async () => {
    const before = a.plane.gsoMaxSegments;
    a.host.steps.length = 0;
    await a.plane.moveTo({ ...a.plane.underlay, mtu: 9000 });
    expect(a.plane.mtu).toBe(8964);
    expect(a.host.tun?.network).toMatchObject({ mtu: 8964, gsoMaxSegments: a.plane.gsoMaxSegments });
    expect(a.plane.gsoMaxSegments).toBeLessThan(before);
    // The sockets are good as they are: nothing on the way is interrupted.
    expect(a.host.steps).toEqual(['configureTun']);
    expect(sendOne()).toBe(1);
  });

  it('of a path starts at the smaller one of its two ends', async () => {
    await a.plane.update([peer('b', b.plane, SUBNETS.b, 1300)]);
    a.host.send(ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1301 }));
    expect(b.pods).toHaveLength(0);
    // "Fragmentation needed", with the MTU that fits.
    expect(a.pods.at(-1)?.[20]).toBe(3);
    expect(new DataView(a.pods.at(-1)!.buffer).getUint16(26)).toBe(1300);
    a.host.send(ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1300 }));
    expect(b.pods).toHaveLength(1);
    // A peer with a larger one does not raise ours.
    await a.plane.update([peer('b', b.plane, SUBNETS.b, 9000)]);
    a.host.send(ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1465 }));
    expect(b.pods).toHaveLength(1);
  });

  it('that would be too small for IPv6 is refused, and everything stays', async () => {
    await expect(a.plane.moveTo({ ...a.plane.underlay, mtu: 1300 })).rejects.toMatchObject({
      code: 'MTU_TOO_SMALL',
    });
    expect(a.plane.mtu).toBe(1464);
    expect(sendOne()).toBe(1);
  });
});

describe('offload switches', () => {
  const { offload } = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'test', 'host').datapath;

  it('change while packets flow, and counters go on', async () => {
    sendOne();
    a.host.steps.length = 0;
    await a.plane.switchOffloads({ ...offload, uso: false, udpSegment: false });
    expect(a.host.steps).toEqual(['switchTunOffloads', 'switchSocketOffloads', 'startPath']);
    expect(a.plane.report().offloads).toMatchObject({ tso: true, uso: false, udpSegment: false });
    expect(sendOne()).toBe(1);
    expect(a.plane.traffic('b').outboundPackets).toBe(2);
  });

  it('of the device alone do not interrupt the packet path', async () => {
    a.host.steps.length = 0;
    await a.plane.switchOffloads({ ...offload, tso: false });
    expect(a.host.steps).not.toContain('startPath');
    expect(a.plane.report().offloads).toMatchObject({ tso: false });
  });

  it.each(['switchTunOffloads', 'switchSocketOffloads', 'startPath'] as const)(
    'are all as they were when %s fails',
    async (step) => {
      const before = a.plane.report().offloads;
      a.host.failing.set(step, new Error('refused'));
      const off = { ...offload, tso: false, udpSegment: false, checksum: false };
      await expect(a.plane.switchOffloads(off)).rejects.toThrow('refused');
      a.host.failing.clear();
      expect(a.plane.report().offloads).toEqual(before);
      await a.plane.repair();
      expect(sendOne()).toBe(1);
    },
  );

  it('outlive a TUN device that is made anew', async () => {
    await a.plane.switchOffloads({ ...offload, tso: false });
    a.host.deleteTun();
    await a.plane.repair();
    expect(a.plane.report().offloads).toMatchObject({ tso: false, uso: true });
  });
});

describe('repair', () => {
  it('makes a TUN device anew that was deleted, and counts on', async () => {
    sendOne();
    a.host.deleteTun();
    expect(onDeviceLost).toHaveBeenCalledTimes(1);
    expect(a.plane.report().isActive).toBe(false);
    expect(await a.plane.repair()).toEqual(['device']);
    expect(a.plane.report().isActive).toBe(true);
    expect(sendOne()).toBe(1);
    expect(a.plane.traffic('b').outboundPackets).toBe(2);
  });

  it('says what was missing', async () => {
    a.host.tun!.network = { ...a.host.tun!.network!, addresses: [], mtu: 1000 };
    expect(await a.plane.repair()).toEqual(['link', 'address']);
    expect(await a.plane.repair()).toEqual([]);
  });
});

describe('closing', () => {
  it('leaves the device with its addresses, and holds nothing', async () => {
    await a.plane.close();
    expect(a.host.tun?.network?.ownSubnets).toEqual(SUBNETS.a);
    expect(a.host.openDescriptors).toBe(0);
    // The lock is free again.
    expect(() => a.host.parts.lockTun('warren0')).not.toThrow();
  });

  it('of what could not be opened leaves nothing open', async () => {
    const host = new MemoryHost(carrier, () => 0);
    host.addInterface('eth0', 1500, parseAddress('192.0.2.9'));
    host.failing.set('openTun', new Error('no /dev/net/tun'));
    const config = parseConfig('cluster: {podCidrs: [10.42.0.0/16]}', 'test', 'host');
    const underlay = await host.resolveUnderlay();
    const open = () =>
      new UserspaceDataPlane({
        config,
        underlay,
        parts: host.parts,
        log: silentLogger,
        clock,
        onFailure,
        onDeviceLost,
        onHealthChange,
        onPathChange: () => {},
      });
    expect(open).toThrow('no /dev/net/tun');
    expect(host.openDescriptors).toBe(0);
    host.failing.clear();
    expect(open).not.toThrow();
  });
});

describe('traffic of a peer', () => {
  it('is not inherited by the next one', async () => {
    sendOne();
    await a.plane.update([]);
    expect(a.plane.traffic('b').outboundPackets).toBe(0);
    await a.plane.update([peer('c', b.plane)]);
    expect(a.plane.traffic('c').outboundPackets).toBe(0);
    sendOne();
    expect(a.plane.traffic('c').outboundPackets).toBe(1);
    expect(a.plane.report().totals.outboundPackets).toBe(2);
  });
});

describe('what the kernel loses', () => {
  const drops = () => a.plane.report().drops;
  /** So many datagrams more on the socket that was opened last. */
  const overflow = (datagrams: number) => a.host.socketDrops.set(a.host.openSockets.at(-1)!, datagrams);

  beforeEach(() => {
    a.host.tunDrops = 5;
    overflow(7);
  });

  it('is counted as dropped', () => {
    expect(drops()).toMatchObject({ 'outbound-queue-overflow': 5, 'inbound-socket-overflow': 7 });
    expect(b.plane.report().drops).toMatchObject({
      'outbound-queue-overflow': 0,
      'inbound-socket-overflow': 0,
    });
  });

  it('before the TUN device was taken over is not', async () => {
    await a.plane.close();
    const { config, underlay } = { config: parseConfig(CONFIG, 'test', 'host'), underlay: a.plane.underlay };
    const { parts } = a.host;
    const plane = new UserspaceDataPlane({
      config,
      underlay,
      parts,
      onPathChange: () => {},
      log: silentLogger,
      clock,
      onFailure,
      onDeviceLost,
      onHealthChange,
    });
    expect(plane.report().drops).toMatchObject({ 'outbound-queue-overflow': 0 });
    a.host.tunDrops = 6;
    expect(plane.report().drops).toMatchObject({ 'outbound-queue-overflow': 1 });
  });

  it('goes on with a TUN device that is made anew', async () => {
    await clock.run(10_000);
    a.host.deleteTun();
    expect(drops()).toMatchObject({ 'outbound-queue-overflow': 5 });
    await a.plane.repair();
    a.host.tunDrops = 2;
    expect(drops()).toMatchObject({ 'outbound-queue-overflow': 7, 'inbound-socket-overflow': 7 });
  });

  it('goes on at another underlay address, with the last that was lost at the old one', async () => {
    const next = parseAddress('192.0.2.77');
    a.host.interfaces.get('eth0')!.addresses.push(next);
    await a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1500 });
    overflow(3);
    expect(drops()).toMatchObject({ 'outbound-queue-overflow': 5, 'inbound-socket-overflow': 10 });
  });

  it('goes on with other threads, and other offloads', async () => {
    const before = a.host.thread!;
    before.canBeKilled = true;
    before.stick();
    await clock.run(45_000);
    expect(a.host.thread).not.toBe(before);
    overflow(8);
    const { offload } = parseConfig(CONFIG, 'test', 'host').datapath;
    await a.plane.switchOffloads({ ...offload, udpSegment: false });
    a.host.tunDrops = 6;
    expect(drops()).toMatchObject({ 'outbound-queue-overflow': 6, 'inbound-socket-overflow': 8 });
  });
});

describe('a packet path thread that no longer answers', () => {
  const stuck = { code: 'WORKER_STUCK' };

  /** What became of it by the time that so much has passed. */
  async function within<T>(ms: number, work: Promise<T>): Promise<T> {
    const outcome = Promise.race([work, clock.run(ms).then(() => Promise.reject(new Error('it hangs')))]);
    return outcome as Promise<T>;
  }

  async function stick(): Promise<void> {
    await clock.run(10_000);
    expect(a.plane.report()).toMatchObject({ isActive: true, stuckWorkers: 0 });
    a.host.thread!.stick();
  }

  it('is reported, and again when it answers', async () => {
    await stick();
    await clock.run(8000);
    expect(a.plane.report()).toMatchObject({ isActive: false, stuckWorkers: 1 });
    expect(onHealthChange).toHaveBeenCalledTimes(1);
    a.host.thread!.free();
    await clock.run(1000);
    expect(a.plane.report()).toMatchObject({ isActive: true, stuckWorkers: 0 });
    expect(onHealthChange).toHaveBeenCalledTimes(2);
    await clock.run(60_000);
    expect(sendOne()).toBe(1);
    expect(onFailure).not.toHaveBeenCalled();
  });

  it('holds up no change for long, and works by the last one when it answers', async () => {
    await stick();
    await expect(within(5100, a.plane.update([]))).rejects.toMatchObject(stuck);
    // The next ones do not wait again.
    await expect(within(100, a.plane.update([]))).rejects.toMatchObject(stuck);
    expect(await within(100, a.plane.repair())).toEqual([]);
    a.host.thread!.free();
    await clock.run(100);
    await a.plane.update([peer('b', b.plane)]);
    expect(sendOne()).toBe(1);
  });

  it('is ended after half a minute, and another takes its place where that is possible', async () => {
    await stick();
    const before = a.host.thread!;
    before.canBeKilled = true;
    await clock.run(40_000);
    expect(a.host.thread).not.toBe(before);
    expect(a.plane.report()).toMatchObject({ isActive: true, stuckWorkers: 0 });
    expect(onFailure).not.toHaveBeenCalled();
    expect(sendOne()).toBe(1);
  });

  it('ends the agent where that is not possible, and what it uses stays open', async () => {
    await stick();
    await clock.run(25_000);
    expect(onFailure).not.toHaveBeenCalled();
    await clock.run(15_000);
    expect(onFailure).toHaveBeenCalledTimes(1);
    expect(onFailure.mock.calls[0]![0]).toMatchObject(stuck);
    await within(100, a.plane.close());
    expect(a.host.openDescriptors).toBe(2);
    expect(() => a.host.parts.lockTun('warren0')).not.toThrow();
  });

  it('neither holds up the end', async () => {
    await stick();
    await expect(within(8000, a.plane.close())).rejects.toMatchObject(stuck);
    expect(onFailure.mock.calls[0]![0]).toMatchObject(stuck);
    expect(a.host.openDescriptors).toBe(2);
  });

  it('nor a move to another address, which is not made', async () => {
    await stick();
    const next = parseAddress('192.0.2.77');
    a.host.interfaces.get('eth0')!.addresses.push(next);
    const moving = a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1500 });
    await expect(within(8000, moving)).rejects.toMatchObject(stuck);
    expect(formatEndpoint(a.plane.vtep)).toBe('192.0.2.1:4790');
    expect(onFailure).toHaveBeenCalledTimes(1);
  });

  it('from its start ends the agent too, and leaves its sockets open', async () => {
    const { parts } = a.host;
    Object.assign(parts, { startPath: () => new Promise(() => {}) });
    const next = parseAddress('192.0.2.77');
    a.host.interfaces.get('eth0')!.addresses.push(next);
    const moving = a.plane.moveTo({ address: next, interfaceName: 'eth0', mtu: 1500 });
    await expect(within(31_000, moving)).rejects.toMatchObject(stuck);
    expect(onFailure).toHaveBeenCalledTimes(1);
    expect(a.host.openDescriptors).toBe(3);
  });
});
