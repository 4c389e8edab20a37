/**
 * containerd (by `ctr run --cni`) and Podman with its CNI backend, on two hosts: namespaces of a lab, each with a root of
 * its own in which the plugin is installed. Containers need no image: they run in a debootstrapped folder.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import { hostState, REFERENCE_PLUGINS } from '../helpers/cni-plugin.ts';
import { EngineHost, makeRoots, PATH } from '../helpers/engine-host.ts';
import { PATIENTLY } from '../helpers/overlay-endpoints.ts';
import { describeUnless, hasProgram, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

/** How many start at once; 100 with WARREN_TEST_SCALE=10. */
const AT_ONCE = 10 * testScale();

const PING = ['ping', '-n', '-c1', ...PATIENTLY] as const;

const DATA_BYTES = 8 * 1024 * 1024;
/** In a container: sends what is in a file to whoever connects, over both families; after an HTTP request with `http`. */
const SERVER = `
use strict;
use Socket qw(:DEFAULT IPPROTO_IPV6 IPV6_V6ONLY IN6ADDR_ANY pack_sockaddr_in6);
my ($port, $file, $is_http) = @ARGV;
socket(my $server, AF_INET6, SOCK_STREAM, 0) or die $!;
setsockopt($server, IPPROTO_IPV6, IPV6_V6ONLY, 0) or die $!;
bind($server, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die $!;
listen($server, 16) or die $!;
while (accept(my $client, $server)) {
  my $request = $is_http ? '' : "\\r\\n\\r\\n";
  while ($request !~ /\\r\\n\\r\\n/) { sysread($client, $request, 4096, length $request) or last; }
  if ($is_http) { print $client "HTTP/1.0 200 OK\\r\\n\\r\\n"; }
  open(my $data, '<:raw', $file) or die $!;
  while (sysread($data, my $block, 65536)) { print $client $block; }
  close($client);
}
`;
/**
 * In a container: the hash of what `SERVER` at $0 sends, at port $1, which may be starting yet; `tail` takes it without the head of an
 * answer.
 */
const FETCH = `until { exec 3<>/dev/tcp/$0/$1; } 2> /dev/null; do sleep 0.1; done; [ $1 = 80 ] && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -c ${DATA_BYTES} <&3 | sha256sum`;

describeUnless(
  lacking('root', 'ip', 'nsenter', 'unshare', 'debootstrap', 'containerd', 'ctr', 'runc', 'iptables'),
  'containers of real runtimes',
  () => {
    let lab: Lab;
    let folder: string;
    let a: EngineHost;
    let b: EngineHost;
    const before = new Map<EngineHost, string[]>();
    /** Of what containers serve. */
    let hash: string;

    beforeAll(async () => {
      folder = mkdtempSync('/var/tmp/warren-engines-');
      await makeRoots(folder, ['a/root', 'b/root', 'rootfs']);
      const data = randomBytes(DATA_BYTES);
      hash = sha256(data);
      writeFileSync(join(folder, 'rootfs/srv/data'), data);
      writeFileSync(join(folder, 'rootfs/srv/serve.pl'), SERVER);
      lab = await Lab.up({ name: 'engines', nodes: 2, pods: 0 });
      [a, b] = [0, 1].map(
        (i) => new EngineHost(lab.node(i), join(folder, ['a', 'b'][i]!), join(folder, 'rootfs')),
      ) as [EngineHost, EngineHost];
      for (const host of [a, b]) {
        await host.start();
        // What the first container of a host, and the first port mapping, bring with them for good.
        const first = host.ctr(
          'run',
          '--rm',
          '--cni',
          '--env',
          PATH,
          '--rootfs',
          host.rootfs,
          'first',
          'true',
        );
        expect(first, first.text).toMatchObject({ code: 0 });
        before.set(host, hostState(host.node.netns));
      }
    });
    afterAll(async () => {
      for (const host of [a, b]) await host?.stop();
      await lab?.down();
      rmSync(folder, { recursive: true, force: true });
    });

    async function nothingLeft(host: EngineHost, timeout = 30_000): Promise<void> {
      const wait = { timeout, interval: 500 };
      await expect.poll(() => host.attached(), wait).toEqual([]);
      await expect.poll(() => hostState(host.node.netns), wait).toEqual(before.get(host));
      const queue = join(host.node.folder, 'state', 'cni-deletes');
      await expect.poll(() => readdirSync(queue), wait).toEqual([]);
    }

    test('ctr: containers of two hosts reach each other, over restarts of agent and containerd, and go', async () => {
      const serve = ['perl', '/srv/serve.pl', '9000', '/srv/data'];
      const web = a.ctr('run', '-d', '--cni', '--env', PATH, '--rootfs', a.rootfs, 'web', ...serve);
      expect(web, web.text).toMatchObject({ code: 0 });
      const addresses = a.addresses('web');
      expect(addresses).toHaveLength(2);
      const reach = (name: string) => {
        for (const address of addresses) {
          const fetched = b.ctr(
            'run',
            '--rm',
            '--cni',
            '--env',
            PATH,
            '--rootfs',
            b.rootfs,
            name,
            'bash',
            '-c',
            `${PING.join(' ')} $0 && ${FETCH}`,
            address,
            '9000',
          );
          expect(fetched, fetched.text).toMatchObject({ code: 0, text: expect.stringContaining(hash) });
        }
      };
      reach('one');
      await nothingLeft(b);
      await a.node.restart();
      await a.killContainerd();
      await lab.ready();
      await a.startContainerd();
      expect(a.addresses('web')).toEqual(addresses);
      await expect.poll(() => lab.node(1).client().routes(), { timeout: 20_000 }).not.toHaveLength(0);
      reach('two');
      // Nobody says DEL for it.
      expect(a.ctr('task', 'delete', '--force', 'web').code).toBe(0);
      expect(a.ctr('container', 'delete', 'web').code).toBe(0);
      await nothingLeft(a, 90_000);
    });

    test(`ctr: ${AT_ONCE} containers at once`, { timeout: 300_000 }, async () => {
      const names = Array.from({ length: AT_ONCE }, (_, i) => `many-${i}`);
      const runs = names.map(
        (name) =>
          a.startCtr(
            'run',
            '--rm',
            '--cni',
            '--env',
            PATH,
            '--rootfs',
            a.rootfs,
            name,
            'ip',
            '-oneline',
            'address',
            'show',
            'dev',
            'eth0',
          ).ended,
      );
      const said = await Promise.all(runs);
      for (const one of said) expect(one, one.text).toMatchObject({ code: 0 });
      const given = said.map(({ text }) => /inet (\S+)\/32/.exec(text)?.[1]);
      expect(new Set(given).size).toBe(AT_ONCE);
      await nothingLeft(a);
    });

    test('ctr killed at any moment leaves nothing that a collection does not remove', async () => {
      for (let killMs = 60; killMs <= 560; killMs += 100) {
        const name = `killed-${killMs}`;
        const { child, ended } = a.startCtr(
          'run',
          '--cni',
          '--env',
          PATH,
          '--rootfs',
          a.rootfs,
          name,
          'sleep',
          '600',
        );
        await delay(killMs);
        child.kill('SIGKILL');
        await ended;
        a.ctr('task', 'delete', '--force', name);
        a.ctr('container', 'delete', name);
      }
      // They go on without it.
      await expect.poll(() => a.runningPlugins(), { timeout: 30_000 }).toEqual([]);
      await a.collect();
      await nothingLeft(a);
    });

    test('podman: a container with a port mapping', { timeout: 120_000 }, async (context) => {
      if (!hasProgram('podman')) context.skip('podman is not installed');
      if (!existsSync(join(REFERENCE_PLUGINS, 'portmap'))) context.skip('portmap is not installed');
      const argv = [
        '--network',
        'warren',
        '-p',
        '8080:80',
        '--label',
        'a=b',
        '--name',
        'shop',
        '--rootfs',
        a.rootfs,
        'perl',
        '/srv/serve.pl',
        '80',
        '/srv/data',
        'http',
      ];
      const started = a.podman('run', '-d', ...argv);
      expect(started, started.text).toMatchObject({ code: 0 });
      const [attached] = a.attached();
      expect(attached?.name).toBe('shop');
      for (const address of attached!.addresses) {
        const argv = ['bash', '-c', `${PING.join(' ')} $0 && ${FETCH}`, address, '80'];
        const fetched = b.podman('run', '--rm', '--network', 'warren', '--rootfs', b.rootfs, ...argv);
        expect(fetched, fetched.text).toMatchObject({ code: 0, text: expect.stringContaining(hash) });
      }
      expect(b.fetch(`http://${a.node.addresses.ipv4}:8080/`)).toBe(hash);
      expect(hostState(a.node.netns).join('\n')).toContain(`${attached!.addresses[0]}:80`);
      const removed = a.podman('rm', '-f', '-t', '0', 'shop');
      expect(removed, removed.text).toMatchObject({ code: 0 });
      await expect.poll(() => [a.attached(), b.attached()], { timeout: 30_000 }).toEqual([[], []]);
      expect(hostState(a.node.netns).filter((line) => line.includes('8080'))).toEqual([]);
    });
  },
);

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
