/**
 * A node of Kubernetes: a node of a lab whose programs see a machine of their own. It has namespaces for processes, mounts
 * and the host's name beside that for the network, so that each has its own /run, /opt/cni, /etc/cni and /var/lib, and that
 * all that runs there, containers included, ends with its first process:
 *
 *     nsenter --net=… unshare --pid --mount --uts --ipc --fork --kill-child      the keeper
 *       sh …                                                                     process 1: mounts, then waits
 *     nsenter --target … containerd | kubelet | kube-proxy                       started by `spawn`
 *       containerd-shim … the pods
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WarrenError } from '../../errors.ts';
import { type CommandOptions, type CommandResult, runCommand, startCommand } from '../command.ts';
import type { LabNode } from '../node.ts';
import { endProcesses, identifyProcess } from '../process.ts';

const READY_TIMEOUT_MS = 20_000;
const END_TIMEOUT_MS = 20_000;
const LOOK_EVERY_MS = 50;
const CGROUPS = '/sys/fs/cgroup';
/** Where containerd puts the control groups of Kubernetes' containers that have no parent. */
const CONTAINER_GROUP = 'k8s.io';

/**
 * $1: the node's folder, $2: its name. The kubelet sets a few settings of the kernel that all nodes, and this machine,
 * share: it is shown files that have them already. /etc is a copy, so that nothing here is written to.
 */
const SET_UP = `
set -e
mount --make-rprivate / && mount --make-rshared /
hostname "$2"
mkdir -p "$1/root" && cd "$1/root"
mkdir -p sysctl opt-cni etc-cni var-lib
mount -t tmpfs none /mnt && mkdir /mnt/cgroup && mount --rbind /sys/fs/cgroup /mnt/cgroup
mount -t sysfs none /sys && mount --rbind /mnt/cgroup /sys/fs/cgroup
mkdir /mnt/etc && cp -a /etc/. /mnt/etc/ && rm -rf /mnt/etc/cni && mkdir -p /mnt/etc/cni/net.d && mount --bind /mnt/etc /etc
mount --bind "$1/root/etc-cni" /etc/cni/net.d
echo "$2" > /etc/hostname
echo "127.0.0.1 localhost $2" > /etc/hosts
mount -t tmpfs none /run && mkdir -p /run/netns /run/lock
mount -t tmpfs none /opt && mkdir -p /opt/cni/bin && mount --bind "$1/root/opt-cni" /opt/cni/bin
for name in loopback portmap bandwidth; do [ ! -e /usr/lib/cni/$name ] || cp /usr/lib/cni/$name /opt/cni/bin/; done
mount -t tmpfs none /var/log
mount --bind "$1/root/var-lib" /var/lib
fixed() { [ ! -e "/proc/sys/$1" ] || { f="sysctl/$(echo "$1" | tr / .)"; echo "$2" > "$f"; mount --bind "$f" "/proc/sys/$1"; }; }
fixed vm/overcommit_memory 1
fixed vm/panic_on_oom 0
fixed kernel/panic 10
fixed kernel/panic_on_oops 1
fixed kernel/keys/root_maxkeys 1000000
fixed kernel/keys/root_maxbytes 25000000
cd /
touch "$1/ready"
sleep infinity & wait
`;

const FORGET_NETWORK = `
for link in $(ip -oneline link show | sed -E 's/^[0-9]+: ([^:@]+).*/\\1/'); do
  case "$link" in lo|eth0) ;; *) ip link delete "$link" 2>/dev/null || true ;; esac
done
nft flush ruleset
conntrack -F 2>/dev/null || true
`;

export class KubernetesMachine {
  readonly node: LabNode;
  /** All that this node keeps. */
  readonly folder: string;
  #target: number | undefined;

  constructor(node: LabNode, folder: string) {
    this.node = node;
    this.folder = folder;
  }

  get name(): string {
    return this.node.name;
  }

  get address(): string {
    return this.node.addresses.ipv4;
  }

  /** Throws LAB_TIMEOUT. */
  async start(): Promise<void> {
    mkdirSync(this.folder, { recursive: true });
    const keeper = this.node.spawn(
      [
        ...['unshare', '--mount', '--pid', '--uts', '--ipc', '--fork', '--kill-child', '--mount-proc'],
        ...['sh', '-c', SET_UP, 'sh', this.folder, this.name],
      ],
      this.#logged('machine'),
    );
    keeper.unref();
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!readdirSync(this.folder).includes('ready')) {
      if (keeper.exitCode !== null || performance.now() > deadline) {
        throw new WarrenError('LAB_TIMEOUT', `${this.name} did not start:\n${this.log('machine')}`);
      }
      await delay(LOOK_EVERY_MS);
    }
    // nsenter becomes unshare, whose one child is the first process inside.
    const children = readFileSync(`/proc/${keeper.pid}/task/${keeper.pid}/children`, 'utf8').trim();
    this.#target = Number(children.split(' ')[0]);
  }

  /**
   * Ends every program at once, and with them all that is not on the disk: as when the power goes. What the kernel keeps of
   * the node's network goes too, but for its link to the others. `start` is the way back.
   */
  async powerOff(): Promise<void> {
    const first = identifyProcess(this.#target ?? 0);
    if (first !== undefined) await endProcesses([first], 0);
    this.#target = undefined;
    rmSync(join(this.folder, 'ready'), { force: true });
    const { stderr, code } = await this.node.exec(['sh', '-ec', FORGET_NETWORK]);
    if (code !== 0) throw new WarrenError('LAB_COMMAND_FAILED', `${this.name}: ${stderr.trim()}`);
  }

  /** While it has no power: its disk is a new one, but for images that it would have to fetch. */
  forget(): void {
    for (const name of ['var-lib', 'etc-cni', 'opt-cni'])
      rmSync(join(this.folder, 'root', name), { recursive: true, force: true });
  }

  /** Ends the programs of that name, not those that they have started. Throws LAB_TIMEOUT. */
  async end(program: string): Promise<void> {
    await this.exec(['busybox', 'killall', '-9', program]);
    const deadline = performance.now() + END_TIMEOUT_MS;
    while ((await this.exec(['busybox', 'pidof', program])).code === 0) {
      if (performance.now() > deadline)
        throw new WarrenError('LAB_TIMEOUT', `${program} on ${this.name} does not end`);
      await delay(LOOK_EVERY_MS);
    }
  }

  /** `argv` as it is run on this node. */
  argv(argv: readonly string[]): string[] {
    return ['nsenter', '--target', String(this.#target), '--all', '--', ...argv];
  }

  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.argv(argv), options);
  }

  /** Starts a program that goes on, also when this process ends; what it says goes into its log. */
  spawn(name: string, argv: readonly string[], env: NodeJS.ProcessEnv = process.env): ChildProcess {
    const child = startCommand(this.argv(argv), { ...this.#logged(name), env });
    child.on('error', () => {});
    child.unref();
    return child;
  }

  /** The end of what a program has said. */
  log(name: string, lines = 20): string {
    try {
      return readFileSync(join(this.folder, `${name}.log`), 'utf8')
        .trimEnd()
        .split('\n')
        .slice(-lines)
        .join('\n');
    } catch {
      return '(nothing)';
    }
  }

  #logged(name: string): { detached: true; stdio: ['ignore', number, number] } {
    const file = openSync(join(this.folder, `${name}.log`), 'a');
    setImmediate(() => closeSync(file));
    return { detached: true, stdio: ['ignore', file, file] };
  }
}

/** Control groups of the containers that ran on a node, whose state containerd kept below `state`. After their end. */
export function removeControlGroups(state: string): void {
  const ids = entries(join(state, 'io.containerd.runtime.v2.task', CONTAINER_GROUP));
  for (const hierarchy of [CGROUPS, ...entries(CGROUPS).map((name) => join(CGROUPS, name))])
    for (const group of [
      ...ids.map((id) => join(hierarchy, CONTAINER_GROUP, id)),
      join(hierarchy, CONTAINER_GROUP),
    ])
      remove(group);
}

/** One that somebody else has something in stays. */
function remove(group: string): void {
  try {
    rmdirSync(group);
  } catch {
    // Not there, or not empty.
  }
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
