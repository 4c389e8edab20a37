/** All pods that selectors can mean, by namespace; each selector is asked once. */
import type { PolicyNamespace, PolicyPod } from './pods.ts';
import type { LabelSelector, PolicyPeer } from './schema.ts';
import { type Labels, selectorKey, selects } from './selector.ts';

/** Every namespace has this label, given by the API server; without one it is given here. */
const NAME_LABEL = 'kubernetes.io/metadata.name';

export class Population {
  readonly everyone: readonly PolicyPod[];
  readonly #byNamespace: ReadonlyMap<string, readonly PolicyPod[]>;
  readonly #namespaces: readonly PolicyNamespace[];
  /** Bounded by the different namespace selectors of the policies. */
  readonly #selected = new Map<string, readonly string[]>();

  constructor(pods: readonly PolicyPod[], namespaces: readonly PolicyNamespace[]) {
    this.everyone = pods.filter(({ hostNetwork }) => !hostNetwork);
    this.#byNamespace = byNamespaceOf(this.everyone, ({ namespace }) => namespace);
    this.#namespaces = namespaces.map(({ name, labels }) => ({
      name,
      labels: { ...labels, [NAME_LABEL]: name } satisfies Labels,
    }));
  }

  /** The pods that a peer with selectors means in a policy of `namespace`. */
  select({ podSelector = {}, namespaceSelector }: PolicyPeer, namespace: string): PolicyPod[] {
    const names = namespaceSelector === undefined ? [namespace] : this.#select(namespaceSelector);
    return names.flatMap((name) =>
      (this.#byNamespace.get(name) ?? []).filter(({ labels }) => selects(podSelector, labels)),
    );
  }

  #select(selector: LabelSelector): readonly string[] {
    const key = selectorKey(selector);
    const known = this.#selected.get(key);
    if (known !== undefined) return known;
    const names = this.#namespaces.filter(({ labels }) => selects(selector, labels)).map(({ name }) => name);
    this.#selected.set(key, names);
    return names;
  }
}

export function byNamespaceOf<T>(things: readonly T[], namespaceOf: (thing: T) => string): Map<string, T[]> {
  const found = new Map<string, T[]>();
  for (const thing of things) {
    const namespace = namespaceOf(thing);
    const there = found.get(namespace);
    if (there === undefined) found.set(namespace, [thing]);
    else there.push(thing);
  }
  return found;
}
