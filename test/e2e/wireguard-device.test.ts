/**
 * `warren-wireguard` in the place of wireguard-go, set up with `wg`: the cases that WireGuard's own test of an implementation
 * in network namespaces goes through, with warren at one end or both, and what that one leaves out: keys that change, how a
 * device ends.
 *
 *     inner 1 --- wg1 ---[ socket in `outer` ]     [ socket in `outer` ]--- wg2 --- inner 2        both on one loopback
 *     inner 1 --- wg1 --- veth --- outer (NAT) --- veth --- wg2 --- inner 2
 *     inner 1 --- wg1 --- veth ----------------------- veth --- wg2 --- inner 2                      several addresses
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import koffi from 'koffi';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generateWireguardKeys, wireguardSocket } from '../../src/bench/wireguard-control.ts';
import { builtFile } from '../../src/package.ts';
import { Arena } from '../../src/sys/arena.ts';
import { AF_UNIX } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { SOCKADDR_UN } from '../../src/sys/structs.ts';
import { closeTunDevice, openOwnTunDevice } from '../../src/tun/tun-device.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import {
  type Implementation,
  KeyFolder,
  Namespace,
  removeDevice,
  startDevice,
  until,
  WARREN_WIREGUARD as WARREN,
} from '../helpers/wireguard-device.ts';

const ADDRESSES = { 4: ['192.168.241.1', '192.168.241.2'], 6: ['fd00::1', 'fd00::2'] } as const;
const FAMILIES = [4, 6] as const;
const PRESHARED = Buffer.alloc(32, 0x5a).toString('base64');
const PORTS = [10_000, 20_000] as const;
const DEFAULT_MTU = 1_420;
/** More than any link but the loopback carries at once. */
const BIG_MTU = 34_816 - 1_500 + DEFAULT_MTU;
const TRANSFER = '20M';
const INITIATION_BYTES = 148;
const RESPONSE_BYTES = 92;
const KEEPALIVE_BYTES = 32;

interface Keys {
  readonly privateKey: string;
  readonly publicKey: string;
}

function makeKeys(): Keys {
  const { privateKey, publicKey } = generateWireguardKeys();
  const base64 = (hex: string) => Buffer.from(hex, 'hex').toString('base64');
  return { privateKey: base64(privateKey), publicKey: base64(publicKey) };
}

let folder: KeyFolder;
beforeAll(() => {
  folder = new KeyFolder();
});
afterAll(() => folder.remove());

const listen = koffi.load(null).func('int listen(int fd, int backlog)');
const SOCK_STREAM = 1;

/** A unix socket that only listens: Node would take what comes. */
function listenAt(path: string): number {
  const address = new Arena(SOCKADDR_UN.bytes);
  address.view.setUint16(SOCKADDR_UN.family, AF_UNIX, true);
  address.bytes.set(Buffer.from(path), SOCKADDR_UN.path);
  const fd = libc.socket(AF_UNIX, SOCK_STREAM, 0);
  expect(libc.bind(fd, address.base, SOCKADDR_UN.bytes)).toBe(0);
  expect(listen(fd, 8)).toBe(0);
  return fd;
}

/** Two devices, and what is between them. */
class Pair {
  readonly outer = new Namespace();
  readonly inner = [new Namespace(), new Namespace()] as const;
  readonly keys = [makeKeys(), makeKeys()] as [Keys, Keys];
  readonly names: readonly [string, string];
  readonly #by: readonly [Implementation, Implementation];

  constructor(prefix: string, by: readonly [Implementation, Implementation]) {
    this.names = [`${prefix}1`, `${prefix}2`];
    this.#by = by;
  }

  /** `socketsIn`: where the devices are made, and so their sockets are; the interfaces are in `inner` afterwards. */
  async up(socketsIn: 'outer' | 'inner'): Promise<void> {
    for (const at of [0, 1] as const) {
      const where = socketsIn === 'outer' ? this.outer : this.inner[at];
      await startDevice(this.#by[at], where, this.names[at]);
      if (socketsIn === 'outer')
        await this.outer.run('ip', 'link', 'set', this.names[at], 'netns', this.inner[at].netns.name);
      const inner = this.inner[at];
      await inner.all(
        'ip link set lo up',
        `ip address add ${ADDRESSES[4][at]}/24 dev ${this.names[at]}`,
        `ip address add ${ADDRESSES[6][at]}/64 dev ${this.names[at]} nodad`,
      );
      await this.wg(
        at,
        ...['private-key', folder.file(this.keys[at].privateKey), 'listen-port', `${PORTS[at]}`],
        ...['peer', this.keys[1 - at]!.publicKey, 'preshared-key', folder.file(PRESHARED)],
        ...['allowed-ips', `${ADDRESSES[4][1 - at]}/32,${ADDRESSES[6][1 - at]}/128`],
      );
      await inner.run('ip', 'link', 'set', this.names[at], 'up');
    }
    // wireguard-go looks once a second whether an interface that was moved to another namespace is up.
    if (socketsIn === 'outer' && this.#by.includes('wireguard-go')) await sleep(1_100);
  }

  /** Whatever namespace it is called from: a device's socket is a file. */
  wg(at: 0 | 1, ...argv: readonly string[]): Promise<string> {
    return this.outer.run('wg', 'set', this.names[at], ...argv);
  }

  /** Where `at` is to find the other. */
  sendTo(at: 0 | 1, endpoint: string, ...more: readonly string[]): Promise<string> {
    return this.wg(at, 'peer', this.keys[1 - at]!.publicKey, 'endpoint', endpoint, ...more);
  }

  async shown(at: 0 | 1, what: string): Promise<string> {
    const text = await this.outer.run('wg', 'show', this.names[at], what);
    return text.trim().split('\t').slice(1).join(' ');
  }

  ping(from: 0 | 1, family: 4 | 6 = 4, ...options: readonly string[]): Promise<boolean> {
    return this.inner[from].pings(ADDRESSES[family][1 - from]!, ...options);
  }

  async down(): Promise<void> {
    for (const at of [0, 1] as const)
      if (existsSync(wireguardSocket(this.names[at])))
        await removeDevice(this.inner[at], this.names[at]).catch(() => {});
    for (const namespace of [this.outer, ...this.inner]) namespace.remove();
  }
}

const NEEDED = ['root', 'ip', 'wg', 'ping', 'nsenter', 'iperf3', 'nft'] as const;
const PAIRS: readonly [string, Implementation, Implementation][] = [
  ['wgw', 'warren', 'warren'],
  ['wgg', 'warren', 'wireguard-go'],
];

describeUnless(lacking(...NEEDED, 'wireguard-go'), 'a WireGuard device', () => {
  describe.each(PAIRS)('%s: %s and %s over one loopback, moved to other namespaces', (prefix, ...by) => {
    let pair: Pair;

    beforeAll(async () => {
      pair = new Pair(prefix, by);
      await pair.outer.run('ip', 'link', 'set', 'lo', 'up');
      await pair.up('outer');
    });
    afterAll(async () => {
      await pair?.down();
    });

    test('counts what is on the wire', async () => {
      await pair.sendTo(1, `127.0.0.1:${PORTS[0]}`);
      expect(await pair.ping(1, 4, '-c', '10', '-i', '0.01')).toBe(true);
      const [received, sent] = (await pair.shown(0, 'transfer')).split(' ').map(Number);
      const echoes = 10 * (96 + 32);
      expect(sent).toBe(RESPONSE_BYTES + echoes);
      // An initiator that waits for nothing may say at once that it has the keys.
      expect([0, KEEPALIVE_BYTES]).toContain(received! - INITIATION_BYTES - echoes);
      expect(await pair.shown(1, 'transfer')).toBe(`${sent} ${received}`);
      const now = Date.now() / 1_000;
      expect(Math.abs(now - Number(await pair.shown(0, 'latest-handshakes')))).toBeLessThan(30);
    });

    describe.each([
      ['127.0.0.1', DEFAULT_MTU],
      ['127.0.0.1', BIG_MTU],
      ['[::1]', DEFAULT_MTU],
      ['[::1]', BIG_MTU],
    ] as const)('by %s, MTU %i', (host, mtu) => {
      beforeAll(async () => {
        for (const at of [0, 1] as const) {
          await pair.inner[at].run('ip', 'link', 'set', pair.names[at], 'mtu', `${mtu}`);
          await pair.sendTo(at, `${host}:${PORTS[1 - at]}`);
        }
      });

      test.each(FAMILIES)('pings: IPv%i', async (family) => {
        for (const from of [0, 1] as const)
          expect(await pair.ping(from, family, '-c', '5', '-i', '0.01')).toBe(true);
        const bytes = `${mtu - (family === 4 ? 28 : 48)}`;
        expect(await pair.ping(0, family, '-M', 'do', '-s', bytes)).toBe(true);
      });

      test.each(FAMILIES)('TCP and UDP: IPv%i', async (family) => {
        const [first, second] = ADDRESSES[family];
        await pair.inner[0].iperf(pair.inner[1], second, '-n', TRANSFER);
        await pair.inner[1].iperf(pair.inner[0], first, '-n', TRANSFER);
        await pair.inner[1].iperf(pair.inner[0], first, '-n', '10M', '-b', '0', '-u');
      });
    });

    test('the peer follows a new address and a new port, of either family', async () => {
      for (const at of [0, 1] as const)
        await pair.inner[at].run('ip', 'link', 'set', pair.names[at], 'mtu', `${DEFAULT_MTU}`);
      await pair.outer.all(
        'ip -4 address delete 127.0.0.1/8 dev lo',
        'ip -4 address add 127.212.121.99/8 dev lo',
      );
      await pair.wg(0, 'listen-port', '9999');
      await pair.sendTo(0, `127.0.0.1:${PORTS[1]}`);
      expect(await pair.ping(0, 6)).toBe(true);
      expect(await pair.shown(1, 'endpoints')).toBe('127.212.121.99:9999');
      await pair.wg(0, 'listen-port', '9998');
      await pair.sendTo(0, `[::1]:${PORTS[1]}`);
      expect(await pair.ping(0)).toBe(true);
      expect(await pair.shown(1, 'endpoints')).toBe('[::1]:9998');
      expect(await pair.ping(1)).toBe(true);
    });

    test('nobody speaks for addresses that belong to another peer', async () => {
      const other = makeKeys().publicKey;
      await pair.wg(0, 'peer', pair.keys[1].publicKey, 'allowed-ips', '192.168.241.0/24');
      expect(await pair.ping(1)).toBe(true);
      await pair.wg(0, 'peer', other, 'allowed-ips', `${ADDRESSES[4][1]}/32`);
      await pair.wg(1, 'listen-port', '9997');
      expect(await pair.ping(1)).toBe(false);
      await pair.wg(0, 'peer', other, 'remove');
      expect(await pair.outer.run('wg', 'show', pair.names[0], 'endpoints')).toBe(
        `${pair.keys[1].publicKey}\t[::1]:9997\n`,
      );
      expect(await pair.ping(1)).toBe(true);
    });

    test('allowed addresses move from one peer to another and back', async () => {
      const other = makeKeys().publicKey;
      await pair.wg(0, 'peer', other, 'allowed-ips', '192.168.241.0/24');
      expect(await pair.shown(0, 'allowed-ips')).not.toContain(`${pair.keys[1].publicKey}\t192`);
      expect(await pair.ping(0)).toBe(false);
      const both = `${ADDRESSES[4][1]}/32,${ADDRESSES[6][1]}/128`;
      await pair.wg(0, 'peer', other, 'remove', 'peer', pair.keys[1].publicKey, 'allowed-ips', both);
      expect(await pair.ping(0)).toBe(true);
      expect(await pair.ping(0, 6)).toBe(true);
    });

    test('a new key counts at once', async () => {
      pair.keys[0] = makeKeys();
      await pair.wg(0, 'private-key', folder.file(pair.keys[0].privateKey));
      const peers = (await pair.outer.run('wg', 'show', pair.names[1], 'peers')).trim();
      await pair.wg(
        1,
        ...['peer', peers, 'remove', 'peer', pair.keys[0].publicKey, 'preshared-key', folder.file(PRESHARED)],
        ...['allowed-ips', `${ADDRESSES[4][0]}/32,${ADDRESSES[6][0]}/128`],
      );
      expect(await pair.ping(0)).toBe(true);
      expect(await pair.ping(1, 6)).toBe(true);
    });

    test('a tunnel goes through the tunnel, and one that leads into itself is no harm', async () => {
      const names = [`${prefix}3`, `${prefix}4`] as const;
      const keys = [makeKeys(), makeKeys()] as const;
      for (const at of [0, 1] as const) {
        await startDevice('warren', pair.inner[at], names[at]);
        await pair.outer.run(
          ...['wg', 'set', names[at], 'private-key', folder.file(keys[at].privateKey), 'listen-port', '5'],
          ...['peer', keys[1 - at]!.publicKey, 'allowed-ips', `10.9.0.${2 - at}/32`],
          ...['endpoint', `[${ADDRESSES[6][1 - at]}]:5`],
        );
        await pair.inner[at].all(
          `ip address add 10.9.0.${1 + at}/24 dev ${names[at]}`,
          `ip link set ${names[at]} mtu 1340 up`,
        );
      }
      expect(await pair.inner[0].pings('10.9.0.2', '-M', 'do', '-s', '1312')).toBe(true);
      await pair.inner[0].iperf(pair.inner[1], '10.9.0.2', '-n', '10M');
      const peer = keys[1].publicKey;
      await pair.outer.run('wg', 'set', names[0], 'peer', peer, 'endpoint', '10.9.0.2:5');
      // What the other one says of itself may lead it out again.
      await pair.inner[0].pings('10.9.0.2', '-c', '5', '-i', '0.01');
      expect(await pair.ping(0)).toBe(true);
      for (const at of [0, 1] as const) await removeDevice(pair.inner[at], names[at]);
    });

    test('a port that another program has is refused, and the device goes on', async () => {
      const { code, stderr } = await pair.outer.exec(['wg', 'set', pair.names[0], 'listen-port', '9997']);
      expect([code, stderr]).toEqual([1, expect.stringContaining('Address already in use')]);
      expect(await pair.ping(0)).toBe(true);
    });
  });

  describe('behind NAT', () => {
    let pair: Pair;

    beforeAll(async () => {
      pair = new Pair('wgn', ['warren', 'wireguard-go']);
      const { outer, inner } = pair;
      const [first, second] = inner.map(({ netns }) => netns.name);
      await outer.all(
        `ip link add vethrc type veth peer name vethc netns ${first}`,
        `ip link add vethrs type veth peer name veths netns ${second}`,
        'ip address add 192.168.1.1/24 dev vethrc',
        'ip address add 10.0.0.1/24 dev vethrs',
        'ip link set vethrc up',
        'ip link set vethrs up',
        'nft add table ip nat',
      );
      await outer.run('nft', 'add chain ip nat post { type nat hook postrouting priority 100; }');
      await outer.run(
        'nft',
        'add rule ip nat post ip saddr 192.168.1.0/24 ip daddr 10.0.0.0/24 snat to 10.0.0.1',
      );
      await outer.setSysctl('net.ipv4.ip_forward', '1');
      await outer.setSysctl('net.netfilter.nf_conntrack_udp_timeout', '2');
      await outer.setSysctl('net.netfilter.nf_conntrack_udp_timeout_stream', '2');
      await inner[0].all(
        'ip address add 192.168.1.100/24 dev vethc',
        'ip link set vethc up',
        'ip route add default via 192.168.1.1',
      );
      await inner[1].all('ip address add 10.0.0.100/24 dev veths', 'ip link set veths up');
      await pair.up('inner');
    });
    afterAll(async () => {
      await pair?.down();
    });

    test('keepalives keep the way open', async () => {
      await pair.sendTo(0, `10.0.0.100:${PORTS[1]}`, 'persistent-keepalive', '1');
      await until(() => pair.ping(0));
      expect(await pair.ping(1)).toBe(true);
      expect(await pair.shown(1, 'endpoints')).toBe(`10.0.0.1:${PORTS[0]}`);
      // Longer than the router remembers a flow.
      await sleep(3_000);
      expect(await pair.ping(1)).toBe(true);
      await pair.wg(0, 'peer', pair.keys[1].publicKey, 'persistent-keepalive', 'off');
    });

    test('a mark keeps the tunnel out of itself', async () => {
      await pair.inner[1].all(
        `ip address add 192.168.99.7/32 dev ${pair.names[1]}`,
        `ip address add fd99::7/128 dev ${pair.names[1]} nodad`,
      );
      await pair.wg(0, 'fwmark', '51820', 'peer', pair.keys[1].publicKey, 'allowed-ips', '0.0.0.0/0,::/0');
      for (const family of ['-4', '-6'])
        await pair.inner[0].all(
          `ip ${family} route add default dev ${pair.names[0]} table 51820`,
          `ip ${family} rule add not fwmark 51820 table 51820`,
          `ip ${family} rule add table main suppress_prefixlength 0`,
        );
      await pair.inner[0].setSysctl('net.ipv4.conf.vethc.rp_filter', '0');
      expect(await pair.shown(0, 'fwmark').catch(() => '')).toBe('');
      for (const address of ['192.168.99.7', 'fd99::7'])
        expect(await pair.inner[0].pings(address, '-c', '20', '-i', '0.01')).toBe(true);
    });

    test('without it packets go round and are lost, and the device lives', async () => {
      await pair.wg(0, 'fwmark', 'off');
      expect(await pair.inner[0].pings('192.168.99.7', '-c', '20', '-i', '0.01')).toBe(false);
      await pair.wg(0, 'fwmark', '51820');
      await until(() => pair.inner[0].pings('192.168.99.7'));
    });
  });

  describe('between hosts with several addresses', () => {
    let pair: Pair;

    beforeAll(async () => {
      pair = new Pair('wgs', ['warren', 'wireguard-go']);
      const [first, second] = pair.inner;
      await first.run(
        'ip',
        'link',
        'add',
        'veth1',
        'type',
        'veth',
        'peer',
        'name',
        'veth2',
        'netns',
        second.netns.name,
      );
      await first.setSysctl('net.ipv6.conf.veth1.accept_dad', '0');
      await second.setSysctl('net.ipv6.conf.veth2.accept_dad', '0');
      await first.setSysctl('net.ipv4.conf.veth1.promote_secondaries', '1');
      await first.all(
        'ip address add 10.0.0.1/24 dev veth1',
        'ip address add fd00:aa::1/96 dev veth1 nodad',
        'ip link set veth1 up',
      );
      await second.all(
        'ip address add 10.0.0.2/24 dev veth2',
        'ip address add fd00:aa::2/96 dev veth2 nodad',
        'ip link set veth2 up',
      );
      // The kernel takes up to a second to call a new link ready, and IPv6 is not before. A new address is not heard at once
      // either; so what is lost first in these tests says nothing.
      await until(async () =>
        (
          await second.run('ip', '-6', 'address', 'show', 'dev', 'veth2', 'scope', 'link', '-tentative')
        ).includes('fe80'),
      );
      await until(async () =>
        (
          await first.run('ip', '-6', 'address', 'show', 'dev', 'veth1', 'scope', 'link', '-tentative')
        ).includes('fe80'),
      );
      await pair.up('inner');
    });
    afterAll(async () => {
      await pair?.down();
    });

    test('an address that is taken away is given up', async () => {
      const [first] = pair.inner;
      await pair.sendTo(0, `10.0.0.2:${PORTS[1]}`);
      await until(() => pair.ping(0));
      await first.all('ip address add 10.0.0.10/24 dev veth1', 'ip address delete 10.0.0.1/24 dev veth1');
      await until(() => pair.ping(0));
      await pair.sendTo(0, `[fd00:aa::2]:${PORTS[1]}`);
      await until(() => pair.ping(0));
      await first.all(
        'ip address add fd00:aa::10/96 dev veth1 nodad',
        'ip address delete fd00:aa::1/96 dev veth1',
      );
      await until(() => pair.ping(0));
      expect(await pair.shown(1, 'endpoints')).toBe(`[fd00:aa::10]:${PORTS[0]}`);
    });

    test.each(['10.0.0.1', '[fd00:aa::1]', '10.0.0.4', '[fd00:aa::4]'])(
      'who sends to %s is answered from there',
      async (address) => {
        const bare = address.replace(/[[\]]/g, '');
        const length = bare.includes(':') ? 96 : 24;
        const flags = bare.includes(':') ? ['nodad'] : [];
        await pair.inner[0].run('ip', 'address', 'replace', `${bare}/${length}`, 'dev', 'veth1', ...flags);
        await pair.sendTo(1, `${address}:${PORTS[0]}`);
        await until(() => pair.ping(1));
        expect(await pair.shown(1, 'endpoints')).toBe(`${address}:${PORTS[0]}`);
      },
    );

    test('a peer at a link-local address is found by its interface', async () => {
      const [first, second] = pair.inner;
      const text = await second.run('ip', '-6', 'address', 'show', 'dev', 'veth2', 'scope', 'link');
      const [, address] = /inet6 (fe80[^/]+)/.exec(text)!;
      const endpoint = `[${address}%veth1]:${PORTS[1]}`;
      // The name of an interface means something in its own namespace alone.
      await first.run('wg', 'set', pair.names[0], 'peer', pair.keys[1].publicKey, 'endpoint', endpoint);
      await until(() => pair.ping(0));
      const shown = await first.run('wg', 'show', pair.names[0], 'endpoints');
      expect(shown.trim().split('\t')[1]).toBe(endpoint);
      await until(() => pair.ping(1));
    });

    test('who sends to an address of another interface is answered from there', async () => {
      await pair.inner[0].run('ip', 'address', 'add', '10.50.0.1/32', 'dev', 'lo');
      await pair.inner[1].run('ip', 'route', 'add', '10.50.0.0/24', 'dev', 'veth2');
      await pair.sendTo(1, `10.50.0.1:${PORTS[0]}`);
      await until(() => pair.ping(1));
      expect(await pair.shown(1, 'endpoints')).toBe(`10.50.0.1:${PORTS[0]}`);
    });

    test("a better way by another interface takes that one's address", async () => {
      const [first, second] = pair.inner;
      const other = second.netns.name;
      await first.run('ip', 'link', 'add', 'veth3', 'type', 'veth', 'peer', 'name', 'veth4', 'netns', other);
      for (const [where, ...names] of [
        [first, 'all', 'veth1', 'veth3'],
        [second, 'all', 'veth2', 'veth4'],
      ] as const)
        for (const name of names) await where.setSysctl(`net.ipv4.conf.${name}.rp_filter`, '0');
      await second.all('ip address add 10.0.7.2/24 dev veth2', 'ip link set veth4 up');
      await first.all(
        'ip address add 10.0.7.1/32 dev veth1',
        'ip address add 10.0.7.3/32 dev veth3',
        'ip link set veth3 up',
        'ip route add 10.0.7.0/24 dev veth1 src 10.0.7.1 metric 2',
      );
      await pair.sendTo(0, `10.0.7.2:${PORTS[1]}`);
      expect(await pair.ping(0)).toBe(true);
      expect(await pair.shown(1, 'endpoints')).toBe(`10.0.7.1:${PORTS[0]}`);
      await first.run(...'ip route add 10.0.7.0/24 dev veth3 src 10.0.7.3 metric 1'.split(' '));
      // Ways are looked at a moment after the kernel has told of others.
      await sleep(200);
      expect(await pair.ping(0)).toBe(true);
      expect(await pair.shown(1, 'endpoints')).toBe(`10.0.7.3:${PORTS[0]}`);
      expect(await pair.ping(0)).toBe(true);
    });
  });

  describe('configured with much', () => {
    const device = 'wgm0';
    let where: Namespace;

    beforeAll(async () => {
      where = new Namespace();
      await startDevice('warren', where, device);
    });
    afterAll(async () => {
      await removeDevice(where, device);
      where.remove();
    });

    test('has all of it', async () => {
      const lines = [
        '[Interface]',
        `PrivateKey = ${makeKeys().privateKey}`,
        '[Peer]',
        `PublicKey = ${makeKeys().publicKey}`,
      ];
      for (let a = 1; a <= 64; a++)
        for (let b = 0; b < 256; b++)
          lines.push(`AllowedIPs = ${a}.${b}.0.0/16, ${a.toString(16)}::${b.toString(16)}/128`);
      for (let peer = 0; peer < 40; peer++)
        lines.push('[Peer]', `PublicKey = ${makeKeys().publicKey}`, `AllowedIPs = 200.${peer}.0.0/16`);
      await where.run('wg', 'setconf', device, folder.file(lines.join('\n')));
      const shown = (await where.run('wg', 'show', device, 'allowed-ips')).trim().split('\n');
      expect(shown).toHaveLength(41);
      expect(shown.map((line) => line.split(/\s/).length).sort((x, y) => y - x)[0]).toBe(1 + 2 * 64 * 256);
      expect((await where.run('wg', 'showconf', device)).match(/^\[Peer\]/gm)).toHaveLength(41);
    });
  });

  describe('ends', () => {
    const device = 'wge0';
    let where: Namespace;

    beforeAll(() => {
      where = new Namespace();
    });
    afterAll(() => where.remove());

    async function isThere(): Promise<boolean> {
      return (await where.exec(['ip', 'link', 'show', device])).code === 0;
    }

    test('with its interface', async () => {
      await startDevice('warren', where, device);
      expect((await where.run('wg', 'show', 'interfaces')).split(/\s/)).toContain(device);
      await where.run('ip', 'link', 'delete', device);
      await until(() => !existsSync(wireguardSocket(device)));
    });

    test('with its socket', async () => {
      // The command, which is the same.
      const made = await where.exec([process.execPath, builtFile('bin/warren'), 'wireguard', device]);
      expect(made).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(await isThere()).toBe(true);
      await where.run('rm', wireguardSocket(device));
      await until(async () => !(await isThere()));
    });

    test('with an interface of that name, at once', async () => {
      await startDevice('warren', where, device);
      const again = await where.exec([WARREN, device]);
      expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('EBUSY')]);
      // The first one is as it was.
      expect(await isThere()).toBe(true);
      await removeDevice(where, device);
    });

    test('that was given a TUN device and a socket, in the background', async () => {
      const other = 'wgf0';
      const tun = openOwnTunDevice(other, { tso: true, uso: true });
      const socket = listenAt(wireguardSocket(other));
      const child = spawn(WARREN, ['another-name'], {
        stdio: ['ignore', 'ignore', 'inherit', tun.readFds[0]!, socket],
        env: { ...process.env, WG_TUN_FD: '3', WG_UAPI_FD: '4' },
      });
      expect(await once(child, 'exit')).toEqual([0, null]);
      closeTunDevice(tun);
      libc.close(socket);
      expect(await where.run('wg', 'show', other)).toContain(`interface: ${other}`);
      execFileSync('ip', ['link', 'delete', other]);
      await until(() => !existsSync(wireguardSocket(other)));
    });

    test('in the foreground with a signal, and takes both with it', async () => {
      const argv = [`--net=${where.netns.path}`, '--', WARREN, '--foreground', device];
      const running = spawn('nsenter', argv, { stdio: 'ignore' });
      const ended = once(running, 'exit');
      try {
        await until(() => existsSync(wireguardSocket(device)));
        // Not before: it is to have what it takes with it.
        running.kill('SIGTERM');
        await ended;
      } finally {
        running.kill('SIGKILL');
      }
      expect(existsSync(wireguardSocket(device))).toBe(false);
      expect(await isThere()).toBe(false);
    });
  });

  test('is made, used and removed by wg-quick', async (context) => {
    if (lacking('wg-quick') !== undefined) return context.skip('wg-quick is not installed');
    if (existsSync('/sys/module/wireguard'))
      return context.skip("wg-quick takes the kernel's WireGuard here");
    const pair = new Pair('wgq', ['warren', 'wireguard-go']);
    const [first] = pair.inner;
    try {
      await pair.outer.run('ip', 'link', 'set', 'lo', 'up');
      await first.run(
        'ip',
        'link',
        'add',
        'veth1',
        'type',
        'veth',
        'peer',
        'name',
        'veth2',
        'netns',
        pair.inner[1].netns.name,
      );
      await first.all('ip link set lo up', 'ip address add 10.0.0.1/24 dev veth1', 'ip link set veth1 up');
      await pair.inner[1].all('ip address add 10.0.0.2/24 dev veth2', 'ip link set veth2 up');
      await startDevice('wireguard-go', pair.inner[1], pair.names[1]);
      await pair.wg(
        1,
        ...['private-key', folder.file(pair.keys[1].privateKey), 'listen-port', `${PORTS[1]}`],
        ...['peer', pair.keys[0].publicKey, 'allowed-ips', '192.168.241.1/32'],
      );
      await pair.inner[1].all(
        `ip address add 192.168.241.2/24 dev ${pair.names[1]}`,
        `ip link set ${pair.names[1]} up`,
      );
      const file = folder.program(
        `${pair.names[0]}.conf`,
        [
          '[Interface]',
          `PrivateKey = ${pair.keys[0].privateKey}`,
          'Address = 192.168.241.1/24',
          '[Peer]',
          `PublicKey = ${pair.keys[1].publicKey}`,
          'AllowedIPs = 0.0.0.0/0',
          `Endpoint = 10.0.0.2:${PORTS[1]}`,
          'PersistentKeepalive = 25',
          '',
        ].join('\n'),
      );
      const env = { WG_QUICK_USERSPACE_IMPLEMENTATION: WARREN };
      const up = await first.exec(['wg-quick', 'up', file], env);
      expect(up.code, up.stderr).toBe(0);
      await until(() => first.pings('192.168.241.2'));
      // All else goes there, too, and the tunnel itself does not.
      await pair.inner[1].run('ip', 'address', 'add', '198.51.100.7/32', 'dev', pair.names[1]);
      expect(await first.pings('198.51.100.7')).toBe(true);
      const down = await first.exec(['wg-quick', 'down', file], env);
      expect(down.code, down.stderr).toBe(0);
      await until(() => !existsSync(wireguardSocket(pair.names[0])));
    } finally {
      await pair.down();
    }
  });
});
