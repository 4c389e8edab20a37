/**
 * What nodes have attached, as pods of policies: namespace and labels are labels of theirs. A pod of this node is one from when it
 * has addresses, before it has an interface; those of others are as their nodes last told.
 */
import type { IpAddress } from '../ip/address.ts';
import { DEFAULT_NAMESPACE } from './compile.ts';
import type { LocalPod } from './enforcer.ts';
import type { PolicyNamespace } from './pods.ts';
import type { NetworkPolicy } from './schema.ts';
import type { Labels } from './selector.ts';
import type { PolicySource, SourcedPod } from './source.ts';

/** The first one that is there says which namespace a pod is in: what CNI arguments say, then what people write. */
export const NAMESPACE_LABELS = ['io.kubernetes.pod.namespace', 'warren.namespace'] as const;
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
}

export class AttachedPods implements PolicySource {
  readonly name = 'attachments';
  readonly #options: AttachedOptions;
  #namespaces: ReadonlySet<string> | undefined;
  /** What follows from labels, which live as long as the attachment that they are of. */
  readonly #read = new WeakMap<Labels, { readonly namespace: string; readonly labels: Labels }>();

  constructor(options: AttachedOptions) {
    this.#options = options;
  }

  isReady(): boolean {
    return true;
  }

  pods(): readonly SourcedPod[] {
    const pods = this.#options.local().map((one) => this.#pod(one));
    for (const one of this.#options.others()) pods.push(this.#pod(one));
    this.#namespaces = new Set(pods.map(({ namespace }) => namespace));
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
      .map((one) => ({ interfaceName: one.hostInterface, pod: this.#pod(one) }));
  }

  #pod({ name, addresses, labels }: AttachedPod): SourcedPod {
    const known = this.#read.get(labels) ?? { namespace: namespaceOf(labels), labels: allLabels(labels) };
    this.#read.set(labels, known);
    return { name, addresses, ...known, ports: [], hostNetwork: false };
  }
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
