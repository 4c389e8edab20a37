/** A cluster in one process: the agent's own membership, leases and calls on a virtual clock and network. */
import { createHash } from 'node:crypto';
import { Admission, type AdmissionRules } from '../admission/admission.ts';
import { type StatementStore, volatileStatementStore } from '../admission/statement-store.ts';
import type { Clock } from '../clock.ts';
import type { PodRange } from '../config/config.ts';
import { type Identity, identityFromSeed } from '../identity.ts';
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix, type Prefix, parsePrefix } from '../ip/prefix.ts';
import { KeyCommands } from '../keys/key-commands.ts';
import { AssignedLease } from '../lease/assigned-lease.ts';
import { LeaseManager } from '../lease/lease-manager.ts';
import type { LeaseSource } from '../lease/lease-source.ts';
import type { StoredLease } from '../lease/lease-store.ts';
import { ClusterKeys, type KeyChangeStore, volatileKeyChanges } from '../link/cluster-keys.ts';
import type { KeyRing } from '../link/key-ring.ts';
import { type Logger, silentLogger } from '../log/logger.ts';
import type { SeedSource } from '../membership/join.ts';
import { Membership } from '../membership/membership.ts';
import { type Random, seededRandom } from '../membership/random.ts';
import { RecordReader } from '../membership/record-reader.ts';
import type { StoredMembership } from '../membership/store.ts';
import { type MembershipTiming, timingPresets } from '../membership/timing.ts';
import type { MemberStatus } from '../membership/types.ts';
import { RpcNode } from '../rpc/rpc-node.ts';
import { VirtualClock } from './virtual-clock.ts';
import { type LinkQuality, type VirtualHost, VirtualNetwork } from './virtual-network.ts';

export interface ClusterOptions {
  readonly seed: number;
  readonly podCidrs?: readonly PodRange[];
  readonly quality?: LinkQuality;
  readonly timing?: MembershipTiming;
  readonly keyRing?: KeyRing;
  /** Where nodes have their subnets from: what they settle among themselves (the default), or `SimulatedNode.assign`. */
  readonly leases?: 'gossip' | 'assigned';
  /** What an orchestrator knows of nodes to join through. */
  readonly discovery?: SeedSource;
  /** Who takes part in forwarding; absent: everyone, and nobody can change that. */
  readonly admission?: AdmissionRules | undefined;
  /** What nodes log; absent: nothing. */
  readonly logger?: Logger;
}

export function podRange(range: string, nodePrefixLength: number): PodRange {
  return { range: parsePrefix(range), nodePrefixLength };
}

export class SimulatedCluster {
  readonly clock = new VirtualClock();
  readonly network: VirtualNetwork;
  readonly random: Random;
  readonly options: ClusterOptions;
  readonly podCidrs: readonly PodRange[];
  readonly nodes: SimulatedNode[] = [];
  /** One for all: what a record says, and whether its signature holds, is the same everywhere. */
  readonly records = new RecordReader(10_000);

  constructor(options: ClusterOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.network = new VirtualNetwork(this.clock, this.random, options.quality);
    this.podCidrs = options.podCidrs ?? [podRange('10.42.0.0/16', 24), podRange('fd42::/48', 64)];
  }

  /** Adds a node that is not started; its seeds are the nodes of these numbers. */
  add(seeds: readonly number[] = [0], changes: Partial<ClusterOptions> = {}): SimulatedNode {
    const node = new SimulatedNode(this, this.nodes.length, seeds.map(endpointOf), {
      ...this.options,
      ...changes,
    });
    this.nodes.push(node);
    return node;
  }

  /** Adds and starts `count` nodes at once, all with node 0 as their seed. */
  async startAll(count: number): Promise<readonly SimulatedNode[]> {
    for (let i = 0; i < count; i++) this.add();
    await Promise.all(this.nodes.map((node) => node.start()));
    return this.nodes;
  }

  get running(): readonly SimulatedNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  /** Every running node sees exactly `nodes` as alive. */
  agreesOnAlive(nodes: readonly SimulatedNode[]): boolean {
    const names = nodes.map((node) => node.name).sort();
    return nodes.every((node) => sameList(node.named('alive'), names));
  }

  allActive(nodes: readonly SimulatedNode[] = this.running): boolean {
    return nodes.every((node) => node.leases.state().status === 'active');
  }
}

export class SimulatedNode {
  readonly cluster: SimulatedCluster;
  readonly name: string;
  readonly host: VirtualHost;
  readonly #number: number;
  /** Of the node whose key it has; another one's where a state folder was copied. */
  keyNumber: number;
  readonly #seeds: readonly Endpoint[];
  readonly #options: ClusterOptions;
  /** What is on the node's disk; it outlives a crash. */
  storedMembership: StoredMembership | undefined;
  storedLease: StoredLease | undefined;
  readonly #keyDisk = volatileKeyChanges();
  readonly storedKeys: KeyChangeStore = {
    load: () => this.#keyDisk.load(),
    save: (state) => {
      this.#writeDisk();
      this.#keyDisk.save(state);
    },
  };
  /** Its disk outlives a crash too. */
  readonly storedStatements: StatementStore = volatileStatementStore();
  /** Undefined where the cluster has none. */
  admission: Admission | undefined;
  /** What handlers of calls threw; tests look at them. */
  readonly rpcBugs: unknown[] = [];
  podCount = 0;
  /** How far the host's idea of the date is off. */
  wallSkewMs = 0;
  #boots = 0;
  #bootedAtMs = 0;
  /** Which state of its machine this is (host/machine-generation.ts). */
  generation = 'first';
  /** The agent dies when it next writes this: just before it, or just after. */
  crashAt: { readonly store: 'lease' | 'members'; readonly when: 'before' | 'after' } | undefined;
  /** The disk is full, or can only be read. */
  isDiskFull = false;
  isRunning = false;
  membership!: Membership;
  leases!: LeaseSource;
  /** What the orchestrator says while the node starts; undefined: it cannot be asked. */
  assigned: readonly Prefix[] | undefined;
  #assignedLease: AssignedLease | undefined;
  /** Called in each start, when membership is there and says nothing yet. */
  beforeStart: (clock: Clock) => void = () => {};
  /** Its calls need promises to go on between steps of the clock: see in-time.ts. */
  rpc!: RpcNode;
  keys!: KeyCommands;

  constructor(
    cluster: SimulatedCluster,
    number: number,
    seeds: readonly Endpoint[],
    options: ClusterOptions,
  ) {
    this.cluster = cluster;
    this.#number = number;
    this.keyNumber = number;
    this.#seeds = seeds;
    this.#options = options;
    this.name = `node-${number}`;
    this.host = cluster.network.host(endpointOf(number));
  }

  get id(): string {
    return this.membership.id;
  }

  async start(): Promise<void> {
    const { cluster } = this;
    const { host } = this;
    host.isDown = false;
    const hostClock = host.clock;
    const clock: Clock = { ...hostClock, wallTime: () => hostClock.wallTime() + this.wallSkewMs };
    const timing = this.#options.timing ?? timingPresets.lan;
    const { endpoint } = this.host;
    const identity = identityOf(this.#options.seed, this.keyNumber);
    const keys = this.#options.keyRing && new ClusterKeys(this.#options.keyRing, this.storedKeys);
    const { admission: rules } = this.#options;
    this.admission =
      rules &&
      new Admission({ clusterName: 'simulated', identity, rules, store: this.storedStatements, clock });
    const membership = new Membership({
      admission: this.admission,
      identity,
      clusterName: 'simulated',
      keyRing: keys,
      self: {
        name: this.name,
        gossip: endpoint,
        vtep: { address: endpoint.address, port: 4790 },
        encapsulation: { type: 'vxlan-gpe', vni: 42, partialChecksums: false },
      },
      seeds: this.#seeds.map((seed) => ({ host: formatEndpoint(seed).split(':')[0]!, port: seed.port })),
      discovery: this.#options.discovery,
      transport: this.host.transport(),
      store: {
        load: () => this.storedMembership,
        save: (take) => {
          this.#write('members', () => {
            this.storedMembership = take();
          });
        },
      },
      logger: this.#options.logger ?? silentLogger,
      timing,
      clock,
      boot: { id: `boot ${this.#boots}`, uptimeMs: () => hostClock.now() - this.#bootedAtMs },
      generation: () => this.generation,
      random: seededRandom(this.#options.seed * 1000 + this.#number),
      records: cluster.records,
      onBug: rethrow,
    });
    this.membership = membership;
    this.rpc = new RpcNode({
      identity,
      link: membership.link,
      directory: { find: (id) => membership.contact(id) },
      clock,
      onBug: (error) => this.rpcBugs.push(error),
    });
    this.keys = new KeyCommands({
      rpc: this.rpc,
      keys,
      name: () => this.name,
      others: () => membership.others(),
      announce: () => membership.keys.announce(),
    });
    const leaseOptions = {
      admission: this.admission,
      membership: this.membership,
      podCidrs: this.#options.podCidrs ?? cluster.podCidrs,
      store: {
        load: () => this.storedLease,
        save: (lease: StoredLease) => {
          this.#write('lease', () => {
            this.storedLease = lease;
          });
        },
        clear: () => {
          this.#write('lease', () => {
            this.storedLease = undefined;
          });
        },
      },
      hasPods: () => this.podCount > 0,
      logger: silentLogger,
      clock,
      timing,
    };
    this.#assignedLease =
      this.#options.leases === 'assigned'
        ? new AssignedLease({ ...leaseOptions, ...(this.assigned && { prefixes: this.assigned }) })
        : undefined;
    this.leases = this.#assignedLease ?? new LeaseManager(leaseOptions);
    this.leases.start();
    this.beforeStart(clock);
    await this.membership.start();
    this.isRunning = true;
  }

  /** The machine starts anew; call it while the agent does not run. */
  reboot(): void {
    this.#boots++;
    this.#bootedAtMs = this.cluster.clock.now();
  }

  /** Like SIGKILL: nothing is said or written any more. */
  async kill(): Promise<void> {
    const { storedMembership, storedLease } = this;
    this.isRunning = false;
    this.leases.stop();
    await this.membership.stop();
    this.rpc.close();
    this.storedMembership = storedMembership;
    this.storedLease = storedLease;
  }

  async stop(): Promise<void> {
    this.isRunning = false;
    this.leases.stop();
    this.rpc.close();
    await this.membership.stop();
  }

  #writeDisk(): void {
    if (this.isDiskFull) throw new Error('no space left on device');
  }

  /** The power may go off in the middle of it: what the code does after that has no effect. */
  #write(store: 'lease' | 'members', write: () => void): void {
    this.#writeDisk();
    const when = this.crashAt?.store === store ? this.crashAt.when : undefined;
    if (when !== 'before') write();
    if (when === undefined) return;
    this.crashAt = undefined;
    this.isRunning = false;
    this.host.isDown = true;
    // The state on the disk stays what it is now.
    const { storedLease, storedMembership, membership, leases, rpc } = this;
    queueMicrotask(() => {
      leases.stop();
      rpc.close();
      void membership.stop().then(() => {
        this.storedLease = storedLease;
        this.storedMembership = storedMembership;
      });
    });
  }

  setPods(count: number): void {
    this.podCount = count;
    this.leases.podsChanged();
  }

  /** The orchestrator's word to a node that has its subnets from there and runs. */
  assign(prefixes: readonly Prefix[]): void {
    this.#assignedLease!.assign(prefixes);
  }

  /** The names of the members that this node sees in a status, sorted. */
  named(status: MemberStatus): string[] {
    return this.membership
      .members()
      .filter((member) => member.status === status)
      .map((member) => member.name)
      .sort();
  }

  /** The lease as text. */
  get subnets(): string {
    return this.leases.state().prefixes.map(formatPrefix).join(' ');
  }
}

/** Of the node that has this number in a cluster of this seed. */
export function identityOf(seed: number, number: number): Identity {
  return identityFromSeed(createHash('sha256').update(`${seed}/${number}`).digest());
}

export function endpointOf(number: number): Endpoint {
  return { address: { family: 4, value: 0x0a00_0001n + BigInt(number) }, port: 7946 };
}

/** In an agent what others send must not end it; here it must not go unseen. */
export function rethrow(error: unknown): never {
  throw error;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}
