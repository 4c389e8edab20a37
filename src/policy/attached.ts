/**
 * What nodes have attached, as pods of policies: namespace and labels are labels of theirs. A pod of this node is one from when it
 * has addresses, before it has an interface; those of others are as their nodes last told.
 *
 * Where an orchestrator tells of pods, an attachment that it made has the labels and ports that it says its pod has. It may say
 * no more of a pod that still runs (it has ended, or was deleted by force): here such a one keeps what was said last, and so its
 * rules; of another node it counts no more for rules that name pods.
 */
import type { IpAddress } from '../ip/address.ts';
import { DEFAULT_NAMESPACE } from './compile.ts';
import type { LocalPod } from './enforcer.ts';
import type { PolicyNamespace } from './pods.ts';
import type { NetworkPolicy } from './schema.ts';
import type { Labels } from './selector.ts';
import type { ClusterSource, PolicySource, SourcedPod } from './source.ts';

/** The first one that is there says which namespace a pod is in: what CNI arguments say, then what people write. */
export const NAMESPACE_LABELS = ['io.kubernetes.pod.namespace', 'warren.namespace'] as const;
const POD_NAME_LABEL = 'io.kubernetes.pod.name';
/** More labels, as Docker's `--label warren.labels=app=web,tier=front`: an engine's own labels do not come along. */
export const MORE_LABELS = 'warren.labels';

/** An attachment of any node. */
export interface AttachedPod {
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  readonly labels: Labels;
}

export interface LocalAttached extends AttachedPod {
  readonly hostInterface: string;
  /** There is no interface, and nothing that rules could be on. */
  readonly remote?: boolean | undefined;
}

export interface AttachedOptions {
  readonly local: () => readonly LocalAttached[];
  /** Of all other nodes. */
  readonly others: () => Iterable<AttachedPod>;
  readonly onChange: (listener: () => void) => () => void;
  readonly cluster?: Pick<ClusterSource, 'hasPods' | 'pod'> | undefined;
}

/** What an attachment's own labels say. */
interface Read {
  readonly namespace: string;
  readonly labels: Labels;
  /** What an orchestrator calls the pod; undefined: it is none of an orchestrator. */
  readonly podName: string | undefined;
}

export class AttachedPods implements PolicySource {
  readonly name = 'attachments';
  readonly #options: AttachedOptions;
  #namespaces: ReadonlySet<string> | undefined;
  /** What follows from labels, which live as long as the attachment that they are of. */
  readonly #read = new WeakMap<Labels, Read>();
  /** What the orchestrator said last of pods of this node, by the same. */
  readonly #said = new WeakMap<Labels, SourcedPod>();

  constructor(options: AttachedOptions) {
    this.#options = options;
  }

  isReady(): boolean {
    return true;
  }

  pods(): readonly SourcedPod[] {
    const pods: SourcedPod[] = [];
    const namespaces = new Set<string>();
    const add = (one: AttachedPod, said: (read: Read) => SourcedPod | undefined) => {
      const read = this.#readOf(one.labels);
      if (!this.#isOrchestrated(read)) {
        // The orchestrator's namespaces are its own to tell of: what is not said of one yet is no label that it lacks.
        namespaces.add(read.namespace);
        pods.push(podOf(one, read, undefined));
        return;
      }
      const pod = said(read);
      if (pod !== undefined) pods.push(pod);
    };
    for (const one of this.#options.local()) add(one, () => this.#localPod(one));
    for (const one of this.#options.others()) {
      add(one, (read) => {
        const known = this.#known(read);
        return known && podOf(one, read, known);
      });
    }
    this.#namespaces = namespaces;
    return pods;
  }

  /** Those of the pods that were asked for last: going through all of them twice is what ten thousand would notice. */
  namespaces(): readonly PolicyNamespace[] {
    if (this.#namespaces === undefined) this.pods();
    return [...this.#namespaces!].map((name) => ({ name, labels: {} }));
  }

  *policies(): Iterable<NetworkPolicy> {}

  onChange(listener: () => void): () => void {
    return this.#options.onChange(listener);
  }

  /** Those of this node that rules can be on. */
  local(): LocalPod[] {
    return this.#options
      .local()
      .filter(({ remote }) => !remote)
      .map((one) => ({ interfaceName: one.hostInterface, pod: this.#localPod(one) }));
  }

  /** The namespace of a new pod of this node of which the orchestrator has not told yet; undefined: it has, or is not asked. */
  untold(labels: Labels): string | undefined {
    const read = this.#readOf(labels);
    return this.#isOrchestrated(read) && this.#known(read) === undefined ? read.namespace : undefined;
  }

  #localPod(one: AttachedPod): SourcedPod {
    const read = this.#readOf(one.labels);
    if (!this.#isOrchestrated(read)) return podOf(one, read, undefined);
    const known = this.#known(read) ?? this.#said.get(one.labels);
    if (known !== undefined) this.#said.set(one.labels, known);
    return podOf(one, read, known);
  }

  #isOrchestrated({ podName }: Read): boolean {
    return podName !== undefined && this.#options.cluster?.hasPods === true;
  }

  #known({ namespace, podName }: Read): SourcedPod | undefined {
    return podName === undefined ? undefined : this.#options.cluster?.pod(namespace, podName);
  }

  #readOf(labels: Labels): Read {
    const read = this.#read.get(labels) ?? {
      namespace: namespaceOf(labels),
      labels: allLabels(labels),
      podName: labels[POD_NAME_LABEL],
    };
    this.#read.set(labels, read);
    return read;
  }
}

function podOf({ name, addresses }: AttachedPod, read: Read, known: SourcedPod | undefined): SourcedPod {
  const { namespace, podName = name, labels } = read;
  return {
    ...{ name: podName, namespace, addresses, hostNetwork: false },
    ...{ labels: known?.labels ?? labels, ports: known?.ports ?? [] },
  };
}

function namespaceOf(labels: Labels): string {
  for (const key of NAMESPACE_LABELS) if (labels[key]) return labels[key];
  return DEFAULT_NAMESPACE;
}

function allLabels(labels: Labels): Labels {
  const more = labels[MORE_LABELS];
  if (more === undefined) return labels;
  const pairs = more.split(',').flatMap((pair) => {
    const at = pair.indexOf('=');
    return at < 1 ? [] : [[pair.slice(0, at).trim(), pair.slice(at + 1).trim()]];
  });
  return { ...Object.fromEntries(pairs), ...labels };
}
