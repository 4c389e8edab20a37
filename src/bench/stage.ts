/**
 * Where one system stands: a lab of two nodes of its own, so that all systems stand side by side, each with the
 * same two fresh namespaces, bridge and veths under it, and the lab's sweep removes whatever is left of it.
 */
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WarrenError } from '../errors.ts';
import { argvInNetns } from '../host/command.ts';
import { findLink, ipBatch } from '../host/ip.ts';
import { addNamedNetns } from '../host/named-netns.ts';
import { namedNetnsPath } from '../host/netns.ts';
import { type SysctlName, setSysctls } from '../host/sysctl.ts';
import { startCommand } from '../lab/command.ts';
import { type LabHost, LabPod } from '../lab/host.ts';
import { Lab } from '../lab/lab.ts';
import type { LabNode } from '../lab/node.ts';
import { identifyProcess, isRunning, type ProcessId } from '../lab/process.ts';
import type { CompiledPrograms } from './compile.ts';
import { findProgram } from './programs.ts';
import type { Path, StageWishes } from './system.ts';

/** Pod of each node of a stage. */
export const POD = 'pod';

const POLL_INTERVAL_MS = 50;
const READY_TIMEOUT_MS = 20_000;
const LOG_TAIL_LINES = 5;

/** Tunnel addresses of systems that do not choose their own, in a range that nothing else here has. */
const TUNNEL_ADDRESSES = ['10.77.0.1', '10.77.0.2'] as const;
/** Pods behind the nodes of such systems. */
const POD_SUBNETS = ['10.77.1', '10.77.2'] as const;

export interface StageOptions {
  /** The system's id; the lab is called after it. */
  readonly id: string;
  readonly wishes: StageWishes | undefined;
  readonly programs: CompiledPrograms;
  readonly signal: AbortSignal;
}

export class Stage {
  readonly nodes: readonly [LabNode, LabNode];
  readonly programs: CompiledPrograms;
  readonly #lab: Lab;
  readonly #signal: AbortSignal;
  readonly #cleanups: (() => void)[] = [];

  private constructor(lab: Lab, options: StageOptions) {
    this.#lab = lab;
    this.#signal = options.signal;
    this.nodes = [lab.node(0), lab.node(1)];
    this.programs = options.programs;
  }

  static async build(options: StageOptions): Promise<Stage> {
    const { wishes } = options;
    const lab = await Lab.up({
      name: stageLabName(options.id),
      nodes: 2,
      pods: wishes === undefined ? 0 : [POD],
      start: wishes !== undefined,
      config: () => wishes?.agentConfig ?? {},
      signal: options.signal,
    });
    const stage = new Stage(lab, options);
    try {
      for (const node of stage.nodes) await saveNoMetrics(node.netns);
    } catch (error) {
      await stage.down();
      throw error;
    }
    return stage;
  }

  /** A pod that warren's agent made. */
  async pod(index: 0 | 1): Promise<LabPod> {
    const pod = await this.#lab.pod(index, POD);
    await saveNoMetrics(pod.netns);
    return pod;
  }

  /**
   * Makes a pod behind each node, with the node as its router, and routes to the other's pods. `via`: the words
   * that follow `ip route add PREFIX`, from each node's side.
   */
  async addPods(mtuBytes: number, via: readonly [readonly string[], readonly string[]]): Promise<Path> {
    const pods: LabPod[] = [];
    for (const [index, node] of this.nodes.entries()) {
      const subnet = POD_SUBNETS[index]!;
      // The lab's sweep knows namespaces of this name as its own.
      const name = `warren-${node.name}-${POD}`;
      const netns = namedNetnsPath(name);
      await addNamedNetns(name);
      await setSysctls(['net/ipv4/ip_forward'], '1', { netns: node.netns });
      const mtu = ['mtu', String(mtuBytes)];
      const peer = ['peer', 'name', 'eth0', ...mtu, 'netns', name];
      await ipBatch(
        [
          ['link', 'add', 'pod0', ...mtu, 'type', 'veth', ...peer],
          ['address', 'add', `${subnet}.1/24`, 'dev', 'pod0'],
          ['link', 'set', 'pod0', 'up'],
          ['route', 'add', `${POD_SUBNETS[1 - index]}.0/24`, ...via[index]!],
        ],
        { netns: node.netns },
      );
      await ipBatch(
        [
          ['link', 'set', 'lo', 'up'],
          ['address', 'add', `${subnet}.2/24`, 'dev', 'eth0'],
          ['link', 'set', 'eth0', 'up'],
          ['route', 'add', 'default', 'via', `${subnet}.1`],
        ],
        { netns },
      );
      await saveNoMetrics(netns);
      pods.push(new LabPod(node.name, POD, netns, [`${subnet}.2`]));
    }
    return { kind: 'pod', client: pods[0]!, server: pods[1]!, address: pods[1]!.address(4) };
  }

  /** A machine on the underlay that forged addresses are routed to, of 198.18.0.0/15: an attacker. */
  async addAttacker(): Promise<LabHost> {
    const attacker = await this.#lab.addHost('attacker');
    for (const node of this.nodes) {
      const route = ['route', 'add', '198.18.0.0/15', 'via', attacker.addresses.ipv4];
      await ipBatch([route], { netns: node.netns });
    }
    return attacker;
  }

  /** Starts a daemon in a node. It ends with the stage; its output goes to a file in the node's folder. */
  startDaemon(node: LabNode, argv: readonly string[], env: Readonly<Record<string, string>> = {}): ProcessId {
    const [program, ...args] = argv;
    mkdirSync(node.folder, { recursive: true, mode: 0o700 });
    const log = openSync(daemonLog(node), 'a', 0o600);
    try {
      const child = startCommand(argvInNetns(node.netns, [findProgram(program!) ?? program!, ...args]), {
        stdio: ['ignore', log, log],
        env: { ...process.env, ...env },
        cwd: node.folder,
      });
      // One that cannot start shows as a device that never comes, with the reason in the log.
      child.on('error', () => {});
      child.unref();
      const id = child.pid === undefined ? undefined : identifyProcess(child.pid);
      if (id === undefined) throw this.#failure(node, `${program} did not start`);
      return id;
    } finally {
      closeSync(log);
    }
  }

  /** Waits until the daemon has made its device. Throws with the end of its log if it ends first or is slow. */
  async awaitDevice(node: LabNode, device: string, daemon: ProcessId): Promise<void> {
    await this.#until(node, `the device ${device}`, daemon, async () => {
      return (await findLink(device, { netns: node.netns })) !== undefined;
    });
  }

  /**
   * Gives each node's tunnel device (`devices`: one name for both, or one each) its address and takes it up; returns
   * the way from node to node. `options`: further words of `ip link set`.
   */
  async addressDevices(
    devices: string | readonly [string, string],
    mtuBytes: number,
    options: readonly string[] = [],
  ): Promise<Path> {
    for (const [index, node] of this.nodes.entries()) {
      const device = typeof devices === 'string' ? devices : devices[index]!;
      await ipBatch(
        [
          ['link', 'set', device, 'mtu', String(mtuBytes), ...options],
          ['address', 'add', `${TUNNEL_ADDRESSES[index]}/24`, 'dev', device],
          ['link', 'set', device, 'up'],
        ],
        { netns: node.netns },
      );
    }
    const [client, server] = this.nodes;
    return { kind: 'node', client, server, address: TUNNEL_ADDRESSES[1] };
  }

  tunnelAddress(index: 0 | 1): string {
    return TUNNEL_ADDRESSES[index];
  }

  /** Waits until full-size packets pass, DF set: a path that must fragment would be measured as something else. */
  async awaitReachable(path: Path, mtuBytes: number, daemon?: ProcessId): Promise<void> {
    const payload = String(mtuBytes - 28);
    const argv = ['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', payload, path.address];
    await this.#until(this.nodes[0], `${path.address} answering ${mtuBytes} bytes`, daemon, async () => {
      return (await path.client.exec(argv)).code === 0;
    });
  }

  /** Called by `down`, once everything has ended: for what lies outside of the lab. */
  onDown(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  /** Ends all of it. May be called twice. */
  async down(): Promise<void> {
    await this.#lab.down();
    for (const cleanup of this.#cleanups.splice(0)) cleanup();
  }

  async #until(
    node: LabNode,
    what: string,
    daemon: ProcessId | undefined,
    isTrue: () => Promise<boolean>,
  ): Promise<void> {
    const deadline = performance.now() + READY_TIMEOUT_MS;
    while (!(await isTrue())) {
      this.#signal.throwIfAborted();
      if (daemon !== undefined && !isRunning(daemon))
        throw this.#failure(node, `it ended, waiting for ${what}`);
      if (performance.now() >= deadline) {
        throw this.#failure(node, `no ${what} after ${READY_TIMEOUT_MS / 1000} s`);
      }
      await delay(POLL_INTERVAL_MS);
    }
  }

  #failure(node: LabNode, problem: string): WarrenError {
    const tail = readTail(daemonLog(node));
    return new WarrenError('BENCH_SYSTEM_FAILED', tail === '' ? problem : `${problem}; it said: ${tail}`);
  }
}

/** Name of the lab that a system stands in: 16 letters and digits at most. */
export function stageLabName(id: string): string {
  return `bench${id.replaceAll('-', '')}`.slice(0, 16);
}

/** What TCP learnt in one measurement must not be where the next one begins (ip-sysctl.rst). */
async function saveNoMetrics(netns: string): Promise<void> {
  const settings: SysctlName[] = ['net/ipv4/tcp_no_metrics_save'];
  await setSysctls(settings, '1', { netns });
}

function daemonLog(node: LabNode): string {
  return join(node.folder, 'daemon.log');
}

function readTail(path: string): string {
  try {
    const lines = readFileSync(path, 'utf8').trim().split('\n').slice(-LOG_TAIL_LINES);
    return lines.map((line) => line.trim()).join(' / ');
  } catch {
    return '';
  }
}
