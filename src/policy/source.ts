/**
 * The port to whoever knows pods, namespaces or policies: what nodes have attached, documents in files, an orchestrator's API.
 * All of them together are what is compiled; a source that knows nothing of a kind gives none of it.
 */
import { policyKey } from './compile.ts';
import type { PolicyNamespace, PolicyPod } from './pods.ts';
import type { NetworkPolicy } from './schema.ts';

/** A pod with what people call it. */
export interface SourcedPod extends PolicyPod {
  readonly name: string;
}

export interface PolicySource {
  /** In messages: `files`. */
  readonly name: string;
  /**
   * Whether it knows all that there is by now. As long as one does not, rules stay as an earlier run has left them, and pods
   * that are new wait. One that loses touch later stays ready, with what it knew last.
   */
  isReady(): boolean;
  /** Those that have ended are left out. Where two sources know an address, the pod of the first one has it. */
  pods(): Iterable<SourcedPod>;
  namespaces(): Iterable<PolicyNamespace>;
  policies(): Iterable<NetworkPolicy>;
  /** Calls `listener` when any of it is another, until what it gives is called. */
  onChange(listener: () => void): () => void;
}

/** An orchestrator that is asked from `start` on. Of pods and namespaces, of which there are many, only once there is a policy. */
export interface ClusterSource extends PolicySource {
  start(): void;
  stop(): void;
  /** There is a policy, be it of somebody else. */
  needPods(): void;
  /** Pods and namespaces are asked for. */
  readonly hasPods: boolean;
  /** By its name there, also before it has an address. */
  pod(namespace: string, name: string): SourcedPod | undefined;
  /** What a person should look at, one sentence each. */
  problems(): string[];
}

/**
 * All of them as one. An address that two know is the first one's pod's, and a policy's name the first one's policy's; of a
 * namespace the labels that any of them knows count.
 */
export function gather(sources: readonly PolicySource[]): {
  readonly pods: SourcedPod[];
  readonly namespaces: PolicyNamespace[];
  readonly policies: NetworkPolicy[];
} {
  const lists = sources.map((source) => [...source.pods()]).filter(({ length }) => length > 0);
  const pods = lists.length < 2 ? lists.flat() : withoutDoubles(lists);
  const namespaces = new Map<string, PolicyNamespace>();
  for (const source of sources) {
    for (const one of source.namespaces()) {
      const before = namespaces.get(one.name);
      namespaces.set(one.name, before ? { ...one, labels: { ...one.labels, ...before.labels } } : one);
    }
  }
  const policies = new Map<string, NetworkPolicy>();
  for (const source of sources)
    for (const one of source.policies()) if (!policies.has(policyKey(one))) policies.set(policyKey(one), one);
  return { pods, namespaces: [...namespaces.values()], policies: [...policies.values()] };
}

/** A pod that has no address, or none that is its own, is none. */
function withoutDoubles(lists: readonly (readonly SourcedPod[])[]): SourcedPod[] {
  const taken = new Set<string>();
  return lists.flatMap((list) => {
    const mine = list.flatMap((pod) => {
      const addresses = pod.addresses.filter((address) => !taken.has(keyOf(address)));
      if (addresses.length === 0) return [];
      return addresses.length === pod.addresses.length ? [pod] : [{ ...pod, addresses }];
    });
    for (const { addresses } of mine) for (const address of addresses) taken.add(keyOf(address));
    return mine;
  });
}

function keyOf({ family, value }: PolicyPod['addresses'][number]): string {
  return `${family} ${value}`;
}
