/**
 * Whole agents in one process, without root: the composition root of src/agent.ts on hosts, disks and networks in
 * memory, in virtual time. Tests drive them packet by packet:
 *
 *     const world = new World(1);
 *     const [a, b] = await world.cluster(2);
 *     const web = await a.addPod('web'); const db = await b.addPod('db');
 *     web.send(db.addresses[0]);                 and after `world.advance(...)` it is among db.received
 *
 * Gossip and requests go over the simulator's network, tunnel datagrams over `World.carrier`; both have the same
 * partitions. Nothing here runs on its own: time passes in `advance` and `until` alone.
 */
import { createHash } from 'node:crypto';
import { type DecodedPacket, decode, encode } from 'dns-packet';
import { volatileStatementStore } from '../../src/admission/statement-store.ts';
import type { NameParts } from '../../src/agent/names.ts';
import type { AgentState } from '../../src/agent/state.ts';
import { Agent } from '../../src/agent.ts';
import type { Commands } from '../../src/api/commands.ts';
import type { AttachmentState } from '../../src/attachment/attachment-store.ts';
import type { AttachmentLink } from '../../src/attachment/link.ts';
import { Captures } from '../../src/capture/captures.ts';
import type { ResponderAnswer, ResponderSettings } from '../../src/check/responder-messages.ts';
import { Responders } from '../../src/check/responders.ts';
import type { InstalledPlugin } from '../../src/cni/messages.ts';
import type { Config } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/load.ts';
import { UserspaceDataPlane } from '../../src/dataplane/userspace.ts';
import type { Exchange } from '../../src/dns/forwarder.ts';
import type { Answerer } from '../../src/dns/listener.ts';
import { keyPairOf } from '../../src/encapsulation/wireguard/x25519.ts';
import { GroupProbes } from '../../src/group-probe/group-probes.ts';
import type { GuestRecord } from '../../src/guest/guest-store.ts';
import { ClusterLinks } from '../../src/history/cluster-links.ts';
import type { HostRules } from '../../src/host/rules/host-rules.ts';
import { identityFromSeed } from '../../src/identity.ts';
import { formatAddress, type IpAddress, parseAddress } from '../../src/ip/address.ts';
import { type Endpoint, formatEndpoint } from '../../src/ip/endpoint.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { AssignedLease } from '../../src/lease/assigned-lease.ts';
import type { StoredLease } from '../../src/lease/lease-store.ts';
import { ClusterKeys, volatileKeyChanges } from '../../src/link/cluster-keys.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { type Random, seededRandom } from '../../src/membership/random.ts';
import type { StoredMembership } from '../../src/membership/store.ts';
import { nobleMlKem } from '../../src/post-quantum/ml-kem-noble.ts';
import { PairKeyExchange } from '../../src/post-quantum/pair-keys.ts';
import type { ReadModel } from '../../src/readmodel/read-model.ts';
import { VirtualClock } from '../../src/simulate/virtual-clock.ts';
import { VirtualNetwork } from '../../src/simulate/virtual-network.ts';
import { Sysdumps } from '../../src/sysdump/sysdumps.ts';
import type { Flow } from '../../src/trace/model.ts';
import { NodeTraces, type RunningObservation } from '../../src/trace/node-traces.ts';
import type { ObservationParts, ObservationRequest } from '../../src/trace/observation.ts';
import { Traces } from '../../src/trace/traces.ts';
import type { FakeApiServer } from '../helpers/kubernetes-api.ts';
import { MemoryAttachmentNetwork } from '../helpers/memory-attachment-network.ts';
import { memoryCapture } from '../helpers/memory-capture.ts';
import { MemoryHost } from '../helpers/memory-host.ts';
import { MemoryProbeSockets } from '../helpers/memory-probe-sockets.ts';
import { OUTER_BYTES, type SentDatagram } from '../helpers/memory-sockets.ts';
import { ipv4Packet, ipv6Packet } from '../helpers/packets.ts';

const LINK_MTU = 1500;
/** Of a tunnel datagram. */
const DELAY_MS = 0.3;

/** A tunnel datagram. */
export interface Carried {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array;
  readonly isGrouped: boolean;
}

export class World {
  readonly clock = new VirtualClock();
  readonly network: VirtualNetwork;
  readonly random: Random;
  readonly nodes: WorldNode[] = [];
  /** Tunnel datagrams in order, as an eavesdropper on the underlay sees them. Bounded by what a test sends. */
  readonly carried: Carried[] = [];
  /** What becomes of a tunnel datagram on the way; undefined: it is lost. */
  onTheWay: (datagram: Carried) => Uint8Array | undefined = ({ bytes }) => bytes;
  /** Who is no node and has an address on the underlay, by endpoint as text. */
  readonly outside = new Map<string, (datagram: Carried) => void>();
  readonly seed: number;
  readonly keys = { keys: [Buffer.alloc(32, 7)] };
  #groups: readonly (readonly WorldNode[])[] | undefined;

  constructor(seed: number) {
    this.seed = seed;
    this.random = seededRandom(seed);
    this.network = new VirtualNetwork(this.clock, this.random);
  }

  /** A node that is not started; the first one is everybody's seed. */
  add(more: NodeOptions = {}): WorldNode {
    const node = new WorldNode(this, this.nodes.length, more);
    this.nodes.push(node);
    return node;
  }

  /** Adds and starts `count` nodes, and waits until each has its subnet and routes to all others. */
  async cluster(count: number, more: NodeOptions = {}): Promise<WorldNode[]> {
    const nodes = Array.from({ length: count }, () => this.add(more));
    for (const node of nodes) await node.start();
    await this.settle(nodes);
    return nodes;
  }

  async settle(nodes: readonly WorldNode[] = this.nodes): Promise<void> {
    const isSettled = () =>
      nodes.every(
        (node) =>
          node.model.status().lease.status === 'active' &&
          nodes.every((other) => other === node || node.routesTo(other)),
      );
    const tookMs = await this.until(isSettled, 30_000);
    if (tookMs === undefined) throw new Error('the cluster did not settle within 30 s');
  }

  advance(durationMs: number): Promise<void> {
    return this.clock.run(durationMs);
  }

  /** The time it took, or undefined after `limitMs`. */
  until(holds: () => boolean, limitMs: number): Promise<number | undefined> {
    return this.clock.runUntil(holds, limitMs, 20);
  }

  /** Only nodes of the same group reach each other; none: all do. */
  partition(...groups: readonly (readonly WorldNode[])[]): void {
    this.#groups = groups.length === 0 ? undefined : groups;
    this.network.reaches = (from, to) =>
      this.#areTogether(this.#nodeAt(from.endpoint.address), this.#nodeAt(to.endpoint.address));
  }

  /** Bytes of the longest outer packet that passes from one node to another; longer ones are lost without a word. */
  pathMtu: (from: WorldNode, to: WorldNode) => number = () => Number.POSITIVE_INFINITY;

  readonly carrier = {
    linkMtu: (from: IpAddress) => this.#nodeAt(from)?.linkMtu ?? LINK_MTU,
    carry: (from: Endpoint, to: Endpoint, bytes: Uint8Array, sent: SentDatagram) => {
      const datagram = { from, to, bytes: Uint8Array.from(bytes), isGrouped: sent.isGrouped };
      this.carried.push(datagram);
      const copy = this.onTheWay(datagram);
      if (!copy) return;
      this.clock.after(DELAY_MS, () => {
        this.outside.get(formatEndpoint(to))?.({ ...datagram, bytes: copy });
        const [source, target] = [this.#nodeAt(from.address), this.#nodeAt(to.address)];
        if (source && target && this.#areTogether(source, target)) {
          const outerBytes = OUTER_BYTES[to.address.family] + copy.length;
          if (!sent.mayFragment && outerBytes > this.pathMtu(source, target)) return;
          target.host.deliver(from, to, copy);
        }
      });
    },
  };

  /** Somebody who is no node sends a datagram from any address. */
  inject(from: Endpoint, to: Endpoint, bytes: Uint8Array): void {
    this.#nodeAt(to.address)?.host.deliver(from, to, bytes);
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }

  #nodeAt(address: IpAddress): WorldNode | undefined {
    return this.nodes.find((node) => node.hasAddress(address));
  }

  #areTogether(a: WorldNode | undefined, b: WorldNode | undefined): boolean {
    if (!a || !b) return false;
    if (a.isDown || b.isDown) return false;
    return !this.#groups || this.#groups.some((group) => group.includes(a) && group.includes(b));
  }
}

export interface NodeOptions {
  /** YAML beside `cluster:` and `node:`. */
  readonly yaml?: string;
  readonly clearText?: boolean;
  /** Of the tunnel; default: vxlan-gpe. */
  readonly encapsulation?: 'wireguard' | 'vxlan-gpe';
  /** YAML of `cluster.podCidrs` and what belongs to it. */
  readonly range?: string;
  /** More keys of `cluster:`, as YAML flow. */
  readonly cluster?: string;
  readonly hostRules?: HostRules;
  /** An orchestrator hands out this node's subnets, as text. */
  readonly assigned?: readonly string[];
  /** The node is in a Kubernetes cluster with this API, which names the others: there are no seeds. */
  readonly kubernetes?: { readonly server: FakeApiServer; readonly ipam: 'warren' | 'kubernetes' };
  /** Serves the CNI plugin, with a real folder for what that keeps on the disk. */
  readonly cniFolder?: string;
  /** The plugin that such an agent announces by itself. */
  readonly announce?: InstalledPlugin;
  /** Serves a Docker engine, with a real folder for its state. */
  readonly dockerFolder?: string;
  /** Has network policies, with a real folder for its documents. */
  readonly policyFolder?: string;
  /** As an agent of before does: it neither asks nor answers whether groups of datagrams arrive. */
  readonly withoutGroupProbes?: boolean;
  /** As an agent of before does: it has no post-quantum keys, and its record says nothing of them. */
  readonly withoutPairKeys?: boolean;
}

/** The responder's sockets of a node, and the resolvers of its host. */
class MemoryNames {
  /** By address. */
  readonly listeners = new Map<string, Answerer>();
  /** What the pods' programs read, by path of the namespace. */
  readonly files = new Map<string, string>();
  /** Another program has the port. */
  isTaken = false;
  /** What the host's resolver answers; undefined: nothing. */
  upstream: Exchange = () => Promise.reject(new Error('there is no resolver'));

  readonly parts: NameParts = {
    listen: async (address, _port, { answer }) => {
      if (this.isTaken) throw Object.assign(new Error('bind EADDRINUSE'), { code: 'EADDRINUSE' });
      const text = formatAddress(address);
      this.listeners.set(text, answer);
      return { close: async () => void this.listeners.delete(text) };
    },
    exchange: (request) => this.upstream(request),
    resolvers: async () => ['192.0.2.53'],
    files: () => ({
      list: async () => [...this.files.keys()],
      write: async (netns, text) => void this.files.set(netns, text),
      remove: async (netns) => void this.files.delete(netns),
    }),
  };
}

/** What is on a node's disk: it outlives the agent. */
class Disk {
  lease: StoredLease | undefined;
  membership: StoredMembership | undefined;
  attachments: AttachmentState = { attachments: [], last: [] };
  guests: readonly GuestRecord[] = [];
  version: number | undefined;
  readonly keyChanges = volatileKeyChanges();
  readonly admission = volatileStatementStore();
  /** Set when the machine loses its power: nothing is written any more. */
  isOff = false;
}

export class WorldNode {
  readonly world: World;
  readonly name: string;
  readonly host: MemoryHost;
  readonly attachmentNetwork: MemoryAttachmentNetwork;
  readonly errors: Error[] = [];
  /** Before and after each change that is made for an attachment: a test lets it take time, or fail. */
  hostStep: (what: string) => Promise<void> = async () => {};
  readonly names = new MemoryNames();
  /** Of its own: an agent may change the level. */
  readonly log = silentLogger.child({});
  /** YAML of what is in `encapsulation`, from the next start on. */
  encapsulation: string;
  /** Nothing reaches it, and it reaches nothing. */
  isDown = false;
  /** More keys of `cluster:`, as YAML flow, from the next start or reload on. */
  clusterKeys: string;
  /** More keys of `kubernetes:`, as YAML flow, from the next start on. */
  kubernetesKeys = '';
  /** What is read where the agent reads its configuration again. */
  configFile: () => Config = () => this.config();
  #disk = new Disk();
  #agent: Agent | undefined;
  #assigned: AssignedLease | undefined;
  /** What it remembers of its WireGuard peers. */
  get guestsOnDisk(): readonly GuestRecord[] {
    return this.#disk.guests;
  }

  set guestsOnDisk(guests: readonly GuestRecord[]) {
    this.#disk.guests = guests;
  }

  /** Starts what answers the connections of a check. */
  startResponder: (settings: Omit<ResponderSettings, 'token'>) => Promise<ResponderAnswer> = async () => ({
    token: '00'.repeat(16),
    endpoints: [],
  });
  /** What a trace has this node see. */
  observe: (request: ObservationRequest, parts: ObservationParts) => Promise<RunningObservation> =
    async () => {
      throw new Error('this node sees nothing');
    };
  /** What a sysdump has for the log. */
  recentLog = '';
  readonly #number: number;
  /** Of the node whose identity it has. */
  #keyNumber: number;
  readonly #options: NodeOptions;
  readonly #pods = new Map<string, WorldPod>();

  constructor(world: World, number: number, options: NodeOptions) {
    this.world = world;
    this.#number = number;
    this.#keyNumber = number;
    this.#options = options;
    this.clusterKeys = options.cluster ?? '';
    this.encapsulation = `type: ${options.encapsulation ?? 'vxlan-gpe'}`;
    this.name = `node-${number}`;
    this.host = new MemoryHost(world.carrier, () => world.clock.now(), world.clock);
    this.host.addInterface('eth0', LINK_MTU, parseAddress(`192.0.2.${number + 1}`));
    this.attachmentNetwork = new MemoryAttachmentNetwork({ step: (what) => this.hostStep(what) });
    this.host.toPod = (address, packet) => this.#toPod(address, packet);
  }

  get agent(): Agent {
    if (!this.#agent) throw new Error(`${this.name} does not run`);
    return this.#agent;
  }

  get model(): ReadModel {
    return this.agent.model;
  }

  get commands(): Commands {
    return this.agent.commands;
  }

  /** What its host has for its attachments. */
  get links(): AttachmentLink[] {
    return [...this.attachmentNetwork.pairs.values()].map(({ link }) => link);
  }

  get linkMtu(): number {
    return this.host.interfaces.get('eth0')!.mtu;
  }

  hasAddress(address: IpAddress): boolean {
    const text = formatAddress(address);
    return [...this.host.interfaces.values()].some(({ addresses }) =>
      addresses.some((one) => formatAddress(one) === text),
    );
  }

  config(yaml = this.#options.yaml ?? ''): Config {
    const { range = 'podCidrs: [10.42.0.0/16, "fd42::/48"]' } = this.#options;
    const more = this.clusterKeys === '' ? '' : `, ${this.clusterKeys}`;
    const { kubernetes } = this.#options;
    const text = `
node: {name: ${this.name}, stateDir: /var/lib/warren}
cluster: {${range}, seeds: [${kubernetes ? '' : '192.0.2.1'}], timing: lan${more}}
encapsulation: {${this.encapsulation}}
${kubernetes ? `kubernetes: {enabled: true, ipam: ${kubernetes.ipam}, ${this.kubernetesKeys}}\n` : ''}${yaml}`;
    return parseConfig(text, 'world', this.name);
  }

  async start(yaml?: string): Promise<void> {
    const { world } = this;
    const { assigned, hostRules, kubernetes } = this.#options;
    this.isDown = false;
    this.#disk.isOff = false;
    this.#agent = await Agent.build(
      this.config(yaml),
      {
        clock: world.clock,
        log: this.log,
        host: this.host,
        state: this.#state(),
        openDataPlane: (options) => new UserspaceDataPlane({ ...options, parts: this.host.parts }),
        transport: (bind) => world.network.host(bind).transport(),
        attachmentNetwork: this.attachmentNetwork,
        ...(!this.#options.withoutGroupProbes && {
          groupProbes: async (options) => new GroupProbes(options, new MemoryProbeSockets(this.host)),
        }),
        ...(!this.#options.withoutPairKeys && {
          pairKeys: async (options) => new PairKeyExchange(options, nobleMlKem),
        }),
        responders: {
          load: async (options) => new Responders(options),
          start: (settings) => this.startResponder(settings),
        },
        captures: {
          load: async (options) => new Captures(options),
          local: (capture, signal) => memoryCapture(capture, world.clock, signal),
        },
        traces: {
          load: async ({ parts, isOwn, ...options }) => {
            const begin = (request: ObservationRequest) => this.observe(request, parts);
            const sourceOf = async ({ flow }: { flow: Flow }) => flow.source;
            const own = new NodeTraces({ clock: options.clock, isOwn, begin, sourceOf });
            return new Traces({ ...options, own });
          },
        },
        sysdumps: async (options) => new Sysdumps(options),
        links: async (options) => new ClusterLinks(options),
        names: async () => this.names.parts,
        recentLog: () => this.recentLog,
        ...(hostRules && { hostRules }),
        ...(kubernetes && { kubernetes: async () => kubernetes.server.api(world.clock) }),
        ...(this.#options.cniFolder !== undefined && {
          cni: {
            stateDir: this.#options.cniFolder,
            socket: '/run/warren/agent.sock',
            ...(this.#options.announce && { announce: this.#options.announce }),
          },
        }),
        ...(this.#options.dockerFolder !== undefined && {
          docker: { stateDir: this.#options.dockerFolder },
        }),
        ...(this.#options.policyFolder !== undefined && {
          policies: { stateDir: this.#options.policyFolder },
        }),
        ...(assigned && {
          leaseSource: (options) => {
            this.#assigned = new AssignedLease({ ...options, prefixes: assigned.map(parsePrefix) });
            return this.#assigned;
          },
        }),
        readConfig: () => this.configFile(),
        random: seededRandom(world.seed * 1000 + this.#number),
      },
      {
        onFailure: (error) => this.errors.push(error),
        onLeave: () => {},
      },
    );
    await this.#agent.start();
  }

  async stop(options = { leave: false }): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (!agent) return;
    const stopping = agent.stop(options);
    // Leaving takes time, which passes here alone.
    let isStopped = false;
    stopping.finally(() => (isStopped = true)).catch(() => {});
    await this.world.until(() => isStopped, 10_000);
    await stopping;
  }

  /** The orchestrator's word, as text; none: it takes the subnets away. */
  assign(prefixes: readonly string[]): void {
    this.#assigned!.assign(prefixes.map(parsePrefix));
  }

  /** Like a power cut: nothing is said or written any more. */
  async kill(): Promise<void> {
    this.isDown = true;
    this.#disk.isOff = true;
    await this.stop();
    // What it wrote while it went away never reached the disk.
    this.host.parts.lockTun(this.config().tun.name).release();
  }

  /** Its state folder becomes a copy of the other's: identity, lease, whom it knew. */
  copyStateOf(other: WorldNode): void {
    this.#keyNumber = other.#keyNumber;
    this.#disk.lease = other.#disk.lease;
    this.#disk.membership = other.#disk.membership;
    this.#disk.version = other.#disk.version;
  }

  routesTo(other: WorldNode): boolean {
    const { subnets } = other.model.status().lease;
    const routes = this.model.routes();
    return (
      subnets.length > 0 &&
      subnets.every((subnet) => routes.some(({ prefix, via }) => prefix === subnet && via === other.name))
    );
  }

  async addPod(name: string, labels: Readonly<Record<string, string>> = {}): Promise<WorldPod> {
    const report = await this.commands.addPod(name, { labels });
    const pod = new WorldPod(this, name, report.addresses);
    this.#pods.set(name, pod);
    return pod;
  }

  /** What its responder answers, sorted: addresses and names, or one code that says why there are none. */
  async resolve(name: string, options: { type?: string; from?: string } = {}): Promise<string[]> {
    const own = this.model.status().tun.addresses[0]!;
    const { type = 'A', from = own } = options;
    const bytes = encode({ type: 'query', id: 1, flags: 0x0100, questions: [{ name, type: type as 'A' }] });
    const reply = await this.names.listeners.get(own)?.(bytes, { from: parseAddress(from), via: 'tcp' });
    if (!reply) return ['no answer'];
    const { rcode, answers = [] } = decode(Buffer.from(reply)) as DecodedPacket & { rcode: string };
    return rcode === 'NOERROR' ? answers.map((one) => textOf('data' in one && one.data)).sort() : [rcode];
  }

  pod(name: string): WorldPod {
    return this.#pods.get(name)!;
  }

  #toPod(address: IpAddress, packet: Uint8Array): boolean {
    const text = formatAddress(address);
    const link = this.links.find(({ addresses }) => addresses.some((one) => formatAddress(one) === text));
    if (!link) return false;
    this.#pods.get(link.id)?.received.push(packet);
    return true;
  }

  #state(): AgentState {
    const disk = this.#disk;
    const write = (change: () => void) => {
      if (!disk.isOff) change();
    };
    const seed = createHash('sha256').update(`${this.world.seed}/${this.#keyNumber}`).digest();
    return {
      identity: identityFromSeed(seed),
      secrets: () => [seed, ...this.world.keys.keys],
      keys: this.#options.clearText ? undefined : new ClusterKeys(this.world.keys, disk.keyChanges),
      lease: {
        load: () => disk.lease,
        save: (lease) => write(() => (disk.lease = lease)),
        clear: () => write(() => (disk.lease = undefined)),
      },
      membership: {
        load: () => disk.membership,
        save: (take) => write(() => (disk.membership = take())),
      },
      attachments: {
        isOutdated: false,
        read: () => disk.attachments,
        write: async (state) => write(() => (disk.attachments = state)),
      },
      guests: {
        read: () => disk.guests,
        write: async (guests) => write(() => (disk.guests = guests)),
      },
      admission: {
        load: () => disk.admission.load(),
        save: (statements) => write(() => disk.admission.save(statements)),
      },
      inventory: {
        load: () => disk.version,
        save: (version) => write(() => (disk.version = version)),
      },
      tunnelKey: async () => ({
        own: keyPairOf(createHash('sha256').update(seed).update('tunnel').digest()),
        ceilingFile: `${this.name}/handshakes`,
      }),
    };
  }
}

export class WorldPod {
  readonly node: WorldNode;
  readonly name: string;
  readonly addresses: readonly string[];
  /** IP packets. */
  readonly received: Uint8Array[] = [];

  constructor(node: WorldNode, name: string, addresses: readonly string[]) {
    this.node = node;
    this.name = name;
    this.addresses = addresses;
  }

  /** Sends one packet to an address of either family, from its own or as if from `source`. */
  send(to: string, options: { bytes?: number; source?: string } = {}): Uint8Array {
    const isV6 = to.includes(':');
    const source = options.source ?? this.addresses.find((one) => one.includes(':') === isV6)!;
    const size = options.bytes === undefined ? {} : { bytes: options.bytes };
    const packet = isV6 ? ipv6Packet(source, to, size) : ipv4Packet(source, to, size);
    this.node.host.send(packet);
    return packet;
  }
}

/** An address as it is written everywhere here. */
function textOf(data: unknown): string {
  const text = String(data);
  return text.includes(':') ? formatAddress(parseAddress(text)) : text;
}
