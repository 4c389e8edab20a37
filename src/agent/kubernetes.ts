/**
 * The Kubernetes cluster that a node is in, loaded where the configuration says so: an agent elsewhere pays nothing for it.
 * What its parts do is in kubernetes/; here they meet membership, leases and the overlay.
 */
import type { Config } from '../config/config.ts';
import type { Family } from '../ip/address.ts';
import type { KubernetesApi } from '../kubernetes/api.ts';
import type { KubernetesPolicies } from '../kubernetes/kubernetes-policies.ts';
import type { KubernetesSource } from '../kubernetes/kubernetes-source.ts';
import type { Condition } from '../kubernetes/node-condition.ts';
import { AssignedLease } from '../lease/assigned-lease.ts';
import { LeaseManager } from '../lease/lease-manager.ts';
import type { LeaseSource, LeaseSourceOptions, LeaseState } from '../lease/lease-source.ts';
import type { Membership } from '../membership/membership.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { AgentParts } from './parts.ts';

/** The way to its API. Throws KUBERNETES_UNUSABLE where that cannot be told. */
export type OpenKubernetes = (config: Config['kubernetes']) => Promise<KubernetesApi>;

/** What is loaded late. */
export interface LoadedKubernetes {
  readonly api: KubernetesApi;
  readonly KubernetesSource: typeof KubernetesSource;
  /** Undefined: the cluster's network policies are not this agent's to enforce. */
  readonly KubernetesPolicies: typeof KubernetesPolicies | undefined;
}

/** Undefined: this node is in none, as far as its configuration says. */
export async function loadKubernetes(
  { kubernetes }: Config,
  { kubernetes: open, policies }: Pick<AgentParts, 'kubernetes' | 'policies'>,
): Promise<LoadedKubernetes | undefined> {
  if (!kubernetes.enabled || !open) return undefined;
  const { KubernetesSource } = await import('../kubernetes/kubernetes-source.ts');
  const hasPolicies = kubernetes.networkPolicies && policies !== undefined;
  const { KubernetesPolicies } = hasPolicies
    ? await import('../kubernetes/kubernetes-policies.ts')
    : { KubernetesPolicies: undefined };
  return { api: await open(kubernetes), KubernetesSource, KubernetesPolicies };
}

export interface KubernetesOptions {
  readonly config: Config;
  readonly parts: Pick<AgentParts, 'clock' | 'log' | 'state'>;
  readonly random: () => number;
  readonly timing: MembershipTiming;
  /** Of the underlay now. */
  readonly family: () => Family;
  /** Asked from `start` on. */
  readonly membership: () => Membership;
  readonly onChange: () => void;
}

export class Kubernetes {
  readonly source: KubernetesSource;
  /** For network policies to start and stop. Undefined: this agent enforces none of the cluster's. */
  readonly policies: KubernetesPolicies | undefined;
  readonly #api: KubernetesApi;
  readonly #options: KubernetesOptions;
  readonly #isAssigned: boolean;
  #lease: AssignedLease | undefined;
  /** The overlay was up in this run. */
  #wasUp = false;

  constructor({ api, KubernetesSource, KubernetesPolicies }: LoadedKubernetes, options: KubernetesOptions) {
    const { config, parts, random, timing, family, membership, onChange } = options;
    this.#options = options;
    this.#api = api;
    this.#isAssigned = config.kubernetes.ipam === 'kubernetes';
    this.source = new KubernetesSource({
      ...{ api, clock: parts.clock, log: parts.log, random, family, membership, onChange },
      nodeName: config.kubernetes.nodeName ?? config.node.name,
      gossipPort: config.underlay.gossipPort,
      hasMemory: parts.state.lease.load() !== undefined,
      joinTimeoutMs: timing.joinTimeoutMs,
      selfId: parts.state.identity.id,
      ...(this.#isAssigned && { assign: (prefixes) => this.#lease?.assign(prefixes) }),
    });
    this.policies =
      KubernetesPolicies &&
      new KubernetesPolicies({
        ...{ api, clock: parts.clock, log: parts.log, random, onProblem: onChange },
        nodeCount: () => this.source.nodeCount,
      });
  }

  leaseSource(options: LeaseSourceOptions): LeaseSource {
    if (!this.#isAssigned) return new LeaseManager(options);
    this.#lease = new AssignedLease({ ...options, assignments: this.source });
    return this.#lease;
  }

  /** When membership and leases have started. */
  start(): void {
    const membership = this.#options.membership();
    membership.on('change', this.#onMembers);
    membership.on('removed', this.#onMembers);
    this.source.start();
  }

  /** Once network policies have stopped. */
  stop(): void {
    const membership = this.#options.membership();
    membership.off('change', this.#onMembers);
    membership.off('removed', this.#onMembers);
    this.source.stop();
    this.#api.close();
  }

  /** The lease, or whether packets flow, may be another than before. */
  overlayChanged(lease: LeaseState, isForwarding: boolean): void {
    const isUp = lease.status === 'active' && isForwarding;
    this.#wasUp ||= isUp;
    if (isUp) this.source.wantCondition(UP);
    // A restart is no outage: what an earlier run said stays until it is known otherwise.
    else if (this.#wasUp || lease.status === 'lost') this.source.wantCondition(downCondition(lease));
  }

  readonly #onMembers = () => this.source.membersChanged();
}

const UP: Condition = {
  status: 'False',
  reason: 'WarrenIsUp',
  message: 'warren forwards the packets of pods on this node',
};

function downCondition({ status }: LeaseState): Condition {
  const message =
    status === 'active'
      ? 'no packets flow: see `warren status` there'
      : `its lease is ${status}: see \`warren status\` there`;
  return { status: 'True', reason: 'WarrenIsDown', message };
}
