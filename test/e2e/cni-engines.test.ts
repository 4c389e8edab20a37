/**
 * containerd (by `ctr run --cni`) and Podman with its CNI backend, on two hosts: namespaces of a lab, each with a root of
 * its own in which the plugin is installed. Containers need no image: they run in a debootstrapped folder.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { debianArchive } from '../helpers/base-image.ts';
import { callPlugin, hostState, REFERENCE_PLUGINS } from '../helpers/cni-plugin.ts';
import { describeUnless, hasProgram, lacking } from '../helpers/requirements.ts';
import { testScale } from '../helpers/scale.ts';

/** How many start at once; 100 with WARREN_TEST_SCALE=10. */
const AT_ONCE = 10 * testScale();

const PING = ['ping', '-n', '-c2', '-W5'] as const;
const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';

/** What the shell that holds a host's mounts does before it says that it is ready. */
const SET_UP = `
set -e
mount --make-rprivate /
mount -t tmpfs none /opt; mkdir -p /opt/cni/bin; mount --bind "$1/opt/cni/bin" /opt/cni/bin
mount -t tmpfs none /mnt; cp -a /etc/. /mnt; rm -rf /mnt/cni; mkdir -p /mnt/cni/net.d; mount --bind /mnt /etc
mount --bind "$1/etc/cni/net.d" /etc/cni/net.d
echo ready
exec sleep 3600
`;

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
/** In a container: the hash of what `SERVER` at $0 sends, at port $1; `tail` takes it without the head of an answer. */
const FETCH = `exec 3<>/dev/tcp/$0/$1; [ $1 = 80 ] && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -c ${DATA_BYTES} <&3 | sha256sum`;

interface Said {
  readonly code: number | null;
  readonly text: string;
}

class EngineHost {
  readonly node: LabNode;
  readonly folder: string;
  readonly rootfs: string;
  #keeper: ChildProcess | undefined;
  #containerd: ChildProcess | undefined;

  constructor(node: LabNode, folder: string, rootfs: string) {
    this.node = node;
    this.folder = folder;
    this.rootfs = rootfs;
  }

  get root(): string {
    return join(this.folder, 'root');
  }

  async start(): Promise<void> {
    const argv = [
      `--net=${this.node.netns}`,
      '--',
      'unshare',
      '--mount',
      'sh',
      '-c',
      SET_UP,
      'sh',
      this.root,
    ];
    this.#keeper = spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(this.#keeper.stdout!, 'data');
    await this.startContainerd();
  }

  async startContainerd(): Promise<void> {
    const config = join(this.folder, 'containerd.toml');
    writeFileSync(
      config,
      `version = 2
root = "${this.folder}/containerd"
state = "${this.folder}/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "${this.#socket}"
`,
    );
    this.#containerd = spawn('nsenter', [...this.#inside, 'containerd', '-c', config], { stdio: 'ignore' });
    const deadline = performance.now() + 20_000;
    while (this.ctr('version').code !== 0) {
      if (performance.now() > deadline) throw new Error('containerd does not answer');
      await delay(200);
    }
  }

  async killContainerd(): Promise<void> {
    const ended = once(this.#containerd!, 'exit');
    this.#containerd!.kill('SIGKILL');
    await ended;
  }

  ctr(...argv: string[]): Said {
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [...this.#inside, 'ctr', '-a', this.#socket, ...argv],
      {
        encoding: 'utf8',
        timeout: 60_000,
      },
    );
    return { code: status, text: `${stdout}${stderr}` };
  }

  startCtr(...argv: string[]): { readonly child: ChildProcess; readonly ended: Promise<Said> } {
    const child = spawn('nsenter', [...this.#inside, 'ctr', '-a', this.#socket, ...argv], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (text += chunk));
    return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, text })) };
  }

  /** Of a container's namespace, by the program that runs in it. */
  addresses(name: string): string[] {
    const line = this.ctr('task', 'ls')
      .text.split('\n')
      .find((one) => one.startsWith(`${name} `));
    const pid = line?.trim().split(/\s+/)[1];
    const shown = execFileSync(
      'nsenter',
      ['--target', pid!, '--net', 'ip', '-json', 'address', 'show', 'dev', 'eth0'],
      { encoding: 'utf8' },
    );
    const [{ addr_info: found }] = JSON.parse(shown) as [{ addr_info: { local: string; scope: string }[] }];
    return found.filter(({ scope }) => scope === 'global').map(({ local }) => local);
  }

  podman(...argv: string[]): Said {
    const conf = join(this.folder, 'containers.conf');
    writeFileSync(
      conf,
      `[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${this.root}/opt/cni/bin", "${REFERENCE_PLUGINS}"]
network_config_dir = "${this.root}/etc/cni/net.d"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
`,
    );
    const places = [
      '--root',
      `${this.folder}/podman`,
      '--runroot',
      `${this.folder}/podman-run`,
      '--tmpdir',
      `${this.folder}/podman-tmp`,
    ];
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [`--net=${this.node.netns}`, '--', 'podman', ...places, '--storage-driver', 'vfs', ...argv],
      {
        encoding: 'utf8',
        timeout: 60_000,
        env: { ...process.env, CONTAINERS_CONF: conf },
      },
    );
    return { code: status, text: `${stdout}${stderr}` };
  }

  /** The hash of what is there, for a program of the host itself. */
  fetch(url: string): string {
    const script = `fetch('${url}').then((answer) => answer.arrayBuffer()).then((body) =>
      console.log(require('crypto').createHash('sha256').update(Buffer.from(body)).digest('hex')))`;
    const argv = [`--net=${this.node.netns}`, '--', process.execPath, '-e', script];
    return execFileSync('nsenter', argv, { encoding: 'utf8', timeout: 30_000 }).trim();
  }

  attached(): { readonly name: string; readonly addresses: readonly string[] }[] {
    const text = readFileSync(join(this.node.folder, 'state', 'attachments.json'), 'utf8');
    return JSON.parse(text.slice(text.indexOf('\n'))).attachments;
  }

  /** What a runtime that knows GC would say, in the place of those of Debian 12. */
  async collect(keep: readonly { containerID: string; ifname: string }[] = []): Promise<void> {
    const answer = await callPlugin(this.node, 'GC', {
      containerId: '',
      config: { 'cni.dev/valid-attachments': keep },
    });
    expect(answer.exitCode, answer.text).toBe(0);
  }

  async stop(): Promise<void> {
    if (this.#keeper === undefined) return;
    if (hasProgram('podman')) this.podman('rm', '-f', '-a', '-t', '0');
    const tasks = this.ctr('task', 'ls', '-q').text.trim().split('\n').filter(Boolean);
    for (const task of tasks) this.ctr('task', 'delete', '--force', task);
    this.#containerd?.kill('SIGKILL');
    this.#keeper.kill('SIGKILL');
  }

  get #socket(): string {
    return join(this.folder, 'containerd.sock');
  }

  get #inside(): string[] {
    return ['--target', String(this.#keeper!.pid), '--net', '--mount', '--'];
  }
}

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
      const root = join(folder, 'a/root');
      mkdirSync(root, { recursive: true });
      execFileSync('tar', ['-xpf', await debianArchive(), '-C', root]);
      // Where a host has it, port mappings are in the network configuration.
      const portmap = join(REFERENCE_PLUGINS, 'portmap');
      if (existsSync(portmap)) {
        mkdirSync(join(root, REFERENCE_PLUGINS), { recursive: true });
        copyFileSync(portmap, join(root, REFERENCE_PLUGINS, 'portmap'));
      }
      for (const name of ['b/root', 'rootfs']) {
        mkdirSync(join(folder, name), { recursive: true });
        execFileSync('cp', ['-al', `${root}/.`, join(folder, name)]);
      }
      const data = randomBytes(DATA_BYTES);
      hash = sha256(data);
      writeFileSync(join(folder, 'rootfs/srv/data'), data);
      writeFileSync(join(folder, 'rootfs/srv/serve.pl'), SERVER);
      lab = await Lab.up({ name: 'engines', nodes: 2, pods: 0 });
      [a, b] = [0, 1].map(
        (i) => new EngineHost(lab.node(i), join(folder, ['a', 'b'][i]!), join(folder, 'rootfs')),
      ) as [EngineHost, EngineHost];
      for (const host of [a, b]) {
        const argv = [WARREN_PROGRAM, 'cni', 'install', '--root', host.root, '--socket', host.node.socket];
        execFileSync(process.execPath, argv);
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

    async function nothingLeft(host: EngineHost, timeout = 20_000): Promise<void> {
      await expect.poll(() => host.attached(), { timeout, interval: 500 }).toEqual([]);
      await expect
        .poll(() => hostState(host.node.netns), { timeout: 10_000, interval: 500 })
        .toEqual(before.get(host));
      expect(readdirSync(join(host.node.folder, 'state', 'cni-deletes'))).toEqual([]);
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
      await delay(500);
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
      await expect.poll(() => [a.attached(), b.attached()], { timeout: 10_000 }).toEqual([[], []]);
      expect(hostState(a.node.netns).filter((line) => line.includes('8080'))).toEqual([]);
    });
  },
);

function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
