/**
 * What an agent has of the Kubernetes cluster that it runs in: nodes to join through, its own subnet where the cluster hands
 * them out (`ipam: kubernetes`), whether another's claim is what that one was given, and its own Node's condition.
 *
 *     NodeWatch --> NodesView --+--> seeds                 membership/join.ts
 *     (the API)     (pure)      +--> own podCIDRs          lease/assigned-lease.ts, which keeps them on the disk
 *                               +--> Assignments           lease/cluster-claims.ts
 *                               +--> NodeCondition         back to the API
 *                               +--> DepartedNodes         problems; members forgotten
 *
 * Nothing that was known is given up because the API is away: what it said last counts until it says otherwise.
 */
import { EventEmitter } from 'node:events';
import type { Clock } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import { type Family, formatAddress } from '../ip/address.ts';
import type { HostPort } from '../ip/endpoint.ts';
import { formatPrefix, type Prefix, samePrefix } from '../ip/prefix.ts';
import type { Assignments } from '../lease/lease-source.ts';
import type { Logger } from '../log/logger.ts';
import type { SeedSource } from '../membership/join.ts';
import type { Member } from '../membership/types.ts';
import type { KubernetesReport } from '../readmodel/reports.ts';
import type { KubernetesApi } from './api.ts';
import { DepartedNodes } from './departed-nodes.ts';
import { type Condition, NodeCondition } from './node-condition.ts';
import { NodeWatch } from './node-watch.ts';
import { type NodeChange, NodesView } from './nodes-view.ts';
import type { ResourceEvent } from './resource-watch.ts';

/** The API may be away for so long before that is a problem to be shown. */
const TROUBLE_MS = 30_000;
const MAX_PROBLEMS = 10;

export interface KubernetesSourceOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  /** Of this node's own Node. */
  readonly nodeName: string;
  readonly gossipPort: number;
  /** Of the underlay now. */
  readonly family: () => Family;
  /** This node has a subnet of an earlier run: it waits for the API no longer than for others. */
  readonly hasMemory: boolean;
  /** How long others are waited for. */
  readonly joinTimeoutMs: number;
  readonly selfId: string;
  readonly membership: () => {
    members(): readonly Member[];
    member(id: string): Member | undefined;
    forget(id: string): unknown;
    discoveryChanged(): void;
  };
  /** With `ipam: kubernetes`: this node's subnet is this one. Throws LEASE_MISFIT. */
  readonly assign?: ((prefixes: readonly Prefix[]) => void) | undefined;
  /** What is reported may be another now. */
  readonly onChange: () => void;
}

export class KubernetesSource extends EventEmitter<{ change: [] }> implements SeedSource, Assignments {
  readonly #options: KubernetesSourceOptions;
  readonly #view = new NodesView();
  readonly #watch: NodeWatch;
  readonly #condition: NodeCondition;
  readonly #departed: DepartedNodes;
  readonly #startedAtMs: number;
  #hasSeeds = false;
  /** Since when the API has not answered as it should; undefined: it does, or was not asked yet. */
  #awaySinceMs: number | undefined;
  #awayReason = '';
  #hasAnswered = false;
  #misfit: string | undefined;

  constructor(options: KubernetesSourceOptions) {
    super();
    this.#options = options;
    const { api, clock, random, nodeName, selfId, membership } = options;
    this.#startedAtMs = clock.now();
    this.#watch = new NodeWatch({
      ...{ api, clock, random, ownName: nodeName },
      nodeCount: () => this.#view.size,
      onEvent: (event) => this.#apply(event),
      onContact: () => this.#onContact(),
      onTrouble: (reason) => this.#onTrouble(reason),
    });
    this.#condition = new NodeCondition({ api, clock, random, nodeName });
    this.#departed = new DepartedNodes({
      ...{ clock, random, selfId },
      members: () => membership().members(),
      member: (id) => membership().member(id),
      hasNode: (member) => this.#view.nodeOf(member) !== undefined,
      forget: (id) => membership().forget(id),
      onForgotten: ({ name }) =>
        options.log.warn(
          { node: name },
          'its Node was deleted and its agent is gone: forgotten, its subnet is free',
        ),
    });
  }

  /** To be called when membership and leases have started. */
  start(): void {
    this.#watch.start();
  }

  stop(): void {
    this.#watch.stop();
    this.#condition.stop();
    this.#departed.stop();
  }

  /** How many the cluster has, as far as that is known. */
  get nodeCount(): number {
    return this.#view.size;
  }

  get isPending(): boolean {
    const { clock, hasMemory, joinTimeoutMs } = this.#options;
    if (this.#hasSeeds) return false;
    return !hasMemory || clock.now() - this.#startedAtMs < joinTimeoutMs;
  }

  seeds(atMost: number): readonly HostPort[] {
    const { nodeName, gossipPort, random, family } = this.#options;
    const wanted = family();
    const others: string[] = [];
    let seen = 0;
    // One pass with bounded memory, each node as likely as any other (Vitter's algorithm R).
    for (const { name, addresses } of this.#view.nodes()) {
      const address = name === nodeName ? undefined : addresses.find((one) => one.family === wanted);
      if (!address) continue;
      seen++;
      const place = seen <= atMost ? seen - 1 : Math.floor(random() * seen);
      if (place < atMost) others[place] = formatAddress(address);
    }
    return others.map((host) => ({ host, port: gossipPort }));
  }

  contradicts(member: Member): boolean {
    const node = this.#view.nodeOf(member);
    if (!node || node.podCidrs.length === 0) return false;
    const has = (prefix: Prefix) => node.podCidrs.some((one) => samePrefix(one, prefix));
    return !(member.lease?.prefixes ?? []).every(has);
  }

  /** What the own Node's condition is to be; undefined: as it is. */
  wantCondition(condition: Condition | undefined): void {
    this.#condition.want(condition);
  }

  /** To be called when members may be others than before. */
  membersChanged(): void {
    this.#departed.look();
  }

  report(): KubernetesReport {
    const { api, nodeName, assign, clock } = this.#options;
    const awaySince = this.#awaySinceMs;
    return {
      server: api.server,
      ipam: assign ? 'kubernetes' : 'warren',
      node: nodeName,
      podCidrs: (this.#view.node(nodeName)?.podCidrs ?? []).map(formatPrefix),
      api: awaySince !== undefined ? 'away' : this.#hasAnswered ? 'connected' : 'asked',
      awaySeconds: awaySince === undefined ? 0 : Math.round((clock.now() - awaySince) / 1000),
      nodes: this.#view.size,
    };
  }

  problems(): string[] {
    const { api, clock, nodeName, assign } = this.#options;
    const problems: string[] = [];
    const awayMs = this.#awaySinceMs === undefined ? 0 : clock.now() - this.#awaySinceMs;
    if (awayMs >= TROUBLE_MS) {
      problems.push(
        `the Kubernetes API at ${api.server} does not answer as it should (${this.#awayReason}): what it said last counts`,
      );
    }
    const own = this.#view.node(nodeName);
    if (this.#view.isComplete && !own) {
      problems.push(
        `Kubernetes has no Node ${nodeName}: it was deleted, or kubernetes.nodeName is another's`,
      );
    }
    if (assign && own && own.podCidrs.length === 0) {
      problems.push(
        `Node ${nodeName} has no podCIDR: let the controller manager hand them out (--allocate-node-cidrs, --cluster-cidr)`,
      );
    }
    if (this.#misfit !== undefined) problems.push(this.#misfit);
    if (assign) {
      for (const { podCidr, names } of this.#view.shared().slice(0, MAX_PROBLEMS)) {
        problems.push(
          `${podCidr} is the podCIDR of ${names.slice(0, MAX_PROBLEMS).join(' and ')}: delete all but one of these Nodes`,
        );
      }
    }
    if (this.#view.unread > 0)
      problems.push(`${this.#view.unread} Nodes of Kubernetes cannot be read, or are too many`);
    if (this.#condition.problem !== undefined) problems.push(this.#condition.problem);
    return [...problems, ...this.#departed.problems()];
  }

  #apply(event: ResourceEvent): void {
    const changes = this.#view.apply(event);
    const hadSeeds = this.#hasSeeds;
    this.#hasSeeds ||= event.type === 'page' || event.type === 'listed';
    if (changes.length > 0) this.#changed(changes);
    const isMore = changes.some(({ before }) => before === undefined);
    if (this.#hasSeeds && (isMore || !hadSeeds)) this.#options.membership().discoveryChanged();
    if (changes.length > 0 || event.type === 'listed') this.#options.onChange();
  }

  #changed(changes: readonly NodeChange[]): void {
    const { nodeName, membership } = this.#options;
    const gone = changes.flatMap(({ before, after }) => (before && !after ? [before] : []));
    if (gone.length > 0) {
      const addresses = new Map(
        gone.flatMap((node) => node.addresses.map((one) => [formatAddress(one), node.name])),
      );
      const names = new Set(gone.map(({ name }) => name));
      for (const member of membership().members()) {
        const node =
          addresses.get(formatAddress(member.gossip.address)) ??
          (names.has(member.name) ? member.name : undefined);
        if (node !== undefined) this.#departed.add(member, node);
      }
    }
    this.#departed.look();
    if (changes.some(({ before, after }) => (after ?? before)?.name === nodeName)) this.#ownChanged();
    if (changes.some(isAboutSubnets)) this.emit('change');
  }

  #ownChanged(): void {
    const { nodeName, assign, log } = this.#options;
    const own = this.#view.node(nodeName);
    this.#condition.seen(own);
    // A Node that is gone, or has nothing yet, takes nothing away.
    if (!assign || !own || own.podCidrs.length === 0) return;
    try {
      assign(own.podCidrs);
      this.#misfit = undefined;
    } catch (error) {
      const text = own.podCidrs.map(formatPrefix).join(' and ');
      this.#misfit = `Node ${nodeName} has the podCIDRs ${text}, which cannot be this node's subnet (${errorMessage(error)}): compare cluster.podCidrs and cluster.nodePrefixLengths with the controller manager's --cluster-cidr and --node-cidr-mask-size`;
      log.error(this.#misfit);
    }
  }

  #onContact(): void {
    const { log, api, onChange } = this.#options;
    const wasAway = this.#awaySinceMs !== undefined;
    if (this.#hasAnswered && !wasAway) return;
    log.info(
      { server: api.server },
      wasAway ? 'the Kubernetes API answers again' : 'the Kubernetes API answers',
    );
    this.#hasAnswered = true;
    this.#awaySinceMs = undefined;
    onChange();
  }

  #onTrouble(reason: string): void {
    const { log, clock, api, onChange } = this.#options;
    const isNews = this.#awaySinceMs === undefined || reason !== this.#awayReason;
    this.#awaySinceMs ??= clock.now();
    this.#awayReason = reason;
    if (isNews) log.warn({ server: api.server, reason }, 'the Kubernetes API does not answer as it should');
    // Also where it is no news: after a while it is a problem.
    onChange();
  }
}

/** Whether who is whose may be judged otherwise after it. */
function isAboutSubnets({ before, after }: NodeChange): boolean {
  const text = (node: typeof before) =>
    node && [node.addresses.map(formatAddress), node.podCidrs.map(formatPrefix)].join('|');
  return text(before) !== text(after);
}
