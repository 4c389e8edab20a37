/**
 * A Kubernetes cluster on one machine, from nothing: a lab's namespaces, on each node containerd, kubelet and kube-proxy, a
 * control plane beside them, and warren as its network, from an image made of this checkout's build.
 *
 *       warrenlab-kubernetes-host-control           warrenlab-kubernetes-a, -b, -c
 *     ┌──────────────────────────────────┐        ┌─────────────────────────────────────────┐
 *     │ etcd, kube-apiserver,            │ bridge │ containerd, kubelet, kube-proxy         │
 *     │ kube-controller-manager,         ├────────┤   warren: a pod on the node's network   │
 *     │ kube-scheduler   192.0.2.201     │        │   pods            192.0.2.1, .2, .3     │
 *     └──────────────────────────────────┘        └─────────────────────────────────────────┘
 */
import {
  cpSync,
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
import { WarrenError } from '../../errors.ts';
import { ipBatch } from '../../host/ip.ts';
import { setSysctls } from '../../host/sysctl.ts';
import { generateClusterKey } from '../../link/key-ring.ts';
import { manifests } from '../../manifests/manifests.ts';
import { packageFile } from '../../package.ts';
import type { LabHost } from '../host.ts';
import { Lab } from '../lab.ts';
import { labFolder } from '../names.ts';
import { ControlPlane } from './control-plane.ts';
import { makeImages } from './images.ts';
import { KubernetesMachine, removeControlGroups } from './machine.ts';
import { NodePrograms } from './node-programs.ts';
import type { KubernetesPrograms } from './programs.ts';

export const LAB_NAME = 'kubernetes';
/** Root's alone, and on a disk: images and containers take a gigabyte. Each cluster has a folder in here. */
const CACHE = '/var/cache/warren';
/** Says which, for whoever removes the cluster. */
const POINTER = join(labFolder(LAB_NAME), 'data-folder');
/** As deploy/kubernetes/warren.yaml has it. */
const POD_CIDRS = ['10.244.0.0/16'];
const LOOK_EVERY_MS = 500;
const READY_TIMEOUT_MS = 240_000;
const REGISTER_TIMEOUT_MS = 120_000;
const ROLLOUT_TIMEOUT_S = 180;
const UNINSTALL_TIMEOUT_MS = 180_000;
/** What warren makes on a node: files, devices, rules. */
const LEFT_OVERS = `
find /opt/cni/bin /etc/cni/net.d -name '*warren*'
find /var/lib/warren /run/warren -mindepth 1
ip -oneline link show | grep -oE 'warren0|wp[0-9a-f]{12}'
nft list tables | grep warren
true`;

export interface ClusterOptions {
  readonly nodes: number;
  readonly programs: KubernetesPrograms;
  /** Nodes also have the images of Kubernetes' own tests. */
  readonly forTests: boolean;
  readonly onProgress: (doing: string) => void;
  /** Told what nodes and pods were up to, when they did not do what they should. */
  readonly onFailure: (state: string) => void;
  readonly signal: AbortSignal;
}

export class Cluster {
  readonly lab: Lab;
  readonly machines: readonly KubernetesMachine[];
  readonly control: ControlPlane;
  /** Where the control plane is. */
  readonly controlHost: LabHost;
  readonly #folder: string;
  /** By node. */
  readonly #runs = new Map<string, NodePrograms>();
  readonly #options: ClusterOptions;

  private constructor(lab: Lab, controlHost: LabHost, dataFolder: string, options: ClusterOptions) {
    const { programs, signal } = options;
    this.#options = options;
    this.#folder = dataFolder;
    this.lab = lab;
    this.controlHost = controlHost;
    this.machines = lab.nodes.map((node) => new KubernetesMachine(node, join(dataFolder, node.name)));
    const folder = join(dataFolder, 'control');
    this.control = new ControlPlane({ host: controlHost, folder, programs, podCidrs: POD_CIDRS, signal });
  }

  /** A copy of deploy/kubernetes, with a key in it. */
  get #base(): string {
    return join(this.#folder, 'base');
  }

  /**
   * Returns when the API server answers and the nodes are known to it; they are not Ready, for want of a network. What was
   * made is removed again if anything fails. Throws as `Lab.up` does, and LAB_COMMAND_FAILED.
   */
  static async up(options: ClusterOptions): Promise<Cluster> {
    const { nodes, onProgress, signal } = options;
    let cluster: Cluster | undefined;
    const before = readFolder();
    const lab = await Lab.up({ name: LAB_NAME, nodes, pods: 0, start: false, onProgress, signal });
    try {
      // Of one that was killed, whose processes the lab has ended.
      if (before !== undefined) removeFolder(before);
      mkdirSync(CACHE, { recursive: true, mode: 0o700 });
      const folder = mkdtempSync(join(CACHE, 'kubernetes-'));
      writeFileSync(POINTER, folder);
      cluster = new Cluster(lab, await lab.addHost('control'), folder, options);
      await cluster.#start();
      return cluster;
    } catch (error) {
      if (!signal.aborted && cluster !== undefined) options.onFailure(await cluster.state());
      await Cluster.remove();
      throw error;
    }
  }

  /** Removes it, or what is left of it; false if there was nothing. */
  static async remove(): Promise<boolean> {
    const folder = readFolder();
    const wasThere = await Lab.remove(LAB_NAME);
    if (folder !== undefined) removeFolder(folder);
    return wasThere;
  }

  /** Makes warren its network, the documented way with kustomize. Returns when all nodes are Ready. */
  async install(): Promise<void> {
    const { onProgress } = this.#options;
    const key = generateClusterKey();
    const base = this.#base;
    cpSync(packageFile('deploy/kubernetes'), base, { recursive: true });
    writeFileSync(join(base, 'cluster.key'), `${key}\n`, { mode: 0o600 });
    onProgress('asking the API server about the manifests (kubectl apply --dry-run=server)');
    // What is in a namespace is only looked at where there is one.
    await this.control.told(['apply', '-f', join(base, 'namespace.yaml')]);
    await this.control.told(['apply', '--dry-run=server', '-f', '-'], { input: manifests({ key }) });
    await this.control.told(['apply', '--dry-run=server', '-k', base]);
    onProgress('installing warren (kubectl apply -k)');
    await this.control.told(['apply', '-k', base]);
    onProgress('waiting for the nodes to turn Ready');
    await this.until('the nodes are not Ready', READY_TIMEOUT_MS, async () => {
      const states = await this.nodeStates();
      return states.length === this.machines.length && states.every((state) => state === 'True');
    });
    await this.#routeToPods();
    await this.rolledOut('warren', 'warren');
  }

  /** Takes warren off again, the documented way, and gives what it has left on nodes, a line each. */
  async uninstall(): Promise<string[]> {
    const base = this.#base;
    const after = join(base, 'uninstall');
    await this.control.told(['delete', '-k', base], { timeoutMs: UNINSTALL_TIMEOUT_MS });
    await this.control.told(['apply', '-k', after]);
    await this.rolledOut('warren-uninstall', 'warren-uninstall');
    const left = await Promise.all(
      this.machines.map(async (machine) => {
        const { stdout } = await machine.exec(['sh', '-c', LEFT_OVERS]);
        return stdout.split('\n').flatMap((line) => (line === '' ? [] : [`${machine.name}: ${line}`]));
      }),
    );
    await this.control.told(['delete', '-k', after], { timeoutMs: UNINSTALL_TIMEOUT_MS });
    return left.flat();
  }

  /** Waits until each node has a DaemonSet's pod of today, and it is ready. Throws LAB_COMMAND_FAILED. */
  async rolledOut(namespace: string, name: string, timeoutS = ROLLOUT_TIMEOUT_S): Promise<void> {
    const argv = ['-n', namespace, 'rollout', 'status', `daemonset/${name}`, `--timeout=${timeoutS}s`];
    await this.control.told(argv, { timeoutMs: (timeoutS + 10) * 1000 });
  }

  /** What Kubernetes runs on a node. */
  programsOf(machine: KubernetesMachine): NodePrograms {
    return this.#runs.get(machine.name)!;
  }

  /** Of each node the status of its condition Ready. */
  async nodeStates(): Promise<string[]> {
    const path = '{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
    const text = await this.control.told(['get', 'nodes', `-o=jsonpath=${path}`]);
    return text.trim() === '' ? [] : text.trim().split('\n');
  }

  /** Looks again and again; an API server that does not answer is no answer yet. Throws LAB_TIMEOUT. */
  async until(what: string, timeoutMs: number, isSo: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      this.#options.signal.throwIfAborted();
      let why = '';
      try {
        if (await isSo()) return;
      } catch (error) {
        if (!(error instanceof WarrenError) || error.code !== 'LAB_COMMAND_FAILED') throw error;
        why = `: ${error.message}`;
      }
      if (performance.now() > deadline)
        throw new WarrenError('LAB_TIMEOUT', `${what} within ${timeoutMs / 1000} s${why}`);
      await delay(LOOK_EVERY_MS);
    }
  }

  async #start(): Promise<void> {
    const { onProgress, programs, forTests, signal } = this.#options;
    const control = this.controlHost.addresses.ipv4;
    for (const machine of this.machines) {
      const where = { netns: machine.node.netns };
      await setSysctls(['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'], '1', where);
      // Services have addresses that only a default route leads to, before kube-proxy changes them.
      await ipBatch([['route', 'add', 'default', 'via', control]], where);
    }
    onProgress(`making images of this checkout's build`);
    const archives = await makeImages(join(this.#folder, 'images'), programs, forTests);
    signal.throwIfAborted();
    onProgress('starting the control plane: etcd, API server, controller manager, scheduler');
    await this.control.start();
    onProgress(`starting ${this.machines.length} nodes: containerd, kubelet, kube-proxy`);
    await Promise.all(this.machines.map((machine) => this.#startNode(machine, archives)));
    await this.until('the nodes do not register', REGISTER_TIMEOUT_MS, async () => {
      return (await this.nodeStates()).length === this.machines.length;
    });
  }

  /** The control plane is on no node, and API servers ask pods: it reaches them by their nodes. */
  async #routeToPods(): Promise<void> {
    const path = '{range .items[*]}{.metadata.name} {.spec.podCIDR}{"\\n"}{end}';
    const lines = (await this.control.told(['get', 'nodes', `-o=jsonpath=${path}`])).trim().split('\n');
    const routes = lines.map((line) => {
      const [name, range] = line.split(' ');
      const machine = this.machines.find((one) => one.name === name);
      return ['route', 'replace', range!, 'via', machine!.address];
    });
    await ipBatch(routes, { netns: this.controlHost.netns });
  }

  async #startNode(machine: KubernetesMachine, archives: readonly string[]): Promise<void> {
    const { programs, signal } = this.#options;
    await machine.start();
    const runs = new NodePrograms({ machine, control: this.control, programs, podCidrs: POD_CIDRS });
    this.#runs.set(machine.name, runs);
    await runs.startContainerd();
    for (const archive of archives) {
      signal.throwIfAborted();
      await runs.importImage(archive);
    }
    runs.startKubelet();
    runs.startProxy();
  }

  /** What nodes and pods are up to, for whoever has to find out why something failed. */
  async state(): Promise<string> {
    const asked = [
      ['get', 'nodes', '-o', 'wide'],
      ['get', 'pods', '-A', '-o', 'wide'],
      ['-n', 'warren', 'describe', 'pods'],
      [
        '-n',
        'warren',
        'logs',
        '-l',
        'app.kubernetes.io/name=warren',
        '--all-containers',
        '--tail=15',
        '--prefix',
      ],
    ];
    const said = [];
    for (const argv of asked) {
      const { stdout, stderr } = await this.control.kubectl(argv, { timeoutMs: 20_000 });
      said.push(`$ kubectl ${argv.join(' ')}\n${stdout}${stderr}`);
    }
    for (const machine of this.machines)
      said.push(`kubelet of ${machine.name}:\n${machine.log('kubelet', 8)}`);
    return said.join('\n');
  }
}

/** The folder of the cluster that there is. */
function readFolder(): string | undefined {
  try {
    return readFileSync(POINTER, 'utf8');
  } catch {
    return undefined;
  }
}

/** Nothing of it is in use any more: it all ended with the first processes of its nodes. */
function removeFolder(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) removeControlGroups(join(folder, name, 'containerd-state'));
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}
