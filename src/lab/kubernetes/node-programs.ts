/** containerd, kubelet and kube-proxy of one node. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WarrenError } from '../../errors.ts';
import type { ControlPlane } from './control-plane.ts';
import { type KubernetesMachine, removeControlGroups } from './machine.ts';
import type { KubernetesPrograms } from './programs.ts';

const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';
const START_TIMEOUT_MS = 30_000;
const IMPORT_TIMEOUT_MS = 180_000;
export const PAUSE_IMAGE = 'k8s.gcr.io/pause:3.2';

export interface NodeProgramsOptions {
  readonly machine: KubernetesMachine;
  readonly control: ControlPlane;
  readonly programs: KubernetesPrograms;
  readonly podCidrs: readonly string[];
}

export class NodePrograms {
  readonly #options: NodeProgramsOptions;

  constructor(options: NodeProgramsOptions) {
    this.#options = options;
  }

  /** Where containerd keeps what runs. */
  get containerdState(): string {
    return join(this.#options.machine.folder, 'containerd-state');
  }

  /** Throws LAB_TIMEOUT. */
  async startContainerd(): Promise<void> {
    const { machine } = this.#options;
    const config = join(machine.folder, 'containerd.toml');
    writeFileSync(config, containerdConfig(join(machine.folder, 'containerd'), this.containerdState));
    machine.spawn('containerd', ['containerd', '-c', config]);
    const deadline = performance.now() + START_TIMEOUT_MS;
    while ((await machine.exec(['ctr', '-a', CONTAINERD_SOCKET, 'version'])).code !== 0) {
      if (performance.now() > deadline)
        throw new WarrenError('LAB_TIMEOUT', `containerd does not answer:\n${machine.log('containerd')}`);
      await delay(200);
    }
  }

  /** After the power has gone: containers' files and images are there, and nothing runs. Throws as `start` and LAB_TIMEOUT. */
  async startAgain(): Promise<void> {
    removeControlGroups(this.containerdState);
    rmSync(this.containerdState, { recursive: true, force: true });
    await this.#options.machine.start();
    await this.startContainerd();
    this.startKubelet();
    this.startProxy();
  }

  /** Throws LAB_COMMAND_FAILED. */
  async importImage(archive: string): Promise<void> {
    const argv = ['ctr', '-a', CONTAINERD_SOCKET, '-n', 'k8s.io', 'images', 'import', archive];
    const { code, stderr } = await this.#options.machine.exec(argv, { timeoutMs: IMPORT_TIMEOUT_MS });
    if (code !== 0) throw new WarrenError('LAB_COMMAND_FAILED', `cannot import ${archive}: ${stderr.trim()}`);
  }

  startKubelet(): void {
    const { machine, control, programs } = this.#options;
    const config = join(machine.folder, 'kubelet.json');
    const plugins = join(machine.folder, 'volume-plugins');
    mkdirSync(plugins, { recursive: true });
    writeFileSync(config, JSON.stringify(kubeletConfig(machine.address, control, plugins)));
    machine.spawn('kubelet', [
      programs.path('kubelet'),
      `--config=${config}`,
      `--kubeconfig=${control.kubeconfig}`,
      '--container-runtime=remote',
      `--container-runtime-endpoint=unix://${CONTAINERD_SOCKET}`,
      `--hostname-override=${machine.name}`,
      `--node-ip=${machine.address}`,
    ]);
  }

  startProxy(): void {
    const { machine, control, programs, podCidrs } = this.#options;
    machine.spawn('kube-proxy', [
      programs.path('kube-proxy'),
      `--kubeconfig=${control.kubeconfig}`,
      `--hostname-override=${machine.name}`,
      `--cluster-cidr=${podCidrs[0]}`,
      // The size of the table is the whole machine's.
      '--conntrack-max-per-core=0',
    ]);
  }
}

/** Kubernetes 1.20 has the runtime's configuration of its time. No profile and no score that only a real root may set. */
function containerdConfig(root: string, state: string): string {
  return `version = 2
root = "${root}"
state = "${state}"
[grpc]
  address = "${CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`;
}

function kubeletConfig(address: string, control: ControlPlane, volumePluginDir: string): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: false },
      x509: { clientCAFile: control.path('ca.crt') },
    },
    authorization: { mode: 'AlwaysAllow' },
    address,
    volumePluginDir,
    clusterDNS: [control.address],
    clusterDomain: 'cluster.local',
    // Control groups are the machine's, and it may have either version of them.
    cgroupDriver: 'cgroupfs',
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failSwapOn: false,
    // The disk is the machine's too: what fills it is not for these nodes to remove.
    evictionHard: { 'nodefs.available': '1%', 'imagefs.available': '1%', 'memory.available': '50Mi' },
    imageGCHighThresholdPercent: 100,
    // Sooner than by themselves: somebody waits.
    nodeStatusUpdateFrequency: '5s',
    fileCheckFrequency: '5s',
    syncFrequency: '5s',
  };
}
