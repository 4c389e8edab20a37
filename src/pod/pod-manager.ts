/**
 * This node's pods: their names, addresses and network namespaces.
 *
 * An assignment is on the disk before the first interface is made, so that a crash at any point leaves
 * something that `restore` completes. Operations run one at a time: they share the address space and the
 * state file. What waits for its turn is bounded by the API server's limit on open requests.
 */
import { isAbsolute } from 'node:path';
import { POD_NAME, POD_NAME_RULE } from '../config/fields.ts';
import { WarrenError } from '../errors.ts';
import { formatAddress, type IpAddress } from '../ip/address.ts';
import { formatPrefix, type Prefix, prefixContains } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import type { PodReport } from '../readmodel/reports.ts';
import { nextPodAddress, nodeAddress, podCapacity } from './addresses.ts';
import { addNamedNetns, isNetns, namedNetnsPath, netnsIdentity, removeNamedNetns } from './netns.ts';
import { ensurePodNetwork, findDamagedPods, hostInterfaceName, removePodNetwork } from './pod-network.ts';
import { type PodRecord, type PodState, readPodState, writePodState } from './pod-state.ts';

/** Bounds the state file and the addresses of a node whose subnet is IPv6 alone. */
const MAX_PODS = 4096;

export interface PodManagerOptions {
  readonly nodeName: string;
  readonly nodeId: string;
  /** Holds `pods.json`. */
  readonly stateDir: string;
  /** The node's own subnets, one of each family at most. */
  readonly subnets: readonly Prefix[];
  /** Bytes of an inner packet. */
  readonly mtu: number;
  /** The most segments of a superpacket that a pod's TCP makes: what fits one send on the underlay. */
  readonly gsoMaxSegments: number;
  /** Names of the pods that are always there. */
  readonly staticPods: readonly string[];
  readonly log: Logger;
  /** Path of the network namespace that the node lives in; default: this process's own. */
  readonly netns?: string | undefined;
}

export class PodManager {
  readonly #options: PodManagerOptions;
  readonly #host: { readonly netns: string | undefined };
  #subnets: readonly Prefix[];
  #state: PodState;
  /** Pods that could not be made whole. Bounded by MAX_PODS. */
  readonly #broken = new Set<string>();
  #turn: Promise<unknown> = Promise.resolve();

  /** Reads the remembered pods; changes nothing yet. Throws STATE_CORRUPT and the like. */
  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#host = { netns: options.netns };
    this.#subnets = options.subnets;
    this.#state = readPodState(options.stateDir, options.nodeId);
  }

  /** For a node that got other subnets while it runs; pods that exist keep their addresses. */
  setSubnets(subnets: readonly Prefix[]): void {
    this.#subnets = subnets;
  }

  list(): PodReport[] {
    return this.#state.pods.map((pod) => this.#report(pod));
  }

  /**
   * Makes every remembered pod whole again, and every static pod exist. What is there is left alone. A pod
   * that fails is logged and reported as `missing`; its addresses stay its own.
   */
  restore(): Promise<void> {
    return this.#inTurn(async () => {
      const { staticPods, log } = this.#options;
      for (const pod of this.#state.pods) {
        try {
          if (pod.static && !staticPods.includes(pod.name)) {
            await this.#destroy(pod);
            log.info({ pod: pod.name }, 'pod is no longer in staticPods and was removed');
          } else {
            await this.#restorePod(pod);
          }
        } catch (error) {
          this.#broken.add(pod.name);
          log.error({ pod: pod.name, err: error, ...hintOf(error) }, 'pod could not be restored');
        }
      }
      for (const name of staticPods) {
        try {
          if (this.#find(name) === undefined) await this.#create(name, undefined, true);
        } catch (error) {
          log.error({ pod: name, err: error, ...hintOf(error) }, 'static pod could not be made');
        }
      }
    });
  }

  /**
   * Puts back what others removed or changed of the pods' interfaces and routes on the node's side; says which
   * pods that were. A pod whose namespace is gone stays `missing`: its programs cannot be put back.
   */
  repair(): Promise<string[]> {
    return this.#inTurn(async () => {
      const present = this.#state.pods
        .filter((pod) => !this.#broken.has(pod.name) && isPresent(pod) && this.#fitsSubnets(pod))
        .map((pod) => ({
          pod,
          hostInterface: this.#hostInterface(pod),
          addresses: pod.addresses,
          mtu: this.#options.mtu,
        }));
      const damaged = await findDamagedPods(present, this.#host);
      for (const { pod } of damaged) await this.#ensureNetwork(pod);
      return damaged.map(({ pod }) => pod.name);
    });
  }

  /**
   * Makes a pod in a namespace of its own, or in the one at the path `netns`. If it fails, nothing is left.
   * Throws POD_NAME_INVALID, POD_EXISTS, POD_SUBNET_EXHAUSTED, POD_NETNS_* or what the host's tools say.
   */
  add(name: string, options: { netns?: string | undefined } = {}): Promise<PodReport> {
    return this.#inTurn(async () => this.#report(await this.#create(name, options.netns, false)));
  }

  /** Removes a pod and frees its addresses. A namespace that was given with `netns` stays. Throws POD_UNKNOWN. */
  remove(name: string): Promise<PodReport> {
    return this.#inTurn(async () => {
      const pod = this.#find(name);
      if (pod === undefined) {
        throw new WarrenError('POD_UNKNOWN', `there is no pod ${name} on this node`, {
          hint: '`warren pods` lists them.',
        });
      }
      if (this.#options.staticPods.includes(name)) {
        throw new WarrenError('POD_STATIC', `pod ${name} is in staticPods of this node's configuration`, {
          hint: 'Take it out of staticPods and restart the agent.',
        });
      }
      const report = this.#report(pod);
      await this.#destroy(pod);
      this.#options.log.info({ pod: name }, 'pod is removed');
      return report;
    });
  }

  /** Removes every pod, static ones too: the node is being cleaned up. */
  removeAll(): Promise<void> {
    return this.#inTurn(async () => {
      for (const pod of this.#state.pods) await this.#destroy(pod);
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => {});
    return result;
  }

  #find(name: string): PodRecord | undefined {
    return this.#state.pods.find((pod) => pod.name === name);
  }

  #hostInterface(pod: PodRecord): string {
    return hostInterfaceName(this.#options.nodeId, pod.name);
  }

  #report(pod: PodRecord): PodReport {
    return {
      name: pod.name,
      addresses: pod.addresses.map(formatAddress),
      netns: pod.netns,
      hostInterface: this.#hostInterface(pod),
      status: !this.#broken.has(pod.name) && isPresent(pod) ? 'ready' : 'missing',
      static: pod.static,
    };
  }

  async #create(name: string, externalPath: string | undefined, isStatic: boolean): Promise<PodRecord> {
    if (!POD_NAME.test(name)) {
      throw new WarrenError(
        'POD_NAME_INVALID',
        `"${name}" cannot be a pod's name: it must be ${POD_NAME_RULE}`,
      );
    }
    if (this.#find(name) !== undefined) {
      throw new WarrenError('POD_EXISTS', `pod ${name} exists already`, {
        hint: `Choose another name, or remove it first: warren pod rm ${name}`,
      });
    }
    if (this.#state.pods.length >= MAX_PODS) {
      throw new WarrenError('POD_LIMIT', `this node has ${MAX_PODS} pods, which is the most it can have`);
    }
    const external = externalPath === undefined ? undefined : this.#checkExternal(externalPath);
    const netns = externalPath ?? namedNetnsPath(this.#netnsName(name));
    if (external === undefined && isNetns(netns)) {
      throw new WarrenError(
        'POD_NETNS_EXISTS',
        `the network namespace ${netns} exists, and no pod of this node has it`,
        {
          hint: `If nothing uses it, remove it: ip netns delete ${this.#netnsName(name)}`,
        },
      );
    }
    const addresses = this.#allocate();
    const pod: PodRecord = { name, netns, external, addresses, static: isStatic };
    this.#save({ pods: [...this.#state.pods, pod], last: addresses });
    // Until its network is there it is not ready, whatever of it exists already.
    this.#broken.add(name);
    try {
      if (external === undefined) await addNamedNetns(this.#netnsName(name));
      await this.#ensureNetwork(pod);
      this.#broken.delete(name);
    } catch (error) {
      await this.#rollBack(pod);
      throw error;
    }
    this.#options.log.info({ pod: name, addresses: addresses.map(formatAddress), netns }, 'pod is ready');
    return pod;
  }

  /** Removes what a failed `#create` made. Its error is the one that matters; what fails here is logged. */
  async #rollBack(pod: PodRecord): Promise<void> {
    try {
      await this.#destroy(pod);
    } catch (error) {
      this.#broken.add(pod.name);
      this.#options.log.error({ pod: pod.name, err: error }, 'a pod that failed could not be removed again');
    }
  }

  async #restorePod(remembered: PodRecord): Promise<void> {
    const { log, staticPods } = this.#options;
    let { addresses, external } = remembered;
    let last = this.#state.last;
    if (!this.#fitsSubnets(remembered)) {
      addresses = last = this.#allocate(remembered.name);
      const texts = addresses.map(formatAddress);
      log.warn(
        { pod: remembered.name, addresses: texts },
        "pod was outside of this node's subnets and moves",
      );
      // With the interface go the old addresses and the routes to them.
      await removePodNetwork(this.#hostInterface(remembered), this.#host);
    }
    const isExternal = external !== undefined;
    const identity = netnsIdentity(remembered.netns);
    // A path under /proc names a process, and after its end another process may have its number.
    const isGone =
      isExternal &&
      (identity === undefined || (identity !== external && remembered.netns.startsWith('/proc/')));
    if (isExternal && !isGone) external = identity;
    const pod = { ...remembered, addresses, external, static: staticPods.includes(remembered.name) };
    this.#save({ pods: this.#state.pods.map((other) => (other.name === pod.name ? pod : other)), last });
    if (isGone) {
      log.warn({ pod: pod.name, netns: pod.netns }, 'the network namespace of a pod is gone');
      return;
    }
    if (!isExternal && identity === undefined) await addNamedNetns(this.#netnsName(pod.name));
    await this.#ensureNetwork(pod);
    this.#broken.delete(pod.name);
    log.debug({ pod: pod.name }, 'pod is restored');
  }

  async #ensureNetwork(pod: PodRecord): Promise<void> {
    const ipv4 = pod.addresses.find((address) => address.family === 4);
    const subnet = ipv4 && this.#subnets.find((candidate) => prefixContains(candidate, ipv4));
    await ensurePodNetwork(
      {
        podName: pod.name,
        netns: pod.netns,
        hostInterface: this.#hostInterface(pod),
        addresses: pod.addresses,
        ipv4Gateway: subnet && nodeAddress(subnet),
        mtu: this.#options.mtu,
        gsoMaxSegments: this.#options.gsoMaxSegments,
      },
      this.#host,
    );
  }

  async #destroy(pod: PodRecord): Promise<void> {
    await removePodNetwork(this.#hostInterface(pod), this.#host);
    if (pod.external === undefined) await removeNamedNetns(this.#netnsName(pod.name));
    this.#broken.delete(pod.name);
    this.#save({ ...this.#state, pods: this.#state.pods.filter(({ name }) => name !== pod.name) });
  }

  /** One free address of each subnet; for `owner`, its own addresses count as free. */
  #allocate(owner?: string): IpAddress[] {
    if (this.#subnets.length === 0) {
      throw new WarrenError('POD_NO_SUBNET', 'this node has no subnet yet, so it has no addresses for pods', {
        hint: '`warren status` shows how far it is with its lease.',
      });
    }
    const others = this.#state.pods.filter(({ name }) => name !== owner).flatMap((pod) => pod.addresses);
    return this.#subnets.map((subnet) => {
      const used = new Set(others.filter(({ family }) => family === subnet.family).map(({ value }) => value));
      const last = this.#state.last.find(({ family }) => family === subnet.family)?.value;
      const address = nextPodAddress(subnet, used, last);
      if (address !== undefined) return address;
      throw new WarrenError(
        'POD_SUBNET_EXHAUSTED',
        `this node's subnet ${formatPrefix(subnet)} has no free address: all ${podCapacity(subnet)} are taken by pods`,
        {
          hint: 'Remove pods (warren pod rm NAME), or give nodes larger subnets (cluster.nodePrefixLengths).',
        },
      );
    });
  }

  /** True if the pod has exactly one address in each of the node's subnets. */
  #fitsSubnets(pod: PodRecord): boolean {
    return (
      pod.addresses.length === this.#subnets.length &&
      this.#subnets.every((subnet) => pod.addresses.some((address) => prefixContains(subnet, address)))
    );
  }

  /** The identity of a namespace that a pod may be put in. */
  #checkExternal(path: string): string {
    const identity = isAbsolute(path) ? netnsIdentity(path) : undefined;
    if (identity === undefined) {
      throw new WarrenError('POD_NETNS_MISSING', `"${path}" is not the path of a network namespace`, {
        hint: 'Give an absolute path such as /run/netns/NAME (of `ip netns add NAME`) or /proc/PID/ns/net.',
      });
    }
    if (identity === netnsIdentity(this.#host.netns ?? '/proc/self/ns/net')) {
      throw new WarrenError('POD_NETNS_IS_NODE', `${path} is the node's own network namespace`, {
        hint: 'A pod needs a namespace of its own.',
      });
    }
    const owner = this.#state.pods.find((pod) => netnsIdentity(pod.netns) === identity);
    if (owner !== undefined) {
      throw new WarrenError(
        'POD_NETNS_TAKEN',
        `${path} is the network namespace of pod ${owner.name} already`,
      );
    }
    return identity;
  }

  #netnsName(podName: string): string {
    return `warren-${this.#options.nodeName}-${podName}`;
  }

  #save(state: PodState): void {
    writePodState(this.#options.stateDir, this.#options.nodeId, state);
    this.#state = state;
  }
}

function isPresent(pod: PodRecord): boolean {
  if (pod.external === undefined) return isNetns(pod.netns);
  return netnsIdentity(pod.netns) === pod.external;
}

function hintOf(error: unknown): { readonly hint: string | undefined } {
  return { hint: error instanceof WarrenError ? error.hint : undefined };
}
