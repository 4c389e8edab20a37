/**
 * The agent: builds everything, starts it in order, stops it in reverse.
 *
 *     configuration, identity                    nothing outside of the process has changed up to here
 *     underlay -> TUN device, underlay socket    what is missing on this host shows now
 *     control socket                             `warren status` works from here on
 *     membership -> lease                        the node is found by others, and gets its subnet
 *     overlay active -> pods                     packets flow
 *
 * It is the one place where lease events meet the forwarding database.
 */

import { HostGuard } from './agent/host-guard.ts';
import { forwardingPeers } from './agent/peers.ts';
import { timingOf } from './agent/timing.ts';
import { agentView } from './agent/view.ts';
import { agentIsRunning } from './api/client.ts';
import { type ApiServer, startApiServer } from './api/server.ts';
import { startTcpApi } from './api/tcp.ts';
import { realClock } from './clock.ts';
import type { Config } from './config/config.ts';
import { Overlay } from './dataplane/userspace.ts';
import { errorMessage, WarrenError } from './errors.ts';
import { removeTun } from './host/tun-network.ts';
import { hasAddress, resolveUnderlay, type Underlay } from './host/underlay-route.ts';
import { type Identity, loadIdentity, loadOrCreateIdentity } from './identity.ts';
import { formatAddress } from './ip/address.ts';
import { type Endpoint, formatEndpoint } from './ip/endpoint.ts';
import { formatPrefix, prefixContains } from './ip/prefix.ts';
import { KeyCommands } from './keys/key-commands.ts';
import { LeaseManager } from './lease/lease-manager.ts';
import { fileLeaseStore } from './lease/lease-store.ts';
import { ClusterKeys, fileKeyChanges } from './link/cluster-keys.ts';
import { loadKeyRing } from './link/key-ring.ts';
import { MovableTransport } from './link/movable-transport.ts';
import { UdpTcpTransport } from './link/udp-tcp-transport.ts';
import { createLogger, type Logger } from './log/logger.ts';
import { Membership } from './membership/membership.ts';
import { fileMembershipStore } from './membership/store.ts';
import type { MembershipTiming } from './membership/timing.ts';
import { VERSION } from './package.ts';
import { PodManager } from './pod/pod-manager.ts';
import { RpcNode } from './rpc/rpc-node.ts';
import { makeStateFolder } from './state/state-file.ts';
import { lockTun } from './tun/tun-lock.ts';

/**
 * Runs the agent until SIGTERM or SIGINT; returns the exit code. SIGTERM is taken for a restart: the others are
 * told nothing, and keep this node's routes until they miss it. SIGINT and `warren leave` leave the cluster.
 */
export async function runAgent(config: Config): Promise<number> {
  const log = createLogger(config.log);
  const stopping = new AbortController();
  const ended = new Promise<number>((resolve) => {
    // Whoever stops it says so in a word; an error is a failure.
    stopping.signal.addEventListener('abort', () =>
      resolve(typeof stopping.signal.reason === 'string' ? 0 : 1),
    );
  });
  const stop = (why: 'SIGTERM' | 'SIGINT' | 'leave') => {
    log.info({ why }, 'stopping');
    stopping.abort(why);
  };
  process.once('SIGTERM', () => stop('SIGTERM'));
  process.once('SIGINT', () => stop('SIGINT'));
  const onFailure = (error: Error) => {
    log.fatal({ err: error }, 'the agent cannot go on');
    stopping.abort(error);
  };
  const agent = new Agent(config, log, onFailure, () => stop('leave'));
  try {
    await agent.start();
    return await ended;
  } finally {
    await agent.stop({ leave: ['SIGINT', 'leave'].includes(stopping.signal.reason) });
  }
}

/** Removes what an agent leaves on the host: its pods, the TUN device, its routes. The identity and lease stay. */
export async function cleanupNode(config: Config): Promise<void> {
  if (await agentIsRunning(config.node.socket)) {
    throw new WarrenError('AGENT_RUNNING', `an agent is running on ${config.node.socket}`, {
      hint: 'Stop it first; it would put everything back.',
    });
  }
  // Nor one that has another socket; and none may start meanwhile.
  const lock = lockTun(config.tun.name);
  try {
    await removeAll(config);
  } finally {
    lock.release();
  }
}

async function removeAll(config: Config): Promise<void> {
  const log = createLogger(config.log);
  const identity = loadIdentity(config.node.stateDir);
  // Without an identity no agent ever ran from this state folder, and it has no pods.
  if (identity) {
    await new PodManager({
      nodeName: config.node.name,
      nodeId: identity.id,
      stateDir: config.node.stateDir,
      subnets: [],
      mtu: 0,
      gsoMaxSegments: 1,
      staticPods: [],
      log,
    }).removeAll();
  }
  await removeTun(
    config.tun.name,
    config.cluster.podCidrs.map(({ range }) => range),
  );
}

/** For the answer to `warren leave` to get through before the control socket goes. */
const LEAVE_ANSWER_MS = 100;

class Agent {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #onFailure: (error: Error) => void;
  readonly #onLeave: () => void;
  /** What has been started, in order; stopped in reverse. */
  readonly #started: { readonly what: string; stop(): Promise<void> | void }[] = [];
  #membership: Membership | undefined;
  #underlay: Underlay | undefined;
  #isStopping = false;
  /** One lease change is worked off at a time; a further one that comes meanwhile is worked off after it. */
  #isApplying = false;
  #isApplyDue = false;
  #activeSubnets = '';

  constructor(config: Config, log: Logger, onFailure: (error: Error) => void, onLeave: () => void) {
    this.#config = config;
    this.#log = log;
    this.#onFailure = onFailure;
    this.#onLeave = onLeave;
  }

  async start(): Promise<void> {
    const { node, cluster } = this.#config;
    const log = this.#log;
    const keyFile = cluster.keyFile === undefined ? undefined : loadKeyRing(cluster.keyFile, log);
    makeStateFolder(node.stateDir);
    const keyRing = keyFile && new ClusterKeys(keyFile, fileKeyChanges(node.stateDir));
    const identity = loadOrCreateIdentity(node.stateDir);
    const underlay = await resolveUnderlay(this.#config);
    refuseUnderlayInOverlay(this.#config, underlay);
    if (await agentIsRunning(node.socket)) {
      throw new WarrenError('AGENT_RUNNING', `another agent answers on ${node.socket}`, {
        hint: 'Stop it first, or give this one its own node.socket, node.stateDir and tun.name.',
      });
    }
    log.info({ version: VERSION, node: node.name, id: identity.id, pid: process.pid }, 'warren agent starts');
    if (keyRing === undefined)
      log.warn('no cluster.keyFile: gossip is not sealed, anyone who can send to this node can join');

    this.#underlay = underlay;
    const overlay = new Overlay({
      config: this.#config,
      underlay,
      log,
      onFailure: this.#onFailure,
      onTunLost: () => guard.check(),
    });
    this.#push('overlay', () => overlay.close());
    const gossip = { address: underlay.address, port: this.#config.underlay.gossipPort };
    const timing = timingOf(cluster);
    const { streamTimeoutMs } = timing;
    const transport = new MovableTransport(
      gossip,
      (bind) => new UdpTcpTransport({ bind, logger: log, streamTimeoutMs }),
    );
    const membership = this.#buildMembership(identity, keyRing, overlay, transport, gossip, timing);
    this.#membership = membership;
    const rpc = new RpcNode({
      identity,
      link: membership.link,
      directory: { find: (id) => membership.contact(id) },
      clock: realClock,
      onBug: (error) => log.error({ err: error }, 'a bug in warren: a question of another node failed'),
    });
    const keys = new KeyCommands({
      rpc,
      keys: keyRing,
      name: () => node.name,
      others: () => membership.others(),
      announce: () => membership.keys.announce(),
    });
    const pods = this.#buildPods(identity, overlay);
    const leases = new LeaseManager({
      membership,
      podCidrs: cluster.podCidrs,
      store: fileLeaseStore(node.stateDir, identity.id),
      hasPods: () => pods.list().length > 0,
      logger: log,
      timing,
    });
    const apply = () => this.#applySoon(overlay, membership, leases, pods);
    const guard = new HostGuard({
      log,
      repair: async () => {
        const repaired = await overlay.repair();
        // With an address of the node the kernel drops the routes to pods that name it as their source.
        if (this.#activeSubnets === '') return repaired;
        if (repaired.length > 0) await pods.restore();
        const mended = await pods.repair();
        return [...repaired, ...mended.map(() => 'pod' as const)];
      },
      isChanging: () => overlay.isBusy,
      hasUnderlay: () => hasAddress(this.#underlay!.address),
      findUnderlay: () => this.#findUnderlay(),
      moveTo: async (next) => {
        refuseUnderlayInOverlay(this.#config, next);
        await overlay.moveTo(next);
        const gossip = { address: next.address, port: this.#config.underlay.gossipPort };
        await transport.moveTo(gossip);
        this.#underlay = next;
        log.warn({ address: formatAddress(next.address) }, "the underlay's address has changed");
        membership.updateSelf({ gossip, vtep: overlay.vtep });
        apply();
      },
    });
    const currentUnderlay = () => this.#underlay!;
    const view = agentView({
      config: this.#config,
      get underlay() {
        return currentUnderlay();
      },
      repairs: () => guard.counts,
      removePods: () => pods.removeAll(),
      onLeave: () => setTimeout(this.#onLeave, LEAVE_ANSWER_MS),
      membership,
      rpc,
      keys,
      leases,
      overlay,
      pods: podsView(pods, leases, () => this.#activeSubnets),
    });
    const api = await startApiServer({ path: node.socket, view, log });
    this.#push('control socket', () => api.close());
    if (this.#config.api.listen) {
      const tcp: ApiServer = await startTcpApi({ listen: this.#config.api.listen, view, log });
      this.#push('metrics', () => tcp.close());
    }
    leases.on('change', apply);
    membership.on('change', apply);
    leases.start();
    this.#push('leases', () => leases.stop());
    await membership.start();
    this.#push('membership', () => membership.stop());
    this.#push('rpc', () => rpc.close());
    guard.start();
    this.#push('host guard', () => guard.stop());
    apply();
  }

  async stop(options: { leave: boolean }): Promise<void> {
    this.#isStopping = true;
    if (options.leave) await this.#membership?.leave();
    for (const { what, stop } of this.#started.splice(0).reverse()) {
      try {
        await stop();
      } catch (error) {
        this.#log.error({ what, err: error }, 'could not stop cleanly');
      }
    }
  }

  /** Where the node can go on when its underlay address is gone. */
  async #findUnderlay(): Promise<Underlay> {
    const next = await resolveUnderlay(this.#config);
    const { family } = this.#underlay!.address;
    if (next.address.family === family) return next;
    throw new WarrenError(
      'UNDERLAY_FAMILY',
      `the underlay's IPv${family} address is gone, and this host has only ${formatAddress(next.address)}`,
      { hint: 'All nodes share one underlay family; with all of them on the other one, restart the agent.' },
    );
  }

  #push(what: string, stop: () => Promise<void> | void): void {
    this.#started.push({ what, stop });
  }

  #buildMembership(
    identity: Identity,
    keyRing: ClusterKeys | undefined,
    overlay: Overlay,
    transport: MovableTransport,
    gossip: Endpoint,
    timing: MembershipTiming,
  ): Membership {
    const { node, cluster, encapsulation, datapath } = this.#config;
    return new Membership({
      identity,
      clusterName: cluster.name,
      keyRing,
      self: {
        name: node.name,
        gossip,
        vtep: overlay.vtep,
        encapsulation: {
          type: encapsulation.type,
          vni: encapsulation.vni,
          partialChecksums: datapath.offload.checksum,
        },
      },
      seeds: cluster.seeds,
      transport,
      store: fileMembershipStore(node.stateDir, identity.id),
      logger: this.#log,
      timing,
    });
  }

  #buildPods(identity: Identity, overlay: Overlay): PodManager {
    const { node, staticPods } = this.#config;
    return new PodManager({
      nodeName: node.name,
      nodeId: identity.id,
      stateDir: node.stateDir,
      subnets: [],
      mtu: overlay.mtu,
      gsoMaxSegments: overlay.gsoMaxSegments,
      staticPods,
      log: this.#log,
    });
  }

  /** Brings host and packet path in line with members and leases. Calls that come meanwhile become one. */
  #applySoon(overlay: Overlay, membership: Membership, leases: LeaseManager, pods: PodManager): void {
    this.#isApplyDue = true;
    if (this.#isApplying) return;
    this.#isApplying = true;
    const work = async () => {
      while (this.#isApplyDue && !this.#isStopping) {
        this.#isApplyDue = false;
        await this.#apply(overlay, membership, leases, pods);
      }
    };
    work()
      .catch((error: unknown) => {
        if (!this.#isStopping)
          this.#onFailure(error instanceof Error ? error : new Error(errorMessage(error)));
      })
      .finally(() => {
        this.#isApplying = false;
      });
  }

  async #apply(
    overlay: Overlay,
    membership: Membership,
    leases: LeaseManager,
    pods: PodManager,
  ): Promise<void> {
    const { status, prefixes } = leases.state();
    const subnets = prefixes.map(formatPrefix).join(' ');
    // A lost lease stays in use for the pods that it has: they reach each other and this node.
    const hasSubnets = prefixes.length > 0 && (status === 'active' || status === 'lost');
    const isNew = hasSubnets && subnets !== this.#activeSubnets;
    if (isNew) await overlay.activate(prefixes);
    const owners = leases.owners();
    await overlay.update(
      forwardingPeers(
        this.#config,
        membership.id,
        this.#underlay!.address.family,
        membership.members(),
        owners,
      ),
    );
    if (!isNew) return;
    this.#activeSubnets = subnets;
    this.#log.info({ subnets, vtep: formatEndpoint(overlay.vtep), mtu: overlay.mtu }, 'the overlay is up');
    pods.setSubnets(prefixes);
    await pods.restore();
    leases.podsChanged();
  }
}

/** The pods as the API sees them: none can be added before the node has a subnet; leases hear of changes. */
function podsView(pods: PodManager, leases: LeaseManager, activeSubnets: () => string) {
  return {
    list: () => pods.list(),
    add: async (name: string, options: { netns?: string | undefined }) => {
      const { status, prefixes } = leases.state();
      // Right after a change of lease the old subnet is still in use: a pod would get an address from there.
      if (status !== 'active' || prefixes.map(formatPrefix).join(' ') !== activeSubnets()) {
        throw new WarrenError('NO_SUBNET', `this node has no subnet yet (its lease is ${status})`, {
          hint: 'See `warren status`.',
        });
      }
      const report = await pods.add(name, options);
      leases.podsChanged();
      return report;
    },
    remove: async (name: string) => {
      const report = await pods.remove(name);
      leases.podsChanged();
      return report;
    },
  };
}

/** Such an underlay would send the outer datagrams into the tunnel again. */
function refuseUnderlayInOverlay(config: Config, { address }: Underlay): void {
  const range = config.cluster.podCidrs.find((one) => prefixContains(one.range, address))?.range;
  if (!range) return;
  throw new WarrenError(
    'UNDERLAY_IN_OVERLAY',
    `the underlay address ${formatAddress(address)} lies in the pod range ${formatPrefix(range)}`,
    { hint: 'Choose cluster.podCidrs that overlap no network the nodes use.' },
  );
}
