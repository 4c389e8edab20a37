/**
 * NetworkPolicy objects of a Kubernetes cluster, with its pods and namespaces, for network policies. Policies are watched from the
 * start on. Pods and namespaces, of which there are many, from the first policy on, until the end: a cluster without any policy
 * pays nothing for them.
 *
 *     policies listed, none          ready, and nothing is known
 *     the first policy               not ready until pods and namespaces are listed: rules stay as they are
 *     the API away, or refusing      as ready as it was, with what it said last
 */
import type { Clock } from '../clock.ts';
import type { PolicyNamespace } from '../policy/pods.ts';
import type { NetworkPolicy } from '../policy/schema.ts';
import type { PolicySource, SourcedPod } from '../policy/source.ts';
import type { KubernetesApi } from './api.ts';
import { type ObjectReader, ObjectsView } from './objects-view.ts';
import { NAMESPACES, PODS, POLICIES } from './policy-objects.ts';
import { ResourceWatch } from './resource-watch.ts';

export interface KubernetesPoliciesOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** How many nodes the cluster has, as far as that is known: that many ask when one does. */
  readonly nodeCount: () => number;
  /** What problems() says may be another now. */
  readonly onProblem: () => void;
}

interface Watched<T extends object> {
  readonly view: ObjectsView<T>;
  readonly watch: ResourceWatch;
  /** Why the server did not answer as it should; undefined: it did. */
  readonly trouble: () => string | undefined;
}

export class KubernetesPolicies implements PolicySource {
  readonly name = 'Kubernetes';
  readonly #options: KubernetesPoliciesOptions;
  readonly #listeners = new Set<() => void>();
  readonly #policies: Watched<NetworkPolicy>;
  readonly #namespaces: Watched<PolicyNamespace>;
  readonly #pods: Watched<SourcedPod>;
  #watchesPods = false;
  #isStopped = false;

  constructor(options: KubernetesPoliciesOptions) {
    this.#options = options;
    this.#policies = this.#watched(
      '/apis/networking.k8s.io/v1/networkpolicies',
      'network policies',
      POLICIES,
    );
    this.#namespaces = this.#watched('/api/v1/namespaces', 'namespaces', NAMESPACES);
    this.#pods = this.#watched('/api/v1/pods', 'pods', PODS);
  }

  start(): void {
    this.#policies.watch.start();
  }

  stop(): void {
    this.#isStopped = true;
    for (const { watch } of [this.#policies, this.#namespaces, this.#pods]) watch.stop();
  }

  isReady(): boolean {
    if (!this.#policies.view.isComplete) return false;
    return !this.#watchesPods || (this.#namespaces.view.isComplete && this.#pods.view.isComplete);
  }

  /** A pod by its name, also before it has an address. */
  pod(namespace: string, name: string): SourcedPod | undefined {
    return this.#pods.view.get(`${namespace}/${name}`);
  }

  pods(): Iterable<SourcedPod> {
    return this.#pods.view.values();
  }

  namespaces(): Iterable<PolicyNamespace> {
    return this.#namespaces.view.values();
  }

  policies(): Iterable<NetworkPolicy> {
    return this.#policies.view.values();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What a person should look at, one sentence each. */
  problems(): string[] {
    const problems: string[] = [];
    for (const [what, { view, trouble }] of [
      ['network policies', this.#policies],
      ['namespaces', this.#namespaces],
      ['pods', this.#pods],
    ] as const) {
      const reason = trouble();
      if (reason !== undefined)
        problems.push(`the Kubernetes API does not tell of ${what} (${reason}): what it said last counts`);
      if (view.unread > 0)
        problems.push(`${view.unread} ${what} of Kubernetes cannot be read, or are too many`);
    }
    return problems;
  }

  #watched<T extends object>(path: string, name: string, reader: ObjectReader<T>): Watched<T> {
    const { api, clock, random, nodeCount, onProblem } = this.#options;
    const view = new ObjectsView(reader);
    let trouble: string | undefined;
    const say = (reason: string | undefined) => {
      if (reason === trouble) return;
      trouble = reason;
      onProblem();
    };
    const watch = new ResourceWatch({
      ...{ api, clock, random, resource: { path, name, max: reader.max } },
      count: () => Math.max(nodeCount(), view.size),
      onEvent: (event) => {
        const { unread } = view;
        if (view.apply(event)) this.#changed();
        if (view.unread !== unread) onProblem();
      },
      onContact: () => say(undefined),
      onTrouble: say,
    });
    return { view, watch, trouble: () => trouble };
  }

  #changed(): void {
    if (!this.#watchesPods && !this.#isStopped && this.#policies.view.size > 0) {
      this.#watchesPods = true;
      this.#namespaces.watch.start();
      this.#pods.watch.start();
    }
    for (const listener of this.#listeners) listener();
  }
}
