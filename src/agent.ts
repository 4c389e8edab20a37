/**
 * The composition root: builds an agent out of its parts, starts it in order, stops it in reverse.
 *
 *     state, underlay -> data plane           what is missing on this host shows now
 *     membership, requests, leases, ...       built; nothing is bound or sent yet
 *     control socket                          `warren status` works from here on
 *     lease, inventory -> membership          the node is found by others, and gets its subnet
 *     data plane active -> attachments        packets flow
 *
 * Everything that reaches outside (host, data plane, network, disk, clock) is handed to it, so that a test builds a
 * whole agent without root: agent/linux-parts.ts has the real ones, test/cluster/world.ts some in memory. It is the one
 * place where events of members, leases, attachments and the host meet what follows them.
 */
import { Admission } from './admission/admission.ts';
import { NodeCommands } from './admission/node-commands.ts';
import { logAdmission } from './agent/admission-log.ts';
import { Cni } from './agent/cni.ts';
import { agentCommands, refuseWithoutSubnet } from './agent/commands.ts';
import { type Diagnostics, servedDiagnostics } from './agent/diagnostics.ts';
import { Docker } from './agent/docker.ts';
import { Followers } from './agent/followers.ts';
import { GroupProbing } from './agent/group-probing.ts';
import { attachedPods, feedInventory, listedAttachments } from './agent/inventory-feed.ts';
import { Kubernetes, type LoadedKubernetes, loadKubernetes } from './agent/kubernetes.ts';
import { LiveConfig } from './agent/live-config.ts';
import { agentModel } from './agent/model.ts';
import { Names } from './agent/names.ts';
import { nodeOfAddress } from './agent/node-of-address.ts';
import { ownEncapsulation } from './agent/own-encapsulation.ts';
import { PairKeying, pairKeyPeers, postQuantumOf } from './agent/pair-keying.ts';
import type { AgentParts } from './agent/parts.ts';
import { Policies } from './agent/policies.ts';
import { timingOf } from './agent/timing.ts';
import { refuseUnderlayInOverlay } from './agent/underlay-move.ts';
import { waitForUnderlay } from './agent/underlay-wait.ts';
import type { Commands } from './api/commands.ts';
import { Attachments } from './attachment/attachments.ts';
import type { Config } from './config/config.ts';
import type { ConfigChange } from './config/reload.ts';
import type { DataPlane } from './dataplane/dataplane.ts';
import { Guests } from './guest/guests.ts';
import { History } from './history/history.ts';
import { Inventories } from './inventory/inventories.ts';
import { formatAddress, type IpAddress } from './ip/address.ts';
import { prefixContains } from './ip/prefix.ts';
import { KeyCommands } from './keys/key-commands.ts';
import { LeaseManager } from './lease/lease-manager.ts';
import type { LeaseSource } from './lease/lease-source.ts';
import { MovableTransport } from './link/movable-transport.ts';
import { BugLog } from './membership/alarms.ts';
import { Membership } from './membership/membership.ts';
import { VERSION } from './package.ts';
import { GossipPeers } from './peers/gossip-peers.ts';
import { PeerView } from './peers/peer-view.ts';
import { StaticPeers } from './peers/static-peers.ts';
import { PodManager } from './pod/pod-manager.ts';
import type { LiveReadModel, ReadModel } from './readmodel/read-model.ts';
import { RpcNode } from './rpc/rpc-node.ts';
import { serveTargets } from './rpc/targets.ts';

export interface AgentEvents {
  /** The agent cannot go on; `stop` is the caller's to call. */
  readonly onFailure: (error: Error) => void;
  /** This node has left for good, and whoever asked for that is being answered. */
  readonly onLeave: () => void;
  /** It starts as soon as this host has an underlay address. */
  readonly onWaiting?: (reason: Error) => void;
  /** The configuration is being read again, or has been. */
  readonly onReload?: (isDone: boolean) => void;
  /** The overlay is up, with the subnets that `what` names; again when they are others. */
  readonly onUp?: (what: string) => void;
}

const ACCEPTS_CLEAR_TEXT =
  'clear text is sent to nodes without keys, and taken from them: remove encapsulation.accept once all have some';

export class Agent {
  readonly #parts: AgentParts;
  readonly #dataPlane: DataPlane;
  readonly #transport: MovableTransport;
  readonly #membership: Membership;
  readonly #rpc: RpcNode;
  readonly #leases: LeaseSource;
  readonly #kubernetes: Kubernetes | undefined;
  readonly #guests: Guests;
  readonly #peers: PeerView;
  readonly #attachments: Attachments;
  readonly #pods: PodManager;
  readonly #cni: Cni;
  readonly #docker: Docker;
  readonly #policies: Policies;
  readonly #followers: Followers;
  readonly #groupProbing: GroupProbing | undefined;
  readonly #pairKeying: PairKeying | undefined;
  readonly #names: Names;
  readonly #history: History;
  readonly #diagnostics: Diagnostics;
  readonly #model: LiveReadModel;
  readonly #live: LiveConfig;
  readonly #started: { readonly what: string; stop(): Promise<void> | void }[] = [];
  /** Who takes part in forwarding; whatever keeps sessions with other nodes asks it (admission/gate.ts). */
  readonly admission: Admission;
  readonly inventory: Inventories;
  readonly commands: Commands;

  /**
   * Opens the data plane, so that whatever this host lacks shows at once; an underlay address alone is waited for, until
   * `signal` ends that. Nothing is sent, nobody is told anything.
   */
  static async build(
    config: Config,
    parts: AgentParts,
    events: AgentEvents,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Agent> {
    const { host, clock, log } = parts;
    const onWaiting = (reason: Error) => events.onWaiting?.(reason);
    const underlay = await waitForUnderlay({ config, host, clock, log, signal, onWaiting });
    refuseUnderlayInOverlay(config, underlay);
    const tunnelKey = config.encapsulation.type === 'wireguard' ? await parts.state.tunnelKey() : undefined;
    const kubernetes = await loadKubernetes(config, parts);
    let agent: Agent | undefined;
    const dataPlane = parts.openDataPlane({
      config,
      underlay,
      tunnelKey,
      log: parts.log,
      clock: parts.clock,
      onFailure: events.onFailure,
      onDeviceLost: () => {
        if (agent) agent.#followers.checkHost();
      },
      onHealthChange: () => {
        if (agent) agent.#model.changed('status');
      },
      onPathChange: () => {
        if (agent) agent.#model.changed('peers');
      },
      onPairKeyWanted: (key) => {
        if (agent) agent.#pairKeying?.wanted(key);
      },
    });
    try {
      agent = new Agent(config, parts, events, dataPlane, tunnelKey?.own.publicKey, kubernetes);
      return agent;
    } catch (error) {
      await dataPlane.close();
      throw error;
    }
  }

  private constructor(
    config: Config,
    parts: AgentParts,
    events: AgentEvents,
    dataPlane: DataPlane,
    tunnelKey: Uint8Array | undefined,
    kubernetes: LoadedKubernetes | undefined,
  ) {
    this.#parts = parts;
    this.#dataPlane = dataPlane;
    const { clock, log, host, hostRules, state, attachmentNetwork, boot, generation } = parts;
    const { cluster, node } = config;
    const podRanges = cluster.podCidrs.map(({ range }) => range);
    const postQuantum = postQuantumOf(config, parts);
    const timing = timingOf(cluster);
    const bugs = new BugLog(clock, log, 'a request of another node');
    const gossip = { address: dataPlane.underlay.address, port: config.underlay.gossipPort };
    this.#transport = new MovableTransport(gossip, (bind) => parts.transport(bind, timing));
    this.admission = new Admission({
      clusterName: cluster.name,
      identity: state.identity,
      rules: { mode: cluster.admission, approvers: cluster.approvers },
      store: state.admission,
      clock,
    });
    const admission = this.admission;
    if (kubernetes) {
      this.#kubernetes = new Kubernetes(kubernetes, {
        ...{ config, parts, timing, random: parts.random ?? Math.random },
        family: () => dataPlane.underlay.address.family,
        membership: () => this.#membership,
        onChange: () => this.#model.changed('status'),
      });
    }
    this.#membership = new Membership({
      admission,
      identity: state.identity,
      clusterName: cluster.name,
      keyRing: state.keys,
      self: {
        name: node.name,
        gossip,
        vtep: dataPlane.vtep,
        mtu: dataPlane.mtu,
        encapsulation: ownEncapsulation(config, tunnelKey),
        ...(postQuantum && { postQuantum: {} }),
      },
      seeds: cluster.seeds,
      discovery: this.#kubernetes?.source,
      transport: this.#transport,
      allowFrom: config.underlay.allowFrom,
      boot,
      generation: generation && (() => generation.current()),
      store: state.membership,
      logger: log,
      timing,
      clock,
      ...(parts.random && { random: parts.random }),
    });
    const membership = this.#membership;
    membership.on('twin', (error) => events.onFailure(error));
    this.#rpc = new RpcNode({
      identity: state.identity,
      link: membership.link,
      directory: { find: (id) => membership.contact(id) },
      clock,
      onBug: (error) => bugs.add(error),
    });
    this.#attachments = new Attachments({
      nodeId: state.identity.id,
      store: state.attachments,
      network: attachmentNetwork,
      subnets: [],
      limits: { mtu: dataPlane.mtu, gsoMaxSegments: dataPlane.gsoMaxSegments },
      admit: (attachment) => this.#policies.admit(attachment),
      clock,
      log,
    });
    this.#attachments.setReserved(config.staticPeers.flatMap(({ subnets }) => subnets));
    this.#pods = new PodManager({
      nodeName: node.name,
      attachments: this.#attachments,
      staticPods: config.staticPods,
      log,
    });
    const { leaseSource = (options) => this.#kubernetes?.leaseSource(options) ?? new LeaseManager(options) } =
      parts;
    this.#leases = leaseSource({
      membership,
      admission,
      podCidrs: cluster.podCidrs,
      store: state.lease,
      hasPods: () => this.#attachments.size > 0,
      logger: log,
      timing,
      clock,
    });
    // A node speaks of its own subnet's addresses alone.
    const mayHave = (id: string, address: IpAddress): boolean =>
      (admission.admits(id) &&
        membership.member(id)?.lease?.prefixes.some((prefix) => prefixContains(prefix, address))) ??
      false;
    this.inventory = new Inventories({
      mayHave,
      membership,
      rpc: this.#rpc,
      store: state.inventory,
      logger: log,
      clock,
    });
    feedInventory(this.#attachments, this.inventory);
    const staticPeers = new StaticPeers(config.staticPeers);
    const ownEnd = {
      encapsulation: config.encapsulation,
      ...{ tunnelKey, postQuantum },
      partialChecksums: () => this.#live.current.datapath.offload.checksum,
      family: () => dataPlane.underlay.address.family,
    };
    const gossipPeers = new GossipPeers(membership, this.#leases, ownEnd, admission);
    this.#guests = new Guests({
      ...{ store: state.guests, attachments: this.#attachments, dataPlane, tunnelKey, clock, log },
      ...{ nodeName: node.name, clusterName: cluster.name },
      podRanges,
      everybody: () => this.#peers.peers(),
      followed: () => this.#followers.peersFollowed(),
    });
    // A lease wins over a static peer's subnet.
    this.#peers = new PeerView(
      [staticPeers, this.#guests, gossipPeers],
      (key) => this.#groupProbing?.isSentSingly(key) ?? false,
    );
    this.#followers = new Followers({
      ...{ config, clock, log, host, hostRules, dataPlane, transport: this.#transport, membership },
      ...{ leases: this.#leases, peers: this.#peers, attachments: this.#attachments, pods: this.#pods },
      changed: (...topics) => {
        this.#model.changed(...topics);
        if (topics.includes('targets')) this.#names.overlayChanged();
      },
      onFailure: events.onFailure,
      onUp: (what) => {
        events.onUp?.(what);
        this.#cni.overlayIsUp();
      },
    });
    this.#groupProbing = this.#probingOfGroups();
    if (postQuantum && tunnelKey) this.#pairKeying = this.#keyingOfPairs(tunnelKey);
    const subnets = () => this.#followers.subnets;
    this.#names = new Names({
      ...{ clock, log, config: config.dns, load: parts.names, nodeName: node.name, subnets, mayHave },
      ...{ attachments: this.#attachments, nodeId: state.identity.id },
      ...{ inventory: this.inventory, members: membership, random: parts.random ?? Math.random },
      podRanges,
      admits: (id) => admission.admits(id),
      onChange: () => this.#model.changed('status'),
    });
    this.#live = new LiveConfig({
      ...{ config, log, tunnelKey, dataPlane, membership, admission, staticPeers, gossipPeers },
      ...{ attachments: this.#attachments, pods: this.#pods, followers: this.#followers, names: this.#names },
      readConfig: parts.readConfig,
      onReload: (isDone) => events.onReload?.(isDone),
      onOffloads: () => this.#model.changed('status'),
    });
    this.#history = new History({
      ...{ clock, dataPlane, peers: this.#peers, members: membership },
      self: { id: state.identity.id, name: node.name },
      repairs: () => this.#followers.repairs,
    });
    this.#model = agentModel({
      config,
      sealed: state.keys !== undefined,
      admission,
      tunnelKey,
      membership,
      leases: this.#leases,
      peers: this.#peers,
      dataPlane,
      pods: { list: () => this.#pods.list(), on: (event, listener) => this.#attachments.on(event, listener) },
      inventory: this.inventory,
      history: this.#history,
      subnets,
      forwarded: () => this.#followers.forwarded,
      problems: () => this.#problems(),
      repairs: () => this.#followers.repairs,
      dns: () => this.#names.report(),
      kubernetes: this.#kubernetes && (() => this.#kubernetes!.source.report()),
      groupProbes: () => this.#groupProbing?.counts ?? {},
      pairKeys: this.#pairKeying,
      policies: () => this.#policies.report(),
      durations: () => ({
        probe: membership.roundTrips.report(),
        attach: this.#attachments.durations.report(),
      }),
      droppedLogLines: parts.droppedLogLines ?? (() => 0),
    });
    this.#cni = new Cni(parts.cni, {
      ...{ clock, log, subnets, attachments: this.#attachments, nodeId: state.identity.id },
      refuseWithoutSubnet: () => refuseWithoutSubnet({ leases: this.#leases, subnets }),
      isForwarding: () => subnets().length > 0 && this.#model.status().datapath.active,
      names: (network) => this.#names.settings(network),
    });
    this.#docker = new Docker(parts.docker, {
      ...{ clock, log, subnets, attachments: this.#attachments, nodeId: state.identity.id },
      podRanges,
      refuseWithoutSubnet: () => refuseWithoutSubnet({ leases: this.#leases, subnets }),
      inventory: listedAttachments(this.#attachments, this.inventory, this.#peers),
      rules: hostRules,
      names: this.#names,
    });
    this.#policies = new Policies(parts.policies, {
      ...{ clock, log, hostRules, nodeId: state.identity.id, rpc: this.#rpc, tunName: config.tun.name },
      podRanges,
      isSealed: state.keys !== undefined,
      attached: attachedPods(this.#attachments, this.inventory, this.#peers),
      admits: (id) => admission.admits(id),
      others: () =>
        membership.others().filter(({ id, status }) => status === 'alive' && admission.admits(id)),
      announce: (policyHash) => membership.updateSelf({ policyHash }),
      nodeOf: (address) => nodeOfAddress(membership.members(), address),
      cluster: this.#kubernetes?.policies,
      onChange: () => this.#model.changed('status'),
    });
    const keys = new KeyCommands({
      rpc: this.#rpc,
      keys: state.keys,
      name: () => node.name,
      others: () => membership.others(),
      announce: () => membership.keys.announce(),
    });
    const nodes = new NodeCommands({
      admission,
      members: () => membership.members(),
      ownId: state.identity.id,
      announce: (said) => membership.admissionNews.announce(said),
    });
    admission.on('change', (changed) => {
      logAdmission({ admission, log, nameOf: (id) => membership.member(id)?.name }, changed);
      this.#model.changed('status');
    });
    if (this.#kubernetes) {
      this.#model.subscribe(['status'], () =>
        this.#kubernetes?.overlayChanged(
          this.#leases.state(),
          subnets().length > 0 && dataPlane.report().isActive,
        ),
      );
    }
    serveTargets(this.#rpc, () => this.#model.targets());
    this.#diagnostics = servedDiagnostics(parts, {
      ...{ rpc: this.#rpc, model: this.#model, dataPlane, attachments: this.#attachments, subnets },
      ...{ membership, admission, history: this.#history, config: () => this.#live.current },
    });
    this.commands = agentCommands({
      nodeName: node.name,
      membership,
      leases: this.#leases,
      pods: this.#pods,
      attachments: this.#attachments,
      guests: this.#guests,
      keys,
      nodes,
      admits: (id) => admission.admits(id),
      rpc: this.#rpc,
      ownTargets: () => this.#model.targets(),
      subnets,
      cni: () => this.#cni.commands(),
      docker: () => this.#docker.commands(),
      policies: () => this.#policies.commands(),
      ...this.#diagnostics.commands,
      reload: () => this.reload(),
      onLeave: events.onLeave,
    });
  }

  get model(): ReadModel {
    return this.#model;
  }

  async start(): Promise<void> {
    const { log, state, serve, attachmentNetwork, generation } = this.#parts;
    const { id } = state.identity;
    const { node, encapsulation } = this.#live.current;
    this.#push('machine generation', () => generation?.close());
    this.#push('data plane', () => this.#dataPlane.close());
    this.#push('namespaces', () => attachmentNetwork.close());
    log.info({ version: VERSION, node: node.name, id, pid: process.pid }, 'warren agent starts');
    if (state.keys === undefined)
      log.warn('no cluster.keyFile: gossip is not sealed, anyone who can send to this node can join');
    if (this.admission.rules.mode === 'open')
      log.info('cluster.admission is open: who has the cluster key can join, and takes part in forwarding');
    if (encapsulation.type === 'vxlan-gpe')
      log.warn('traffic between nodes is not encrypted: encapsulation.type is vxlan-gpe');
    this.#push('read model', () => this.#model.close());
    if (serve) {
      const api = await serve(this.#model, this.commands);
      this.#push('control socket', () => api.close());
    }
    // Here for a start that fails further down; at the end, once more, before the attachments that it works with.
    this.#push('cni', () => this.#cni.stop());
    await this.#cni.start();
    this.#push('docker', () => this.#docker.stop());
    await this.#docker.start();
    // Before there is a subnet: nothing is attached, or made whole again, until rules are there.
    this.#push('policies', () => this.#policies.stop());
    await this.#policies.start();
    this.#leases.start();
    this.#push('leases', () => this.#leases.stop());
    this.inventory.start();
    await this.#membership.start();
    this.#push('membership', () => this.#membership.stop());
    this.#kubernetes?.start();
    this.#push('Kubernetes', () => this.#kubernetes?.stop());
    this.#push('requests', () => this.#rpc.close());
    this.#push('diagnostics', () => this.#diagnostics.stop());
    this.#push('inventory', () => this.inventory.stop());
    this.#push('peers', () => this.#peers.close());
    await this.#guests.start();
    this.#push('WireGuard peers', () => this.#guests.stop());
    this.#followers.start();
    this.#push('followers', () => this.#followers.stop());
    this.#history.start();
    this.#push('history', () => this.#history.stop());
    this.#groupProbing?.start();
    this.#push('group probes', () => this.#groupProbing?.stop());
    this.#push('post-quantum keys', () => this.#pairKeying?.stop());
    this.#push('names', () => this.#names.stop());
    // First of all: what restores many of them has nothing to do any more, and the others need not wait for it.
    this.#push('attachments', () => this.#attachments.close());
    this.#push('cni', () => this.#cni.stop());
    this.#push('docker', () => this.#docker.stop());
    this.#push('policies', () => this.#policies.stop());
  }

  /** `leave`: the others are told that this node goes. */
  async stop(options: { readonly leave: boolean }): Promise<void> {
    if (options.leave) await this.#membership.leave();
    for (const { what, stop } of this.#started.splice(0).reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#parts.log.error({ what, err: error }, 'could not stop cleanly');
      }
    }
  }

  /**
   * Reads the configuration again, takes over what of it can be while the agent runs, and says what that is and what it
   * is not. Throws what is wrong with the file, or why the offloads cannot be switched; nothing has changed then.
   */
  reload(): Promise<ConfigChange> {
    return this.#live.reload();
  }

  #probingOfGroups(): GroupProbing | undefined {
    const { clock, log, groupProbes, random } = this.#parts;
    const dataPlane = this.#dataPlane;
    const { groups } = dataPlane;
    if (!groupProbes || !groups) return undefined;
    return new GroupProbing(this.#rpc, groupProbes, {
      ...{ clock, log, groups, rpc: this.#rpc, random: random ?? Math.random },
      mtu: (key) => dataPlane.pathMtu(key) ?? dataPlane.mtu,
      subnets: () => this.#followers.subnets,
      link: () =>
        `${formatAddress(dataPlane.underlay.address)} ${dataPlane.underlay.interfaceName} ${dataPlane.mtu}`,
      peers: () => this.#peers.peers(),
      traffic: (key) => dataPlane.traffic(key),
      onChange: () => this.#peers.refresh(),
    });
  }

  #keyingOfPairs(tunnelKey: Uint8Array): PairKeying {
    const { clock, log, pairKeys } = this.#parts;
    const [dataPlane, membership] = [this.#dataPlane, this.#membership];
    const keying = new PairKeying(pairKeys!, {
      ...{ clock, log, rpc: this.#rpc, self: { id: membership.id, tunnelKey } },
      peer: pairKeyPeers(() => this.#peers.peers()),
      isInUse: (id) => dataPlane.sessionAgeMs?.(id) !== undefined,
      use: (id, keys) => dataPlane.setPairKeys?.(id, keys),
      announce: (keyHash) => membership.updateSelf({ postQuantum: { keyHash } }),
      introduce: (id) => membership.introduce(id),
      onChange: () => this.#model.changed('peers', 'status'),
    });
    this.#peers.on('change', () => keying.peersChanged());
    return keying;
  }

  #push(what: string, stop: () => Promise<void> | void): void {
    this.#started.push({ what, stop });
  }

  /** What a person should look at, one sentence each. */
  #problems(): string[] {
    return [
      ...(this.#live.current.encapsulation.accept === undefined ? [] : [ACCEPTS_CLEAR_TEXT]),
      ...this.#membership.problems(),
      ...(this.#kubernetes?.source.problems() ?? []),
      ...this.#followers.problems(),
      ...(this.#groupProbing?.problems() ?? []),
      ...(this.#pairKeying?.problems() ?? []),
      ...this.#names.problems(),
      ...this.inventory.problems(),
      ...this.#docker.problems(),
      ...this.#policies.problems(),
      ...(this.#parts.attachmentNetwork.problems?.() ?? []),
    ];
  }
}
