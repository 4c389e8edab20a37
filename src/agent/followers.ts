/**
 * What follows what while an agent runs:
 *
 *     lease  -> the data plane's subnets -> the pods' addresses
 *     peers  -> the data plane's forwarding and routes
 *     egress -> the host's packet filter
 *     host   -> what was changed from outside is put back; a link's MTU and the underlay's address are followed
 *
 * Each goes its own way, so that peers do not wait for pods; each is tried again when it fails.
 */
import type { Attachments } from '../attachment/attachments.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { DataPlane, ForwardingPeer } from '../dataplane/dataplane.ts';
import type { Host } from '../host/host.ts';
import type { HostRules } from '../host/rules/host-rules.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix, type Prefix } from '../ip/prefix.ts';
import type { LeaseSource, LeaseStatus } from '../lease/lease-source.ts';
import type { MovableTransport } from '../link/movable-transport.ts';
import type { Logger } from '../log/logger.ts';
import type { Membership } from '../membership/membership.ts';
import type { PeerView } from '../peers/peer-view.ts';
import type { PodManager } from '../pod/pod-manager.ts';
import type { Topic } from '../readmodel/topics.ts';
import { HostGuard, type Repair } from './host-guard.ts';
import { Reconciler } from './reconciler.ts';
import { findUnderlay, moveUnderlay } from './underlay-move.ts';

/** After the last attachment that came or went, others may still be on their way. */
const ATTACHING_MS = 100;

export interface FollowerParts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly host: Host;
  readonly hostRules?: HostRules | undefined;
  readonly dataPlane: DataPlane;
  readonly transport: MovableTransport;
  readonly membership: Membership;
  readonly leases: LeaseSource;
  readonly peers: PeerView;
  readonly attachments: Attachments;
  readonly pods: PodManager;
  /** What the read model shows of these may be another now. */
  readonly changed: (...topics: readonly Topic[]) => void;
  /** What this host refuses from the start is for a person to put right: the agent is to end. */
  readonly onFailure: (error: Error) => void;
  /** Packets flow, for the subnets that `what` names. */
  readonly onUp: (what: string) => void;
}

export class Followers {
  readonly #parts: FollowerParts;
  readonly #lease: Reconciler;
  readonly #peers: Reconciler;
  readonly #rules: Reconciler;
  readonly #guard: HostGuard;
  #rulesWatch: { stop(): void } | undefined;
  #egress: Config['egress'];
  #subnets: readonly Prefix[] = [];
  #forwarded: readonly ForwardingPeer[] = [];
  #attachedAtMs = Number.NEGATIVE_INFINITY;
  /** Whether the data plane was told so far which subnets there are. */
  #hasFollowed = false;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    const { clock, log, host, config, dataPlane, onFailure } = parts;
    this.#egress = config.egress;
    this.#lease = new Reconciler({
      failing: 'the overlay cannot be brought up',
      work: () => this.#followLease(),
      clock,
      log,
      onFirstFailure: (error) => {
        onFailure(error instanceof Error ? error : new Error(String(error)));
        return true;
      },
    });
    this.#peers = new Reconciler({
      failing: 'cannot take over the peers and their routes',
      work: () => this.#followPeers(),
      clock,
      log,
    });
    this.#rules = new Reconciler({
      failing: 'cannot make the rules of egress',
      work: async () => this.#parts.hostRules?.apply(this.#egress),
      clock,
      log,
      onFirstFailure: (error) => {
        // Whoever asks for a way out is to hear that there is none; for the rest the agent goes on without.
        if (!config.egress.masquerade) return false;
        onFailure(error instanceof Error ? error : new Error(String(error)));
        return true;
      },
    });
    this.#guard = new HostGuard({
      host,
      clock,
      log,
      repair: () => this.#repair(),
      underlay: () => dataPlane.underlay,
      findUnderlay: () => findUnderlay(config, host, dataPlane.underlay),
      moveTo: (underlay) => this.#moveTo(underlay),
      isChanging: () => dataPlane.isBusy,
      isAttaching: () => clock.now() - this.#attachedAtMs < ATTACHING_MS,
    });
  }

  /** Those that the data plane works with: pods get addresses of them. Empty before it is active. */
  get subnets(): readonly Prefix[] {
    return this.#subnets;
  }

  /** The peers that packets go by. */
  get forwarded(): readonly ForwardingPeer[] {
    return this.#forwarded;
  }

  /** What was put back on this host, by kind. */
  get repairs(): Readonly<Record<string, number>> {
    return this.#guard.counts;
  }

  /** What does not follow, one sentence each. */
  problems(): string[] {
    const followers = [this.#lease, this.#peers, this.#rules, this.#guard];
    return [
      ...followers.map(({ problem }) => problem).filter((problem) => problem !== undefined),
      ...(this.#parts.hostRules?.problems() ?? []),
    ];
  }

  start(): void {
    const { clock, leases, peers, attachments } = this.#parts;
    leases.on('change', () => this.#lease.request());
    peers.on('change', () => this.#peers.request());
    attachments.on('change', () => {
      this.#attachedAtMs = clock.now();
      leases.podsChanged();
      this.#lease.request();
    });
    this.#guard.start();
    this.#peers.request();
    this.#lease.request();
    this.#rules.request();
    this.#rulesWatch = this.#parts.hostRules?.watch(() => this.#guard.check());
  }

  /** Resolves once packets go by the peers that there are now, or that has failed. */
  peersFollowed(): Promise<void> {
    return this.#peers.idle();
  }

  /** Takes over another way out of the overlay. */
  setEgress(egress: Config['egress']): void {
    this.#egress = egress;
    this.#rules.request();
  }

  /** Resolves once nothing is being changed any more. */
  async stop(): Promise<void> {
    await this.#guard.stop();
    await this.#lease.stop();
    await this.#peers.stop();
    await this.#rules.stop();
    this.#rulesWatch?.stop();
  }

  /** To be called when something on the host may have changed. */
  checkHost(): void {
    this.#guard.check();
  }

  async #followLease(): Promise<void> {
    const { leases, dataPlane, attachments, pods, log, changed, onUp } = this.#parts;
    const { status, prefixes } = leases.state();
    // A lost lease stays in use for the pods that it has: they reach each other and this node.
    const hasSubnets = prefixes.length > 0 && (status === 'active' || status === 'lost');
    if (!hasSubnets && this.#holdsAnothers(status, prefixes)) await this.#letGo();
    if (!hasSubnets || textOf(prefixes) === textOf(this.#subnets)) return;
    await dataPlane.activate(prefixes);
    this.#subnets = prefixes;
    this.#hasFollowed = true;
    const { vtep, mtu } = dataPlane;
    log.info({ subnets: textOf(prefixes), vtep: formatEndpoint(vtep), mtu }, 'the overlay is up');
    onUp(`the overlay is up: ${textOf(prefixes)}`);
    changed('status', 'routes', 'targets');
    attachments.setSubnets(prefixes);
    await pods.restore();
    leases.podsChanged();
  }

  /**
   * Whether this host has subnets that may be another node's by now, and nobody here needs them. Before the first one is
   * active that is what an earlier run of the agent left.
   */
  #holdsAnothers(status: LeaseStatus, prefixes: readonly Prefix[]): boolean {
    if (status === 'released' || this.#parts.attachments.size > 0) return false;
    if (!this.#hasFollowed) return status === 'exhausted' || status === 'pending';
    return this.#subnets.length > 0 && textOf(prefixes) !== textOf(this.#subnets);
  }

  async #letGo(): Promise<void> {
    const { dataPlane, attachments, log, changed } = this.#parts;
    // First, so that nothing is attached to them meanwhile.
    this.#subnets = [];
    attachments.setSubnets([]);
    await dataPlane.activate([]);
    this.#hasFollowed = true;
    log.warn('this node has no subnet any more: the overlay is down');
    changed('status', 'routes', 'targets');
  }

  async #followPeers(): Promise<void> {
    const { dataPlane, peers, changed } = this.#parts;
    const forwarding = peers.forwarding();
    await dataPlane.update(forwarding);
    this.#forwarded = forwarding;
    changed('peers', 'routes');
  }

  async #repair(): Promise<Repair> {
    const { dataPlane, attachments, changed } = this.#parts;
    const rules = await this.#repairRules();
    const repaired = [...(await dataPlane.repair()), ...rules.done];
    if (this.#subnets.length === 0) return { done: repaired, error: rules.error };
    // With an address of the node the kernel drops the routes to pods that name it as their source.
    if (repaired.length > rules.done.length) await attachments.restore();
    const { done, failed } = await attachments.repair();
    if (repaired.length + done.length > 0) changed('status', 'pods');
    return {
      done: [...repaired, ...done.map(() => 'pod' as const)],
      error: failed[0]?.error ?? rules.error,
    };
  }

  /** What fails here does not hold up the rest. */
  async #repairRules(): Promise<Repair> {
    try {
      const count = (await this.#parts.hostRules?.repair()) ?? 0;
      return { done: Array.from({ length: count }, () => 'rule' as const) };
    } catch (error) {
      return { done: [], error };
    }
  }

  async #moveTo(underlay: Underlay): Promise<void> {
    const { config, dataPlane, transport, membership, attachments, log, changed } = this.#parts;
    const before = formatEndpoint(dataPlane.vtep);
    await moveUnderlay(config, underlay, dataPlane, transport);
    const { vtep, mtu, gsoMaxSegments } = dataPlane;
    const isElsewhere = formatEndpoint(vtep) !== before;
    log.warn(
      { vtep: formatEndpoint(vtep), mtu },
      isElsewhere ? "the underlay's address has changed" : "the underlay's link has changed",
    );
    const gossip = { address: underlay.address, port: config.underlay.gossipPort };
    membership.updateSelf({ gossip, vtep, mtu });
    changed('status', 'routes');
    this.#peers.request();
    await attachments.setLimits({ mtu, gsoMaxSegments });
  }
}

function textOf(prefixes: readonly Prefix[]): string {
  return prefixes.map(formatPrefix).join(' ');
}
