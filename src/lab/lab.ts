/**
 * A lab: N nodes on one machine, each a network namespace with a real agent in it, joined by a bridge.
 *
 *       warrenlab-lab-bridge                         one namespace each
 *     ┌─────────────────────┐    ┌── warrenlab-node-a ───────────────┐
 *     │ br0 ── port1 ───────┼────┤ eth0 192.0.2.1      agent         ├── warren-node-a-web
 *     │    └── port2 ─────┐ │    │      2001:db8:0:1::1   warren0    ├── warren-node-a-db
 *     └───────────────────┼─┘    └───────────────────────────────────┘
 *                         └───── warrenlab-node-b ...
 *
 * The demo, the end-to-end tests and the benchmark all stand on this.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from '../errors.ts';
import { namedNetnsPath } from '../host/netns.ts';
import { generateClusterKey } from '../link/key-ring.ts';
import { LabHost, LabPod } from './host.ts';
import {
  checkLabName,
  DEFAULT_LAB,
  hostNamespace,
  labFolder,
  MAX_NODES,
  nodeName,
  nodeNamespace,
} from './names.ts';
import { LabNode, type RawConfig } from './node.ts';
import { defaultNodeConfig, mergeConfig } from './node-config.ts';
import { identifyProcess } from './process.ts';
import { requireForLab } from './program.ts';
import { waitUntilReady } from './ready.ts';
import { isInUse, type LabRecord, readRecord, writeRecord } from './record.ts';
import { hasLeftOvers, readRecordIfSound, sweep } from './sweep.ts';
import { attach, createBridge, underlayAddresses } from './underlay.ts';

export interface LabOptions {
  /** See `checkLabName`; default `lab`. */
  readonly name?: string;
  /** 1 to 200; default 3. */
  readonly nodes?: number;
  /** Static pods of each node: their names, or how many (pod-1, pod-2 ...); default 2. */
  readonly pods?: number | readonly string[];
  /** Family of the addresses that the agents talk through; every node has both. Default ipv4. */
  readonly underlay?: 'ipv4' | 'ipv6';
  /** No IPv4 anywhere: not on the underlay, whose family is then ipv6, nor in the pod ranges; default false. */
  readonly ipv6Only?: boolean;
  /** MTU of eth0, of all nodes or by node index; default 1500. */
  readonly mtuBytes?: number | readonly number[];
  /** Whether the nodes share a cluster key, made for this lab; default true. */
  readonly sealed?: boolean;
  /** How packets go between nodes; default: sealed, if the nodes share a key, as agents do by themselves. */
  readonly encapsulation?: 'wireguard' | 'vxlan-gpe';
  /** Put over each node's configuration (`mergeConfig`); may use the addresses of all nodes. */
  readonly config?: (node: LabNode, nodes: readonly LabNode[]) => RawConfig;
  /** false: everything is made but no agent is started (`node.start()`); default true. */
  readonly start?: boolean;
  /** How long the started agents may take until all are ready; default 120 s: a second or two where nothing else runs. */
  readonly readyTimeoutMs?: number;
  /** Told what is being done, in the present participle: "starting 3 agents". */
  readonly onProgress?: (doing: string) => void;
  /** Aborting it makes `up` tear down what there is and throw the signal's reason. */
  readonly signal?: AbortSignal;
}

const DEFAULT_MTU_BYTES = 1500;
const READY_TIMEOUT_MS = 120_000;
const STOP_GRACE_MS = 5_000;
/** First underlay number of hosts that run no agent. */
const FIRST_HOST_NUMBER = MAX_NODES + 1;
const MAX_HOSTS = 50;

export class Lab {
  readonly name: string;
  readonly folder: string;
  readonly nodes: readonly LabNode[];
  readonly #record: LabRecord;

  private constructor(record: LabRecord) {
    this.#record = record;
    this.name = record.name;
    this.folder = labFolder(record.name);
    this.nodes = record.nodes.map(
      (entry, index) =>
        new LabNode({
          lab: record.name,
          name: entry.name,
          namespace: nodeNamespace(entry.name),
          number: index + 1,
          folder: join(this.folder, entry.name),
          family: record.underlay,
          agent: entry.agent ?? undefined,
          onAgentChange: (agent) => {
            entry.agent = agent ?? null;
            writeRecord(record);
          },
        }),
    );
  }

  /**
   * Builds a lab, starts its agents and returns when all of them are ready. Left-overs of an earlier lab of
   * the same name go first. It belongs to this process (a later `up` may remove it once this process is
   * gone) until `release`. What was made is removed again if anything fails.
   *
   * Throws NOT_ROOT, TOOL_MISSING, NOT_BUILT; LAB_IN_USE when a lab of this name is somebody else's or still
   * stands; LAB_TIMEOUT or LAB_AGENT_ENDED, with the end of the agent's log, when a node does not get ready.
   */
  static async up(options: LabOptions = {}): Promise<Lab> {
    requireForLab('a lab', ['ip', 'nsenter', 'tee']);
    const record = newRecord(options);
    const progress = options.onProgress ?? (() => {});
    refuseIfInUse(record.name);
    if (hasLeftOvers(record.name)) {
      progress('removing what an earlier run left behind');
      await sweep(record.name, 0);
    }
    writeRecord(record);
    const lab = new Lab(record);
    try {
      progress(`joining ${lab.nodes.length} network namespaces with a bridge`);
      await lab.#build(options);
      options.signal?.throwIfAborted();
      if (options.start !== false) {
        progress(`starting ${lab.nodes.length} agents`);
        for (const node of lab.nodes) node.start();
        progress('waiting until every node has its subnets, its pods and routes to the others');
        await lab.ready(options);
      }
    } catch (error) {
      await lab.down();
      throw error;
    }
    return lab;
  }

  /** The lab of that name that stands on this machine. Throws LAB_UNKNOWN. */
  static open(name: string = DEFAULT_LAB): Lab {
    checkLabName(name);
    const record = readRecord(name);
    if (record === undefined) {
      throw new WarrenError('LAB_UNKNOWN', `there is no lab called ${name} on this machine`, {
        hint: 'Make one with `warren lab up`.',
      });
    }
    return new Lab(record);
  }

  /** Removes the lab of that name, or what is left of it, whoever made it; false if there was nothing. */
  static async remove(name: string = DEFAULT_LAB): Promise<boolean> {
    checkLabName(name);
    requireForLab('a lab', ['ip']);
    if (!hasLeftOvers(name)) return false;
    await sweep(name, STOP_GRACE_MS);
    return true;
  }

  get underlay(): 'ipv4' | 'ipv6' {
    return this.#record.underlay;
  }

  /** The node at `key` (from 0), or with that name. Throws LAB_NODE_UNKNOWN. */
  node(key: number | string): LabNode {
    const found = typeof key === 'number' ? this.nodes[key] : this.nodes.find((node) => node.name === key);
    if (found === undefined) {
      throw new WarrenError('LAB_NODE_UNKNOWN', `the lab ${this.name} has no node ${key}`, {
        hint: `Its nodes: ${this.nodes.map((node) => node.name).join(', ')}.`,
      });
    }
    return found;
  }

  /** A pod that `node`'s agent has now. Throws LAB_POD_UNKNOWN, or that the agent does not answer. */
  async pod(node: number | string, name: string): Promise<LabPod> {
    const owner = this.node(node);
    const { pods } = await owner.view();
    const pod = pods.find((candidate) => candidate.name === name);
    if (pod === undefined) {
      throw new WarrenError('LAB_POD_UNKNOWN', `${owner.name} has no pod ${name}`, {
        hint: `Its pods: ${pods.map((candidate) => candidate.name).join(', ') || 'none'}.`,
      });
    }
    return new LabPod(owner.name, pod.name, pod.netns, pod.addresses);
  }

  /** Adds a namespace on the underlay without an agent. `name`: lower-case letters and digits. */
  async addHost(name: string, mtuBytes: number = DEFAULT_MTU_BYTES): Promise<LabHost> {
    const { hosts } = this.#record;
    if (!/^[a-z0-9]{1,16}$/.test(name) || hosts.includes(name) || hosts.length >= MAX_HOSTS) {
      throw new WarrenError('LAB_HOST_INVALID', `the lab ${this.name} cannot take a host "${name}"`);
    }
    const namespace = hostNamespace(this.name, name);
    const number = FIRST_HOST_NUMBER + hosts.length;
    hosts.push(name);
    writeRecord(this.#record);
    await attach({ lab: this.name, namespace, number, mtuBytes, ipv6Only: this.#record.ipv6Only });
    return new LabHost(name, namedNetnsPath(namespace), underlayAddresses(number));
  }

  /** Waits until every node (of those whose agent was started) is ready, as `up` does. */
  async ready(options: { readyTimeoutMs?: number; signal?: AbortSignal } = {}): Promise<void> {
    const started = this.nodes.filter((node) => node.wasStarted);
    const pods = new Map(this.#record.nodes.map((entry) => [entry.name, entry.pods]));
    await waitUntilReady(started, (node) => pods.get(node.name) ?? [], {
      timeoutMs: options.readyTimeoutMs ?? READY_TIMEOUT_MS,
      ...(options.signal ? { signal: options.signal } : {}),
    });
  }

  /** Leaves the lab standing when this process ends. */
  release(): void {
    this.#record.owner = null;
    writeRecord(this.#record);
  }

  /** Ends the agents and removes everything the lab made. May be called twice. */
  async down(): Promise<void> {
    await sweep(this.name, STOP_GRACE_MS);
  }

  async #build(options: LabOptions): Promise<void> {
    await createBridge(this.name);
    for (const [index, node] of this.nodes.entries()) {
      options.signal?.throwIfAborted();
      const mtuBytes = byIndex(options.mtuBytes, index) ?? DEFAULT_MTU_BYTES;
      await attach({
        lab: this.name,
        namespace: nodeNamespace(node.name),
        number: index + 1,
        mtuBytes,
        ipv6Only: this.#record.ipv6Only,
      });
    }
    const keyFile = options.sealed === false ? undefined : this.#generateKey();
    for (const [index, node] of this.nodes.entries()) {
      const pods = this.#record.nodes[index]?.pods ?? [];
      const base = defaultNodeConfig(node, {
        nodes: this.nodes,
        family: this.underlay,
        ipv6Only: this.#record.ipv6Only,
        pods,
        keyFile,
        encapsulation: options.encapsulation ?? (keyFile === undefined ? 'vxlan-gpe' : 'wireguard'),
      });
      node.writeConfig(mergeConfig(base, options.config?.(node, this.nodes) ?? {}));
    }
  }

  #generateKey(): string {
    const path = join(this.folder, 'cluster.key');
    writeFileSync(path, `${generateClusterKey()}\n`, { mode: 0o600 });
    return path;
  }
}

function newRecord(options: LabOptions): LabRecord {
  const name = options.name ?? DEFAULT_LAB;
  const nodes = options.nodes ?? 3;
  checkLabName(name);
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES) {
    throw new WarrenError('LAB_SIZE_INVALID', `a lab has 1 to ${MAX_NODES} nodes, not ${nodes}`);
  }
  const pods = podNames(options.pods ?? 2);
  return {
    name,
    underlay: options.ipv6Only === true ? 'ipv6' : (options.underlay ?? 'ipv4'),
    ipv6Only: options.ipv6Only === true,
    owner: identifyProcess(process.pid) ?? null,
    nodes: Array.from({ length: nodes }, (_, index) => ({
      name: nodeName(name, index),
      pods: [...pods],
      agent: null,
    })),
    hosts: [],
  };
}

function podNames(pods: number | readonly string[]): readonly string[] {
  return typeof pods === 'number' ? Array.from({ length: pods }, (_, index) => `pod-${index + 1}`) : pods;
}

function refuseIfInUse(name: string): void {
  const record = readRecordIfSound(name);
  if (record === undefined || !isInUse(record)) return;
  const whose = record.owner === null ? 'stands already' : `is in use by process ${record.owner.pid}`;
  throw new WarrenError('LAB_IN_USE', `a lab called ${name} ${whose}`, {
    hint: `Remove it with \`warren lab down --name ${name}\`, or take another --name.`,
  });
}

function byIndex(value: number | readonly number[] | undefined, index: number): number | undefined {
  return typeof value === 'object' ? value[index] : value;
}
