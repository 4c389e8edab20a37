/** What the facts are taken from, against files and output as hosts have them. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readForwardPolicy } from '../../../src/host/rules/forward-policy.ts';
import { legacyView, parseDroppingChains } from '../../../src/host-check/gather-firewall.ts';
import {
  gatherCniConfigurations,
  gatherManagers,
  gatherModules,
} from '../../../src/host-check/gather-machine.ts';
import { gatherSockets, parseSocketTable } from '../../../src/host-check/gather-sockets.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warren-host-check-'));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text = ''): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const UDP =
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n' +
  '  577: 0100007F:1F0A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4242 2 0 0\n';
const TCP6 =
  '  sl  local_address remote_address st\n' +
  '   0: B80D0120000000000000000001000000:1F0A 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 77 1\n' +
  '   1: B80D0120000000000000000001000000:1F0A 00000000000000000000000000000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 78 1\n';

describe('sockets', () => {
  it('are read with their addresses; connections are none', () => {
    expect(parseSocketTable('udp', UDP)).toEqual([
      { protocol: 'udp', address: '127.0.0.1', port: 7946, inode: '4242' },
    ]);
    expect(parseSocketTable('tcp6', TCP6)).toEqual([
      { protocol: 'tcp', address: '2001:db8::1', port: 7946, inode: '77' },
    ]);
    expect(parseSocketTable('udp', 'nonsense\n\n')).toEqual([]);
  });

  it('are found with the process that has them', () => {
    write('self/net/udp', UDP);
    write('812/comm', 'dockerd\n');
    write('812/cmdline', '/usr/bin/dockerd\0-H\0fd://\0');
    mkdirSync(join(root, '812/fd'));
    symlinkSync('socket:[4242]', join(root, '812/fd/7'));
    symlinkSync('/dev/null', join(root, '812/fd/8'));
    write('version');
    const process = { pid: 812, name: 'dockerd', command: '/usr/bin/dockerd -H fd://' };
    expect(gatherSockets(new Set([7946]), root)).toEqual([
      { protocol: 'udp', address: '127.0.0.1', port: 7946, process },
    ]);
    expect(gatherSockets(new Set([4790]), root)).toEqual([]);
    rmSync(join(root, '812'), { recursive: true });
    expect(gatherSockets(new Set([7946]), root)).toMatchObject([{ process: undefined }]);
  });
});

describe('modules', () => {
  it('are there, loadable or missing', () => {
    write('sys/module/tun/refcnt', '0');
    write('lib/modules/6.1/modules.builtin', 'kernel/drivers/net/veth.ko\n');
    write('lib/modules/6.1/modules.dep', 'kernel/net/netfilter/nf_tables.ko.xz: kernel/lib/x.ko\n');
    write('proc/kallsyms', 'ffffffff81dd9870 t vxlan_newlink\n');
    expect(gatherModules(root, '6.1')).toEqual({
      tun: 'there',
      veth: 'there',
      nf_tables: 'loadable',
      vxlan: 'there',
      br_netfilter: 'missing',
    });
  });

  it('are not known where nothing can be listed', () => {
    expect(new Set(Object.values(gatherModules(root, '6.1')))).toEqual(new Set(['unknown']));
  });
});

describe('what manages interfaces', () => {
  it('is absent, told or not told', () => {
    expect(gatherManagers(root, 'warren0')).toEqual({ networkManager: 'absent', networkd: 'absent' });
    write('run/NetworkManager/devices/1');
    write('run/systemd/netif/state');
    write('etc/NetworkManager/conf.d/calico.conf', '[keyfile]\nunmanaged-devices=interface-name:cali*\n');
    write('etc/systemd/network/80-all.network', '[Match]\nName=*\n');
    expect(gatherManagers(root, 'warren0')).toEqual({ networkManager: 'untold', networkd: 'untold' });
    write(
      'etc/NetworkManager/conf.d/mine.conf',
      '[keyfile]\nunmanaged-devices+=interface-name:warren0;interface-name:wp*\n',
    );
    write('etc/systemd/network/05-warren.network', '[Match]\nName=warren0 wp*\n\n[Link]\nUnmanaged=yes\n');
    expect(gatherManagers(root, 'warren0')).toEqual({ networkManager: 'told', networkd: 'told' });
    expect(gatherManagers(root, 'warren1').networkd).toBe('untold');
  });
});

describe('networks of CNI', () => {
  it('are those that a runtime reads, in its order', () => {
    expect(gatherCniConfigurations(root)).toEqual([]);
    for (const name of ['20-b.conf', '05-a.conflist', 'README', '10-old.conflist.bak'])
      write(`etc/cni/net.d/${name}`);
    expect(gatherCniConfigurations(root)).toEqual(['05-a.conflist', '20-b.conf']);
  });
});

describe('chains', () => {
  it('of nftables that drop by default', () => {
    const text = JSON.stringify({
      nftables: [
        { metainfo: { version: '1.0.6' } },
        {
          chain: {
            family: 'inet',
            table: 'filter',
            name: 'forward',
            handle: 1,
            type: 'filter',
            hook: 'forward',
            prio: 0,
            policy: 'drop',
          },
        },
        {
          chain: {
            family: 'inet',
            table: 'filter',
            name: 'output',
            handle: 2,
            hook: 'output',
            policy: 'accept',
          },
        },
        { chain: { family: 'inet', table: 'filter', name: 'mine', handle: 3 } },
      ],
    });
    expect(parseDroppingChains(text)).toEqual([
      { by: 'policy', family: 'inet', table: 'filter', chain: 'forward', hook: 'forward' },
    ]);
    for (const other of ['', 'nonsense', '{}', '{"nftables": [1]}'])
      expect(parseDroppingChains(other)).toEqual([]);
  });

  it('of nftables that end with a rule that drops or rejects', () => {
    const match = { match: { op: '==', left: { meta: { key: 'iifname' } }, right: 'lo' } };
    const counter = { counter: { packets: 1, bytes: 40 } };
    const found = (rules: readonly object[], policy = 'accept') =>
      parseDroppingChains(
        JSON.stringify({
          nftables: [
            { chain: { family: 'ip', table: 'filter', name: 'INPUT', hook: 'input', policy } },
            ...rules.map((expr) => ({ rule: { family: 'ip', table: 'filter', chain: 'INPUT', expr } })),
          ],
        }),
      ).map(({ by }) => by);
    expect(found([[match, { accept: null }]])).toEqual([]);
    // As `iptables -A INPUT -j REJECT` is shown.
    expect(
      found([
        [match, counter, { accept: null }],
        [counter, { xt: { type: 'target', name: 'REJECT' } }],
      ]),
    ).toEqual(['rule']);
    expect(found([[counter, { log: { prefix: 'gone' } }, { reject: { type: 'icmpx' } }]])).toEqual(['rule']);
    expect(found([[{ drop: null }]], 'drop')).toEqual(['rule']);
    // Of some packets alone, or of none that came so far.
    for (const rule of [
      [match, { drop: null }],
      [{ limit: { rate: 5, per: 'second' } }, { drop: null }],
      [{ xt: { type: 'match', name: 'u32' } }, { drop: null }],
      [{ xt: null }, { reject: null }],
      [{ xt: { type: 'target', name: 'MARK' } }],
      [{ jump: { target: 'other' } }],
    ])
      expect(found([rule])).toEqual([]);
    expect(found([[{ accept: null }], [{ drop: null }]], 'drop')).toEqual([]);
  });

  it('of the legacy iptables are read as those of nftables are', () => {
    const read = (rules: string, leads = false) =>
      readForwardPolicy(4, { tunName: 'warren0', view: legacyView(rules), docker: { leads: () => leads } });
    expect(read('-P FORWARD ACCEPT\n')).toMatchObject({ drops: false });
    for (const end of ['REJECT --reject-with icmp-host-prohibited', 'DROP'])
      expect(read(`-P FORWARD ACCEPT\n-A FORWARD -j ${end}\n`)).toMatchObject({ drops: true });
    expect(read('-P FORWARD ACCEPT\n-A FORWARD -i eth1 -j DROP\n')).toMatchObject({ drops: false });
    expect(read('-P FORWARD DROP\n')).toMatchObject({ drops: true, isLetThrough: false, hasUfw: false });
    const let_ = '-P FORWARD DROP\n-A FORWARD -i warren0 -j ACCEPT\n-A FORWARD -i wp+ -j ACCEPT\n';
    expect(read(let_)).toMatchObject({ drops: true, isLetThrough: true });
    const docker = '-P FORWARD DROP\n-N DOCKER-USER\n-A FORWARD -j DOCKER-USER\n';
    expect(read(docker, true)).toMatchObject({ hasDocker: true, isLedPastDocker: true });
    expect(read('-P FORWARD DROP\n-N ufw-before-forward\n')).toMatchObject({ hasUfw: true });
  });
});
