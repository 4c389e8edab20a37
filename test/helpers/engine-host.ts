/**
 * A host on which real runtimes start containers: a node of a lab, with a containerd and a Podman of its own, and a root of
 * its own in which the plugin is installed. Containers need no image: they run in a debootstrapped folder.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'vitest';
import { processesInside } from '../../src/lab/namespaces.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { debianArchive } from './base-image.ts';
import { callPlugin, REFERENCE_PLUGINS } from './cni-plugin.ts';
import { hasProgram } from './requirements.ts';

/** For `ctr run --env`. */
export const PATH = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';

/** Debian in each of these folders, in one copy for all of them; for a host's root with the plugin for port mappings. */
export async function makeRoots(folder: string, [first, ...others]: readonly string[]): Promise<void> {
  const root = join(folder, first!);
  mkdirSync(root, { recursive: true });
  execFileSync('tar', ['-xpf', await debianArchive(), '-C', root]);
  // Where a host has it, port mappings are in the network configuration.
  const portmap = join(REFERENCE_PLUGINS, 'portmap');
  if (existsSync(portmap)) {
    mkdirSync(join(root, REFERENCE_PLUGINS), { recursive: true });
    copyFileSync(portmap, join(root, REFERENCE_PLUGINS, 'portmap'));
  }
  for (const name of others) {
    mkdirSync(join(folder, name), { recursive: true });
    execFileSync('cp', ['-al', `${root}/.`, join(folder, name)]);
  }
}

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

export interface Said {
  readonly code: number | null;
  readonly text: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Said>;
}

function started(program: string, argv: readonly string[], env?: NodeJS.ProcessEnv): Started {
  const child = spawn(program, argv, { stdio: ['ignore', 'pipe', 'pipe'], ...(env && { env }) });
  let text = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (text += chunk));
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, text })) };
}

export class EngineHost {
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

  /** Installs the plugin and starts containerd. */
  async start(): Promise<void> {
    const install = [WARREN_PROGRAM, 'cni', 'install', '--root', this.root, '--socket', this.node.socket];
    execFileSync(process.execPath, install);
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

  startCtr(...argv: string[]): Started {
    return started('nsenter', [...this.#inside, 'ctr', '-a', this.#socket, ...argv]);
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
    const { status, stdout, stderr } = spawnSync('nsenter', this.#podmanArgv(argv), {
      encoding: 'utf8',
      timeout: 60_000,
      env: this.#podmanEnvironment(),
    });
    return { code: status, text: `${stdout}${stderr}` };
  }

  startPodman(...argv: string[]): Started {
    return started('nsenter', this.#podmanArgv(argv), this.#podmanEnvironment());
  }

  /** The hash of what is there, for a program of the host itself. */
  fetch(url: string): string {
    const script = `fetch('${url}').then((answer) => answer.arrayBuffer()).then((body) =>
      console.log(require('crypto').createHash('sha256').update(Buffer.from(body)).digest('hex')))`;
    const argv = [`--net=${this.node.netns}`, '--', process.execPath, '-e', script];
    return execFileSync('nsenter', argv, { encoding: 'utf8', timeout: 30_000 }).trim();
  }

  attached(): { readonly id: string; readonly name: string; readonly addresses: readonly string[] }[] {
    const text = readFileSync(join(this.node.folder, 'state', 'attachments.json'), 'utf8');
    return JSON.parse(text.slice(text.indexOf('\n'))).attachments;
  }

  /** Processes of the plugin that run here now: whoever has started one may have gone. */
  runningPlugins(): number[] {
    const pids = processesInside([basename(this.node.netns)]).map(({ pid }) => pid);
    return pids.filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/opt/cni/bin/warren-cni');
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });
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

  #podmanArgv(argv: readonly string[]): string[] {
    const { folder } = this;
    const places = ['--root', `${folder}/podman`, '--runroot', `${folder}/podman-run`];
    const all = [...places, '--tmpdir', `${folder}/podman-tmp`, '--storage-driver', 'vfs', ...argv];
    return [`--net=${this.node.netns}`, '--', 'podman', ...all];
  }

  #podmanEnvironment(): NodeJS.ProcessEnv {
    const path = join(this.folder, 'containers.conf');
    const text = `[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${this.root}/opt/cni/bin", "${REFERENCE_PLUGINS}"]
network_config_dir = "${this.root}/etc/cni/net.d"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
`;
    if (!existsSync(path)) writeFileSync(path, text);
    return { ...process.env, CONTAINERS_CONF: path };
  }

  get #inside(): string[] {
    return ['--target', String(this.#keeper!.pid), '--net', '--mount', '--'];
  }
}
