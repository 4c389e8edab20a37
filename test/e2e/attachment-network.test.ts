import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LinuxAttachmentNetwork } from '../../src/host/attachment/linux-attachment-network.ts';
import type { NamespaceThreadOptions } from '../../src/host/attachment/namespace-thread.ts';
import { parseAddress } from '../../src/ip/address.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { builtFile } from '../../src/package.ts';
import { addressesOf, linkOf, throwawayNode } from '../helpers/attachment-links.ts';
import { hamperedWorker, MS_BIND, READ_ONLY_SETTINGS, strandedWorker } from '../helpers/hampered-worker.ts';
import { PATIENTLY } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const MISSING = lacking('root', 'ip', 'nsenter', 'ping', 'nft');

interface LinkJson {
  readonly ifindex: number;
  readonly ifname: string;
  readonly mtu: number;
  readonly gso_max_segs: number;
}

describeUnless(MISSING, 'attachments on the host', () => {
  let node: ThrowawayNetns;
  let network: LinuxAttachmentNetwork;
  const networks: LinuxAttachmentNetwork[] = [];
  const extra: ThrowawayNetns[] = [];
  const names: string[] = [];
  let folder: string;

  const open = (options: Partial<NamespaceThreadOptions> = {}) => {
    const one = new LinuxAttachmentNetwork({ log: silentLogger, netns: node.path, ...options });
    networks.push(one);
    return one;
  };
  const namespace = () => {
    const ns = throwawayNetns();
    extra.push(ns);
    return ns;
  };
  /** An attachment in a namespace of its own. */
  const attach = async (n: number) => {
    const ns = namespace();
    const link = linkOf(n, ns.path);
    await network.ensure(link);
    return { ns, link };
  };
  /** Without what the kernel finds out of an other end a moment after it is there. */
  const linksOf = (ns: ThrowawayNetns) => ns.run('ip', '-o', 'link').replace(/state \S+|NO-CARRIER,/g, '');
  /** Without the same. */
  const linkJson = (ns: ThrowawayNetns, name: string): LinkJson | undefined => {
    try {
      const [shown] = JSON.parse(ns.run('ip', '-json', '-details', 'link', 'show', 'dev', name));
      const { operstate: _, flags, ...link } = shown;
      return { ...link, flags: flags.filter((flag: string) => flag !== 'NO-CARRIER') };
    } catch {
      return undefined;
    }
  };
  const ping = (ns: ThrowawayNetns, target: string, ...more: string[]) =>
    ns.run('ping', '-n', '-c1', ...PATIENTLY, ...more, target);
  const expectReached = (ns: ThrowawayNetns, target: string, source: string) =>
    expect(ping(ns, target, '-I', source), target).toContain(' 0% packet loss');
  const isReached = (ns: ThrowawayNetns, target: string, source: string) => {
    try {
      return ns.run('ping', '-n', '-c1', '-W1', '-I', source, target).includes(' 0% packet loss');
    } catch {
      return false;
    }
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-attachments-test-'));
    node = throwawayNode();
    network = open();
  });

  afterEach(async () => {
    for (const one of networks.splice(0)) await one.close();
    for (const ns of extra.splice(0)) if (existsSync(ns.path)) ns.remove();
    for (const name of names.splice(0)) {
      if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'delete', name]);
    }
    node.remove();
    rmSync(folder, { recursive: true });
  });

  it('reach the node and each other over both families, with all settings as they are to be', async () => {
    const [web, db] = [await attach(2), await attach(3)];
    for (const target of ['10.42.3.1', 'fd42:0:0:3::1', ...addressesOf(3)]) {
      expect(ping(web.ns, target)).toContain(' 0% packet loss');
    }
    for (const target of addressesOf(3)) expect(ping(node, target)).toContain(' 0% packet loss');
    expect(node.run('ip', 'route', 'show', 'proto', '87').trim().split('\n')).toEqual([
      expect.stringMatching(/^10\.42\.3\.2 dev wp2 scope link src 10\.42\.3\.1/),
      expect.stringMatching(/^10\.42\.3\.3 dev wp3 scope link src 10\.42\.3\.1/),
    ]);
    expect(node.run('ip', '-6', 'route', 'show', 'proto', '87').trim().split('\n')).toEqual([
      expect.stringMatching(/^fd42:0:0:3::2 dev wp2 metric 1024/),
      expect.stringMatching(/^fd42:0:0:3::3 dev wp3 metric 1024/),
    ]);
    expect(web.ns.run('ip', 'route').trim()).toBe('default via 10.42.3.1 dev eth0 onlink');
    expect(web.ns.run('ip', '-6', 'route', 'show', 'default').trim()).toMatch(
      /^default via fe80::1 dev eth0/,
    );
    expect(linkJson(node, 'wp2')).toMatchObject({ mtu: 1400, inet6_addr_gen_mode: 'none' });
    expect(linkJson(db.ns, 'eth0')).toMatchObject({ mtu: 1400, gso_max_segs: 44 });
    expect(linkJson(db.ns, 'lo')).toMatchObject({ flags: expect.arrayContaining(['UP']) });
    const setting = (ns: ThrowawayNetns, name: string) => ns.run('cat', `/proc/sys/net/${name}`).trim();
    expect(setting(node, 'ipv6/conf/wp2/accept_ra')).toBe('0');
    expect(setting(node, 'ipv4/conf/wp2/rp_filter')).toBe('1');
    expect(setting(web.ns, 'ipv6/conf/eth0/accept_ra')).toBe('0');
    expect(setting(web.ns, 'ipv6/conf/eth0/accept_dad')).toBe('0');
    const addresses = (ns: ThrowawayNetns, name: string, scope: string) =>
      ns.run('ip', '-o', 'address', 'show', 'dev', name, 'scope', scope).match(/(?<=inet6? )\S+/g);
    expect(addresses(node, 'wp2', 'link')).toEqual(['fe80::1/64']);
    expect(addresses(node, 'wp2', 'global')).toBeNull();
    expect(addresses(web.ns, 'eth0', 'global')).toEqual(['10.42.3.2/32', 'fd42:0:0:3::2/128']);
    expect(network.problems()).toEqual([]);
    expect(await network.findDamaged([web.link, db.link])).toEqual([]);
  });

  it('may send from their own addresses only, whoever else has the address', async () => {
    const [web, db] = [await attach(2), await attach(3)];
    const others = [
      ['10.42.3.99', 'fd42:0:0:3::99'],
      [addressesOf(3)[0], addressesOf(3)[1]],
    ] as const;
    // Whoever answers a forged address must have a way back to the forger: the node has one to a stranger only here.
    node.run('ip', 'route', 'add', '10.42.3.99/32', 'dev', 'wp2');
    node.run('ip', 'route', 'add', 'fd42:0:0:3::99/128', 'dev', 'wp2');
    const third = await attach(4);
    for (const [ipv4, ipv6] of others) {
      web.ns.run('ip', 'address', 'add', `${ipv4}/32`, 'dev', 'eth0');
      web.ns.run('ip', 'address', 'add', `${ipv6}/128`, 'dev', 'eth0', 'nodad');
      for (const target of ['10.42.3.1', addressesOf(4)[0]]) {
        // First, so that the way to the node is known: it answers no ARP request from a foreign address either.
        expectReached(web.ns, target, addressesOf(2)[0]);
        expect(isReached(web.ns, target, ipv4), `${ipv4} to ${target}`).toBe(false);
      }
      for (const target of ['fd42:0:0:3::1', addressesOf(4)[1]]) {
        expectReached(web.ns, target, addressesOf(2)[1]);
        expect(isReached(web.ns, target, ipv6), `${ipv6} to ${target}`).toBe(false);
      }
    }
    // None of the eight was stopped by anything else, and nothing of those that may was counted.
    expect(await network.countForeignSources()).toBeGreaterThanOrEqual(8);
    expectReached(db.ns, addressesOf(4)[1], addressesOf(3)[1]);
    expectReached(third.ns, 'fd42:0:0:3::1', addressesOf(4)[1]);
  });

  it('may do on the link what a link needs, and nothing else from a link-local address', async () => {
    const { ns } = await attach(2);
    const before = await network.countForeignSources();
    ns.run('ip', 'neigh', 'flush', 'dev', 'eth0');
    node.run('ip', 'neigh', 'flush', 'dev', 'wp2');
    expect(ping(ns, 'fd42:0:0:3::1')).toContain(' 0% packet loss');
    ns.run('ip', 'neigh', 'flush', 'dev', 'eth0');
    node.run('ip', 'neigh', 'flush', 'dev', 'wp2');
    expect(ping(node, addressesOf(2)[1])).toContain(' 0% packet loss');
    // A link-local address of one's own, and a solicitation from it.
    ns.run('ip', 'address', 'replace', 'fe80::2/64', 'dev', 'eth0', 'nodad');
    ns.run('ip', 'neigh', 'flush', 'dev', 'eth0');
    expect(() => ns.run('ping', '-n', '-c1', '-W1', '-I', 'fe80::2%eth0', 'fe80::1%eth0')).toThrow();
    expect(ns.run('ip', 'neigh', 'show', 'fe80::1', 'dev', 'eth0')).toContain('lladdr');
    expect(await network.countForeignSources()).toBe(before + 1);
  });

  it('are left untouched by a restart, with their permissions and what was counted', async () => {
    const { ns, link } = await attach(2);
    expect(ping(ns, '10.42.3.1')).toContain(' 0% packet loss');
    ns.run('ip', 'address', 'add', '10.42.3.99/32', 'dev', 'eth0');
    expect(isReached(ns, '10.42.3.1', '10.42.3.99')).toBe(false);
    ns.run('ip', 'address', 'delete', '10.42.3.99/32', 'dev', 'eth0');
    const look = () => [
      linkJson(ns, 'eth0'),
      linkJson(node, 'wp2'),
      ns.run('ip', 'route'),
      node.run('nft', 'list', 'table', 'inet', 'warren').replace(/bytes \d+/, ''),
    ];
    const before = look();
    const restarted = open();
    await restarted.ensure(link);
    expect(look()).toEqual(before);
    expect(await restarted.countForeignSources()).toBe(1);
    expect(await restarted.findDamaged([link])).toEqual([]);
  });

  it('are damaged by a flush of all rules, which is put back; so are single parts', async () => {
    const [web, db] = [await attach(2), await attach(3)];
    const links = [web.link, db.link];
    const damages: [command: string[], damaged: number][] = [
      [['nft', 'flush', 'ruleset'], 2],
      [['nft', 'flush', 'chain', 'inet', 'warren', 'source_check'], 2],
      [['nft', 'delete', 'element', 'inet', 'warren', 'attachments', '{ "wp2" }'], 1],
      [['nft', 'flush', 'set', 'inet', 'warren', 'ipv6_sources'], 2],
      [['ip', 'link', 'set', 'dev', 'wp2', 'down'], 1],
      [['ip', 'link', 'set', 'dev', 'wp2', 'mtu', '1300'], 1],
      [['ip', 'route', 'delete', '10.42.3.2/32'], 1],
      [['ip', 'route', 'replace', '10.42.3.2/32', 'dev', 'wp2', 'proto', '87'], 1],
      [['ip', 'route', 'delete', 'fd42:0:0:3::2/128'], 1],
      [['ip', 'address', 'delete', 'fe80::1/64', 'dev', 'wp2'], 1],
      [['ip', 'link', 'delete', 'dev', 'wp2'], 1],
    ];
    for (const [command, count] of damages) {
      node.run(...command);
      const damaged = await network.findDamaged(links);
      expect(damaged, command.join(' ')).toEqual(links.slice(0, count));
      for (const link of damaged) await network.ensure(link);
      expect(await network.findDamaged(links), command.join(' ')).toEqual([]);
      web.ns.run('ip', 'address', 'add', 'fd42:0:0:3::99/128', 'dev', 'eth0', 'nodad');
      expect(isReached(web.ns, 'fd42:0:0:3::1', 'fd42:0:0:3::99'), command.join(' ')).toBe(false);
      web.ns.run('ip', 'address', 'delete', 'fd42:0:0:3::99/128', 'dev', 'eth0');
      for (const target of addressesOf(3)) expect(ping(web.ns, target)).toContain(' 0% packet loss');
    }
  });

  it('lose addresses, routes and permissions that they no longer have', async () => {
    const { ns, link } = await attach(2);
    const { ifindex } = linkJson(ns, 'eth0')!;
    ns.run('ip', 'address', 'add', '10.42.3.77/32', 'dev', 'eth0');
    ns.run('ip', 'route', 'flush', 'default');
    const moved = { ...link, addresses: addressesOf(9).map(parseAddress) };
    await network.ensure(moved);
    expect(linkJson(ns, 'eth0')!.ifindex).toBe(ifindex);
    const addresses = ns.run('ip', '-o', 'address', 'show', 'dev', 'eth0', 'scope', 'global');
    expect(addresses.match(/(?<=inet6? )\S+/g)).toEqual(['10.42.3.9/32', 'fd42:0:0:3::9/128']);
    expect(ping(ns, 'fd42:0:0:3::1')).toContain(' 0% packet loss');
    expect(ping(ns, '10.42.3.1')).toContain(' 0% packet loss');
    expect(node.run('ip', 'route', 'show', 'proto', '87')).toMatch(/^10\.42\.3\.9 \S.*\n$/);
    expect(node.run('ip', '-6', 'route', 'show', 'proto', '87')).toMatch(/^fd42:0:0:3::9 .*\n$/);
    const sources = node.run('nft', 'list', 'set', 'inet', 'warren', 'ipv4_sources');
    expect(sources).toContain('"wp2" . 10.42.3.9');
    expect(sources).not.toContain('10.42.3.2');
  });

  it('are made many at a time', async () => {
    const spaces = Array.from({ length: 20 }, namespace);
    await Promise.all(spaces.map((ns, i) => network.ensure(linkOf(i + 2, ns.path))));
    for (const [i, ns] of spaces.entries()) {
      const other = ((i + 1) % 20) + 2;
      expect(ping(ns, addressesOf(other)[i % 2]!)).toContain(' 0% packet loss');
    }
  });

  it('are removed many at a time, and no others with them', async () => {
    const all = await Promise.all([2, 3, 4, 5, 6].map(attach));
    const [kept, ...gone] = all;
    // As a thread leaves it that is lost before it deletes what it has gathered.
    node.run('ip', 'link', 'set', 'dev', 'wp2', 'group', String(0x7761_7272));
    await network.ensure(kept!.link);
    await Promise.all(gone.map(({ link }) => network.remove(link)));
    expect(node.run('ip', '-o', 'link', 'show', 'type', 'veth').match(/wp\d+/g)).toEqual(['wp2']);
    expect(node.run('nft', 'list', 'set', 'inet', 'warren', 'ipv6_sources').match(/wp\d+/g)).toEqual(['wp2']);
    expect(ping(kept!.ns, '10.42.3.1')).toContain(' 0% packet loss');
  });

  it('get another MTU without being made anew', async () => {
    const { ns, link } = await attach(2);
    const before = [linkJson(ns, 'eth0')!.ifindex, linkJson(node, 'wp2')!.ifindex];
    await network.ensure({ ...link, mtu: 1320, gsoMaxSegments: 30 });
    expect([linkJson(ns, 'eth0')!.ifindex, linkJson(node, 'wp2')!.ifindex]).toEqual(before);
    expect(linkJson(ns, 'eth0')).toMatchObject({ mtu: 1320, gso_max_segs: 30 });
    expect(linkJson(node, 'wp2')).toMatchObject({ mtu: 1320 });
  });

  it('without a namespace leave their other end to be moved, and alone from then on', async () => {
    const ns = namespace();
    const link = linkOf(2, undefined, { interfaceName: 'veth-moving' });
    await network.ensure(link);
    expect(linkJson(node, 'veth-moving')).toMatchObject({ mtu: 1400, gso_max_segs: 44 });
    await network.ensure({ ...link, mtu: 1350 });
    expect(linkJson(node, 'veth-moving')).toMatchObject({ mtu: 1350, gso_max_segs: 44 });
    await network.ensure(link);
    node.run('ip', 'link', 'set', 'dev', 'veth-moving', 'netns', ns.path);
    ns.run('ip', 'link', 'set', 'dev', 'veth-moving', 'name', 'eth7', 'up');
    const moved = linkJson(ns, 'eth7');
    const others = linksOf(node);
    expect(await network.findDamaged([link])).toEqual([]);
    await network.ensure(link);
    expect(linkJson(ns, 'eth7')).toEqual(moved);
    expect(linksOf(node)).toBe(others);
    ns.run('ip', 'address', 'add', '10.42.3.2/32', 'dev', 'eth7');
    ns.run('ip', 'route', 'add', 'default', 'via', '10.42.3.1', 'dev', 'eth7', 'onlink');
    expect(ping(ns, '10.42.3.1')).toContain(' 0% packet loss');
    node.run('ip', 'link', 'add', 'name', 'in-the-way', 'type', 'bridge');
    await expect(network.ensure(linkOf(3, undefined, { interfaceName: 'in-the-way' }))).rejects.toMatchObject(
      { code: 'POD_INTERFACE_EXISTS' },
    );
  });

  it('are refused where something is in the way, and leave nothing behind', async () => {
    const [bridged, foreign, gone] = [namespace(), namespace(), namespace()];
    bridged.run('ip', 'link', 'add', 'name', 'eth0', 'type', 'bridge');
    // Two pairs of the same indexes: the other end of the node's is elsewhere, that of this eth0 too.
    const veth = (end: ThrowawayNetns, name: string) => {
      const peer = ['peer', 'name', 'eth0', 'index', '60'];
      end.run('ip', 'link', 'add', 'name', name, 'index', '50', 'type', 'veth', ...peer);
    };
    veth(node, 'wp2');
    node.run('ip', 'link', 'set', 'dev', 'eth0', 'netns', namespace().path);
    const elsewhere = namespace();
    veth(elsewhere, 'wp2');
    elsewhere.run('ip', 'link', 'set', 'dev', 'eth0', 'netns', foreign.path);
    await expect(network.ensure(linkOf(2, foreign.path))).rejects.toMatchObject({
      code: 'POD_INTERFACE_EXISTS',
    });
    node.run('ip', 'link', 'delete', 'dev', 'wp2');
    gone.remove();
    node.run('ip', 'link', 'add', 'name', 'wp6', 'type', 'bridge');
    const before = linksOf(node);
    const refused: [link: ReturnType<typeof linkOf>, code: string][] = [
      [linkOf(2, bridged.path), 'POD_INTERFACE_EXISTS'],
      [linkOf(2, foreign.path), 'POD_INTERFACE_EXISTS'],
      [linkOf(2, gone.path), 'POD_NETNS_MISSING'],
      [linkOf(2, '/etc/passwd'), 'POD_NETNS_MISSING'],
      [linkOf(2, '/proc/self/ns/mnt'), 'POD_NETNS_MISSING'],
      [linkOf(6, namespace().path), 'POD_INTERFACE_EXISTS'],
      [linkOf(2, namespace().path, { mtu: 70_000 }), 'HOST_NETLINK_FAILED'],
      // Only found out when everything else is there: the gateway is not this node's.
      [linkOf(2, namespace().path, { gateways: [parseAddress('10.42.8.1')] }), 'HOST_NETLINK_FAILED'],
      [linkOf(2, namespace().path, { gateways: [] }), 'ATTACHMENT_NO_GATEWAY'],
    ];
    for (const [link, code] of refused) await expect(network.ensure(link)).rejects.toMatchObject({ code });
    expect(linksOf(node)).toBe(before);
    expect(node.run('nft', 'list', 'ruleset')).not.toContain('wp2');
    expect(linkJson(bridged, 'eth0')).toBeDefined();
    // None of that has left the thread in another namespace.
    await attach(3);
  });

  it('go with all that came with them, others untouched, and the table goes with the last', async () => {
    const other = open();
    const [web, db] = [await attach(2), await attach(3)];
    await network.remove(web.link);
    await network.remove(web.link);
    expect(linkJson(web.ns, 'eth0')).toBeUndefined();
    expect(node.run('ip', 'route', 'show', 'proto', '87')).not.toContain('10.42.3.2 ');
    const rules = node.run('nft', 'list', 'ruleset');
    expect(rules).not.toContain('wp2');
    expect(rules.match(/"wp3"/g)).toHaveLength(3);
    await other.removeTable();
    expect(node.run('nft', 'list', 'ruleset')).toContain('"wp3"');
    await other.remove(db.link);
    await other.removeTable();
    await other.removeTable();
    expect(node.run('nft', 'list', 'ruleset')).toBe('');
    // Also without any table.
    await network.remove(db.link);
    await attach(4);
    expect(node.run('nft', 'list', 'ruleset')).toContain('"wp4"');
  });

  it('live in namespaces that are made and removed as iproute2 does', async () => {
    const name = `${node.name}-made`;
    const path = `/run/netns/${name}`;
    names.push(name);
    // What a reboot leaves.
    writeFileSync(path, '');
    expect(network.identityOf(path)).toBeUndefined();
    await network.addNamespace(name);
    const identity = network.identityOf(path);
    expect(identity).toMatch(/:\d+$/);
    expect(network.identityOf(path)).toBe(identity);
    expect(execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })).toContain(name);
    expect(execFileSync('ip', ['-n', name, '-o', 'link'], { encoding: 'utf8' })).toMatch(/^1: lo: /);
    await expect(network.addNamespace(name)).rejects.toMatchObject({ code: 'POD_NETNS_EXISTS' });
    await expect(network.addNamespace('../x')).rejects.toMatchObject({ code: 'POD_NETNS_NAME_INVALID' });
    await network.ensure(linkOf(2, path));
    expect(
      execFileSync('ip', ['netns', 'exec', name, 'ping', '-c1', ...PATIENTLY, '10.42.3.1']).toString(),
    ).toContain(' 0% packet loss');
    await network.removeNamespace(name);
    await network.removeNamespace(name);
    expect(existsSync(path)).toBe(false);
    expect(readlinkSync('/proc/thread-self/ns/net')).toBe(readlinkSync('/proc/self/ns/net'));
  });

  it('are made where /proc/sys is read-only', async () => {
    network = open({ startWorker: hamperedWorker(READ_ONLY_SETTINGS) });
    const { ns } = await attach(2);
    expect(ping(ns, 'fd42:0:0:3::1')).toContain(' 0% packet loss');
    const settings = ['ipv6/conf/wp2/accept_ra', 'ipv4/conf/wp2/rp_filter'];
    expect(node.run('cat', ...settings.map((name) => `/proc/sys/net/${name}`))).toBe('0\n1\n');
    const inside = ['ipv6/conf/eth0/accept_ra', 'ipv6/conf/eth0/accept_dad'];
    expect(ns.run('cat', ...inside.map((name) => `/proc/sys/net/${name}`))).toBe('0\n0\n');
  });

  it('work without nft, with what is missing said', async () => {
    const nft = execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin:/sbin; command -v nft'], {
      encoding: 'utf8',
    });
    network = open({ startWorker: hamperedWorker([['/dev/null', nft.trim(), MS_BIND]]) });
    const { ns, link } = await attach(2);
    expect(ping(ns, 'fd42:0:0:3::1')).toContain(' 0% packet loss');
    ns.run('ip', 'address', 'add', '10.42.3.99/32', 'dev', 'eth0');
    expect(isReached(ns, '10.42.3.1', '10.42.3.99')).toBe(false);
    expect(network.problems()).toEqual([
      expect.stringMatching(/^the sources of attachments are not checked by nftables: .*nft/),
    ]);
    expect(await network.findDamaged([link])).toEqual([]);
    await network.remove(link);
    expect(linkJson(node, 'wp2')).toBeUndefined();
  });

  describe('when the thread', () => {
    const workers: Worker[] = [];
    /** Of this process: the network namespaces and sockets that it holds. */
    const openDescriptors = () =>
      readdirSync('/proc/self/fd')
        .flatMap((fd) => {
          try {
            return readlinkSync(`/proc/self/fd/${fd}`);
          } catch {
            return [];
          }
        })
        .filter((target) => /^(net|socket):/.test(target))
        .sort();
    const startWorker: NamespaceThreadOptions['startWorker'] = (workerData) => {
      const worker = new Worker(builtFile('host/attachment/worker'), { workerData });
      workers.push(worker);
      return worker;
    };

    it('is killed in the middle, nothing is left, and another one goes on', async () => {
      const descriptors = openDescriptors();
      network = open({ startWorker });
      const spaces = Array.from({ length: 12 }, namespace);
      // However far the thread has come when this one gets its processor back, it does not get past the last one.
      const pipe = join(folder, 'waits-for-a-writer');
      execFileSync('mkfifo', [pipe]);
      const made: number[] = [];
      const results = spaces.map(async (ns, i) => {
        await network.ensure(linkOf(i + 2, ns.path));
        made.push(i + 2);
        if (made.length !== 3) return;
        // With others half way and waiting.
        const ended = workers.at(-1)!.terminate();
        const writer = openSync(pipe, 'r+');
        await ended;
        closeSync(writer);
      });
      const settled = await Promise.allSettled([...results, network.ensure(linkOf(20, pipe))]);
      const failed = settled.filter((one) => one.status === 'rejected');
      expect(failed.length).toBeGreaterThan(0);
      for (const { reason } of failed) expect(reason).toMatchObject({ code: 'NAMESPACE_THREAD_LOST' });
      const links: LinkJson[] = JSON.parse(node.run('ip', '-json', 'link', 'show', 'type', 'veth'));
      const answered = made.map((n) => `wp${n}`);
      // What was whole when its answer was lost may be there too; what is there is whole.
      const whole = links.map(({ ifname }) => Number(ifname.slice(2)));
      expect(links.map(({ ifname }) => ifname)).toEqual(expect.arrayContaining(answered));
      for (const n of whole) expect(ping(spaces[n - 2]!, '10.42.3.1')).toContain(' 0% packet loss');
      for (const [i, ns] of spaces.entries()) await network.ensure(linkOf(i + 2, ns.path));
      expect(ping(spaces[11]!, addressesOf(2)[1])).toContain(' 0% packet loss');
      expect(workers).toHaveLength(2);
      await network.close();
      expect(openDescriptors()).toEqual(descriptors);
    });

    it('cannot come home from a namespace, it ends, and another one goes on', async () => {
      let isFirst = true;
      network = open({
        startWorker: (settings) => {
          const start = isFirst ? strandedWorker : startWorker!;
          isFirst = false;
          return start(settings);
        },
      });
      const ns = namespace();
      const before = linksOf(node);
      await expect(network.ensure(linkOf(2, ns.path))).rejects.toMatchObject({
        code: 'NAMESPACE_THREAD_LOST',
      });
      expect(linksOf(node)).toBe(before);
      await network.ensure(linkOf(2, ns.path));
      expect(ping(ns, '10.42.3.1')).toContain(' 0% packet loss');
    });

    it('has nothing to do, it ends, and the next operation starts another', async () => {
      workers.length = 0;
      network = open({ startWorker, idleMs: 1 });
      const { link } = await attach(2);
      await new Promise((resolve) => workers[0]!.once('exit', resolve));
      expect(await network.findDamaged([link])).toEqual([]);
      expect(workers).toHaveLength(2);
    });
  });
});
