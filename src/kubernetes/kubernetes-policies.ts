/**
 * NetworkPolicy objects of a Kubernetes cluster, with its pods and namespaces, for network policies. Policies are watched from the
 * start on. Pods and namespaces, of which there are many, from the first policy on, until the end: a cluster without any policy
 * pays nothing for them.
 *
 *     policies listed, none          ready, and nothing is known
 *     the first policy               not ready until pods and namespaces are listed: rules stay as they are
 *     the API away, or refusing      as ready as it was, with what it said last
 *
 * At the start that is: not ready. An API that refuses to tell (403, as the ClusterRole lacks a rule) is as one that is away: what there
 * is goes on, and new pods wait, since nobody can say that they have no policies.
 */
import type { Clock } from '../clock.ts';
import type { Logger } from '../log/logger.ts';
import type { PolicyNamespace } from '../policy/pods.ts';
import type { NetworkPolicy } from '../policy/schema.ts';
import type { ClusterSource, SourcedPod } from '../policy/source.ts';
import type { KubernetesApi } from './api.ts';
import { type ObjectReader, ObjectsView } from './objects-view.ts';
import { NAMESPACES, PODS, POLICIES } from './policy-objects.ts';
import { PAGE_OBJECTS, ResourceWatch } from './resource-watch.ts';
import { listSpreadMs } from './retry.ts';

/** One that was told of may be out of touch for so long before that is a problem to be shown. */
const TROUBLE_MS = 30_000;

export interface KubernetesPoliciesOptions {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly log: Logger;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** How many nodes the cluster has, as far as that is known: that many ask when one does. */
  readonly nodeCount: () => number;
  /** What problems() says may be another now. */
  readonly onProblem: () => void;
}

interface Trouble {
  readonly reason: string;
  readonly sinceMs: number;
}

interface Watched<T extends object> {
  /** For people: `network policies`. */
  readonly name: string;
  readonly view: ObjectsView<T>;
  readonly watch: ResourceWatch;
  /** Why the server does not answer as it should; undefined: it does. */
  readonly trouble: () => Trouble | undefined;
}

export class KubernetesPolicies implements ClusterSource {
  readonly name = 'Kubernetes';
  readonly #options: KubernetesPoliciesOptions;
  readonly #listeners = new Set<() => void>();
  readonly #policies: Watched<NetworkPolicy>;
  readonly #namespaces: Watched<PolicyNamespace>;
  readonly #pods: Watched<SourcedPod>;
  #hasPods = false;
  #isStarted = false;
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
    this.#isStarted = true;
    this.#policies.watch.start();
    if (this.#hasPods) this.#watchPods();
  }

  stop(): void {
    this.#isStopped = true;
    for (const { watch } of [this.#policies, this.#namespaces, this.#pods]) watch.stop();
  }

  needPods(): void {
    if (this.#hasPods || this.#isStopped) return;
    this.#hasPods = true;
    if (this.#isStarted) this.#watchPods();
  }

  get hasPods(): boolean {
    return this.#hasPods;
  }

  isReady(): boolean {
    if (!this.#policies.view.isComplete) return false;
    return !this.#hasPods || (this.#namespaces.view.isComplete && this.#pods.view.isComplete);
  }

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

  problems(): string[] {
    const now = this.#options.clock.now();
    const all = [this.#policies, this.#namespaces, this.#pods];
    const silent = new Map<string, string[]>();
    for (const { name, view, trouble } of all) {
      const { reason, sinceMs = now } = trouble() ?? {};
      if (reason === undefined || (view.isComplete && now - sinceMs < TROUBLE_MS)) continue;
      silent.set(reason, [...(silent.get(reason) ?? []), name]);
    }
    return [
      ...[...silent].map(
        ([reason, names]) =>
          `the Kubernetes API does not tell of ${names.join(' and ')} (${reason}): what it said last counts`,
      ),
      ...all
        .filter(({ view }) => view.unread > 0)
        .map(({ name, view }) => `${view.unread} ${name} of Kubernetes cannot be read, or are too many`),
    ];
  }

  #watched<T extends object>(path: string, name: string, reader: ObjectReader<T>): Watched<T> {
    const { api, clock, log, random, nodeCount, onProblem } = this.#options;
    const view = new ObjectsView(reader);
    let trouble: Trouble | undefined;
    const watch = new ResourceWatch({
      ...{ api, clock, random, resource: { path, name, max: reader.max } },
      count: nodeCount,
      listSpreadMs: () => listSpreadMs(nodeCount(), Math.ceil((view.size + 1) / PAGE_OBJECTS)),
      onEvent: (event) => {
        const { unread } = view;
        if (view.apply(event)) this.#changed();
        if (view.unread !== unread) onProblem();
      },
      onContact: () => {
        if (trouble === undefined) return;
        trouble = undefined;
        log.info({ server: api.server }, `the Kubernetes API tells of ${name} again`);
        onProblem();
      },
      onTrouble: (reason) => {
        if (reason !== trouble?.reason)
          log.warn({ server: api.server, reason }, `the Kubernetes API does not tell of ${name}`);
        trouble = { reason, sinceMs: trouble?.sinceMs ?? clock.now() };
        // Also where it is no news: after a while it is a problem.
        onProblem();
      },
    });
    return { name, view, watch, trouble: () => trouble };
  }

  #watchPods(): void {
    this.#namespaces.watch.start();
    this.#pods.watch.start();
  }

  #changed(): void {
    if (this.#policies.view.size > 0) this.needPods();
    for (const listener of this.#listeners) listener();
  }
}
