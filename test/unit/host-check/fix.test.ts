/** What `--fix` does, to a host of files alone. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Finding, Fix } from '../../../src/host-check/finding.ts';
import { fixFindings, MODULES_FILE, SYSCTL_FILE } from '../../../src/host-check/fix.ts';

let root: string;
let ran: string[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'warren-host-fix-'));
  ran = [];
});
afterEach(() => rmSync(root, { recursive: true }));

const finding = (check: string, fix?: Fix): Finding => ({
  ...{ check, severity: 'warning', problem: '', commands: [] },
  ...(fix === undefined ? {} : { fix }),
});
const read = (path: string) => readFileSync(join(root, path), 'utf8');

function fix(findings: readonly Finding[], failing?: string) {
  const act = async (what: string) => {
    if (what === failing) throw new Error(`${what} is refused`);
    ran.push(what);
  };
  return fixFindings(findings, {
    root,
    setSysctl: (setting) => act(setting.join('=')),
    run: (argv) => act(argv.join(' ')),
  });
}

const sysctl = (name: `net/${string}`, value: string) =>
  finding('sysctl', { type: 'sysctls', settings: [[name, value]] });

it('sets settings now and for the next boot; a later value takes the place of the earlier', async () => {
  const [first] = await fix([sysctl('net/ipv4/ip_forward', '1')]);
  expect(first!.did).toEqual(['set net.ipv4.ip_forward to 1', `wrote that into ${SYSCTL_FILE}`]);
  await fix([sysctl('net/netfilter/nf_conntrack_max', '65536')]);
  await fix([sysctl('net/netfilter/nf_conntrack_max', '131072')]);
  expect(read(SYSCTL_FILE)).toBe(
    '# Written by `warren host check --fix`.\n' +
      '-net.ipv4.ip_forward = 1\n-net.netfilter.nf_conntrack_max = 131072\n',
  );
  expect(ran).toHaveLength(3);
});

it('loads modules, and writes files that others read', async () => {
  const path = '/etc/systemd/network/05-warren.network';
  await fix([
    finding('module.tun', { type: 'module', module: 'tun' }),
    finding('module.veth', { type: 'module', module: 'veth' }),
    finding('manager', { type: 'file', path, text: 'text\n', reload: ['networkctl', 'reload'] }),
    finding('not to be fixed'),
  ]);
  expect(read(MODULES_FILE)).toMatch(/^tun\nveth\n$/m);
  expect(read(path)).toBe('text\n');
  expect(ran).toEqual(['modprobe tun', 'modprobe veth', 'networkctl reload']);
});

it('goes on after what it could not do, and says how far it got', async () => {
  const results = await fix(
    [
      finding('module.tun', { type: 'module', module: 'tun' }),
      finding('manager', { type: 'file', path: '/a/b', text: '', reload: ['nmcli', 'general', 'reload'] }),
      sysctl('net/ipv4/ip_forward', '1'),
    ],
    'nmcli general reload',
  );
  expect(results.map(({ did, failure }) => [did.length, failure])).toEqual([
    [2, undefined],
    [1, 'nmcli general reload is refused'],
    [2, undefined],
  ]);
});
