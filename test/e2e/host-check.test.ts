/** `warren host check` on a host with real settings, firewalls, sockets and bridges: a network namespace, and a /etc and /run of its own. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Finding } from '../../src/host-check/finding.ts';
import type { FixResult } from '../../src/host-check/fix.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { describeUnless, hasProgram, lacking } from '../helpers/requirements.ts';
import { type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

const CONFIG = 'cluster: {podCidrs: [10.42.0.0/16, "fd42::/48"]}\n';
/** What is below the host's folders; the namespace is entered before, as its name is in /run. */
const MOUNT =
  'mount --make-rprivate / && mount --bind "$0/etc" /etc && mount --bind "$0/run" /run && exec "$@"';

/** Certificates of this machine are not in the /etc of that host, and Node would say so. */
const { NODE_EXTRA_CA_CERTS: _certificates, ...ENV } = process.env;

interface Report {
  readonly ok: boolean;
  readonly fixes: readonly FixResult[];
  readonly findings: readonly Finding[];
}

describeUnless(
  lacking('root', 'ip', 'ping', 'nsenter', 'unshare', 'nft', 'iptables-nft'),
  'warren host check',
  () => {
    let netns: ThrowawayNetns;
    let folder: string;
    let holder: ChildProcess | undefined;

    beforeEach(() => {
      netns = throwawayNetns();
      folder = mkdtempSync(join(tmpdir(), 'warren-host-check-'));
      for (const name of ['etc/warren', 'run']) mkdirSync(join(folder, name), { recursive: true });
      // Programs look their libraries up there.
      for (const name of ['ld.so.cache', 'alternatives', 'passwd', 'group', 'nsswitch.conf', 'iproute2']) {
        if (existsSync(`/etc/${name}`)) execFileSync('cp', ['-a', `/etc/${name}`, join(folder, 'etc')]);
      }
      write('etc/warren/warren.yaml', CONFIG);
      netns.run('ip', 'link', 'set', 'dev', 'lo', 'up');
      netns.run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
      netns.run('ip', 'link', 'set', 'dev', 'other', 'up');
      netns.run('ip', 'link', 'set', 'dev', 'eth0', 'up');
      netns.run('ip', 'address', 'add', '192.0.2.7/24', 'dev', 'eth0');
      netns.run('ip', 'route', 'add', 'default', 'via', '192.0.2.1');
    });
    afterEach(async () => {
      if (holder !== undefined) {
        const ended = once(holder, 'exit');
        holder.kill('SIGKILL');
        await ended;
        holder = undefined;
      }
      netns.remove();
      rmSync(folder, { recursive: true });
    });

    function write(path: string, text: string): void {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }

    function onHost(...argv: readonly string[]) {
      const mounted = ['unshare', '--mount', 'sh', '-c', MOUNT, folder, ...argv];
      return spawnSync('nsenter', [`--net=${netns.path}`, '--', ...mounted], { encoding: 'utf8', env: ENV });
    }

    function warren(...argv: readonly string[]) {
      return onHost(process.execPath, WARREN_PROGRAM, ...argv);
    }

    function check(...argv: readonly string[]): Report {
      const { status, stdout, stderr } = warren(
        'host',
        'check',
        '-c',
        '/etc/warren/warren.yaml',
        '--json',
        ...argv,
      );
      expect(stderr).toBe('');
      const report = JSON.parse(stdout) as Report;
      expect(status).toBe(report.ok ? 0 : 1);
      return report;
    }

    const errors = ({ findings }: Report) => findings.filter(({ severity }) => severity === 'error');
    /** The commands of a finding, as its reader would type them. */
    function mend(finding: Finding): void {
      for (const command of finding.commands) {
        const { status, stderr } = onHost('sh', '-c', command);
        expect(status, `${command}: ${stderr}`).toBe(0);
      }
    }

    test('--fix turns forwarding on, now and for the next boot, and finds nothing the second time', () => {
      const before = check();
      expect(before.ok).toBe(true);
      expect(before.findings.map(({ check }) => check)).toEqual(
        expect.arrayContaining(['sysctl.forwarding4', 'sysctl.forwarding6']),
      );
      netns.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra');
      const first = check('--fix');
      expect(first.fixes.flatMap(({ did }) => did)).toEqual([
        'set net.ipv4.ip_forward to 1',
        'wrote that into /etc/sysctl.d/90-warren.conf',
        'set net.ipv6.conf.eth0.accept_ra to 2',
        'set net.ipv6.conf.all.forwarding to 1',
        'wrote that into /etc/sysctl.d/90-warren.conf',
      ]);
      const read = (name: string) => netns.run('cat', `/proc/sys/net/${name}`).trim();
      expect([
        read('ipv4/ip_forward'),
        read('ipv6/conf/all/forwarding'),
        read('ipv6/conf/eth0/accept_ra'),
      ]).toEqual(['1', '1', '2']);
      expect(readFileSync(join(folder, 'etc/sysctl.d/90-warren.conf'), 'utf8')).toContain(
        '-net.ipv4.ip_forward = 1\n-net.ipv6.conf.eth0.accept_ra = 2\n-net.ipv6.conf.all.forwarding = 1\n',
      );
      const second = check('--fix');
      expect(second).toMatchObject({ ok: true, fixes: [] });
      expect(second.findings.filter(({ fix }) => fix !== undefined)).toEqual([]);
      const { status, stdout } = warren('host', 'check', '-c', '/etc/warren/warren.yaml');
      expect(status).toBe(0);
      expect(stdout).toMatch(/^nothing stands in the way of an agent on this host\n$/m);
    });

    test('--fix tells NetworkManager and systemd-networkd, and says that they do not run', () => {
      write('run/NetworkManager/devices/1', '');
      write('run/systemd/netif/state', '');
      const { fixes, findings } = check('--fix');
      expect(fixes.map(({ check }) => check)).toEqual(
        expect.arrayContaining(['manager.NetworkManager', 'manager.systemd-networkd']),
      );
      expect(findings.map(({ check }) => check)).not.toContain('manager.NetworkManager');
      expect(fixes.find(({ check }) => check === 'manager.systemd-networkd')).toMatchObject({
        did: ['wrote /etc/systemd/network/05-warren.network'],
        failure: expect.stringContaining('networkctl'),
      });
      expect(readFileSync(join(folder, 'etc/systemd/network/05-warren.network'), 'utf8')).toContain(
        'Unmanaged=yes',
      );
      expect(check('--fix').fixes).toEqual([]);
    });

    test.each(['nft', 'legacy'])(
      'a chain FORWARD of iptables-%s that drops, until its commands are typed',
      (kind) => {
        const program = `iptables-${kind}`;
        if (!hasProgram(program)) return;
        netns.run(program, '-P', 'FORWARD', 'DROP');
        const [finding, ...others] = errors(check());
        expect(others).toEqual([]);
        expect(finding).toMatchObject({ check: 'firewall.forward4' });
        mend({ ...finding!, commands: finding!.commands.map((line) => line.replace(/^iptables/, program)) });
        expect(check().ok).toBe(true);
      },
    );

    test.each([
      ['nft', 'firewall.nftables'],
      ['legacy', 'firewall.forward4'],
    ])('a chain FORWARD of iptables-%s that ends with REJECT, until its commands are typed', (kind, name) => {
      const program = `iptables-${kind}`;
      if (!hasProgram(program)) return;
      netns.run(program, '-A', 'FORWARD', '-p', 'tcp', '--dport', '22', '-j', 'ACCEPT');
      netns.run(program, '-A', 'FORWARD', '-j', 'REJECT', '--reject-with', 'icmp-host-prohibited');
      const [finding, ...others] = errors(check());
      expect(others).toEqual([]);
      expect(finding).toMatchObject({ check: name });
      mend({ ...finding!, commands: finding!.commands.map((line) => line.replace(/^iptables/, program)) });
      expect(check().ok).toBe(true);
    });

    test('a chain of nftables that drops what is forwarded, until its commands are typed', () => {
      netns.run(
        'nft',
        'add table inet filter; add chain inet filter forward { type filter hook forward priority 0; policy drop; }',
      );
      const [finding, ...others] = errors(check());
      expect(others).toEqual([]);
      expect(finding).toMatchObject({ check: 'firewall.nftables' });
      mend(finding!);
      expect(check().ok).toBe(true);
    });

    test('a taken port, with the process that has it', async () => {
      const program = `require('node:dgram').createSocket('udp4').bind(7946, () => console.log('bound'))`;
      holder = spawn('nsenter', [`--net=${netns.path}`, '--', process.execPath, '-e', program], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(holder.stdout!, 'data');
      const [finding, ...others] = errors(check());
      expect(others).toEqual([]);
      expect(finding).toMatchObject({ check: 'port.gossip' });
      expect(finding!.problem).toContain(`(process ${holder.pid}: `);
      write('etc/warren/warren.yaml', `${CONFIG}underlay: {gossipPort: 7947}\n`);
      expect(check().ok).toBe(true);
    });

    test('a port that the kernel has, for a VXLAN device', () => {
      netns.run(
        ...['ip', 'link', 'add', 'vx0', 'type', 'vxlan', 'id', '7', 'dstport', '4790', 'dev', 'eth0'],
      );
      netns.run('ip', 'link', 'set', 'dev', 'vx0', 'up');
      expect(errors(check())).toMatchObject([
        { check: 'port.tunnel', problem: expect.stringContaining('vx0 (vxlan)') },
      ]);
    });

    test('a bridge and a route in a pod range', () => {
      netns.run('ip', 'link', 'add', 'br0', 'type', 'bridge');
      netns.run('ip', 'address', 'add', '10.42.7.1/24', 'dev', 'br0');
      netns.run('ip', 'link', 'set', 'dev', 'br0', 'up');
      netns.run('ip', 'route', 'add', '10.42.9.0/24', 'via', '192.0.2.1');
      const found = errors(check());
      expect(found.map(({ check }) => check)).toEqual(['range.overlap', 'range.overlap']);
      expect(found.map(({ problem }) => problem).join()).toMatch(
        /10\.42\.7\.0\/24 of br0.*10\.42\.9\.0\/24 via 192\.0\.2\.1/,
      );
      mend(found[0]!);
    });

    test('no underlay, and one that is too small', () => {
      netns.run('ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1300');
      expect(errors(check())).toMatchObject([{ check: 'mtu' }]);
      netns.run('ip', 'route', 'delete', 'default');
      expect(errors(check())).toMatchObject([{ check: 'underlay' }]);
    });

    test('without a configuration, and with a bad one', () => {
      expect(warren('host', 'check').status).toBe(0);
      const missing = warren('host', 'check', '-c', '/etc/warren/none.yaml');
      expect([missing.status, missing.stdout]).toEqual([1, '']);
      expect(missing.stderr).toContain('/etc/warren/none.yaml');
      write('etc/warren/warren.yaml', 'cluster: {podCidr: [10.42.0.0/16]}\n');
      const bad = warren('host', 'check', '-c', '/etc/warren/warren.yaml');
      expect(bad.status).toBe(1);
      expect(bad.stderr).toContain('podCidr');
      expect(warren('host', 'check', '--root').status).toBe(2);
    });

    test('a host without programs: what is missing is said, with what to install', () => {
      const shown = spawnSync(process.execPath, [WARREN_PROGRAM, 'host', 'check', '--json'], {
        encoding: 'utf8',
        // The folders of SBIN are looked in all the same, which is where nft is.
        env: { PATH: '/nowhere' },
      });
      expect(shown.stderr).toBe('');
      const { findings } = JSON.parse(shown.stdout) as Report;
      expect(findings).toContainEqual(
        expect.objectContaining({ check: 'program.nsenter', commands: ['apt-get install util-linux'] }),
      );
    });
  },
);
