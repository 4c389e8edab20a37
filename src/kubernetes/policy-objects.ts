/** What of pods, namespaces and NetworkPolicy objects network policies need. All of it is data from elsewhere, as Nodes are. */
import { type IpAddress, parseAddress } from '../ip/address.ts';
import { STAGED } from '../policy/compile.ts';
import type { NamedPort, PolicyNamespace } from '../policy/pods.ts';
import { type NetworkPolicy, networkPolicySchema, POLICY_API_VERSION } from '../policy/schema.ts';
import type { SourcedPod } from '../policy/source.ts';
import { fieldsOf, listOf } from './node-object.ts';
import type { ObjectReader } from './objects-view.ts';

/** Kubernetes itself is tested with 150,000 pods, and with 10,000 namespaces. */
const MAX_PODS = 200_000;
const MAX_NAMESPACES = 16_384;
const MAX_POLICIES = 16_384;
/** Of what is looked at in an object. */
const MAX_ENTRIES = 256;
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;

export const PODS: ObjectReader<SourcedPod> = { max: MAX_PODS, keyOf: keyOfObject, read: podOf };
export const NAMESPACES: ObjectReader<PolicyNamespace> = {
  max: MAX_NAMESPACES,
  keyOf: (object) => nameAt(fieldsOf(fieldsOf(object).metadata).name),
  read: (object) => {
    const { name, labels } = fieldsOf(fieldsOf(object).metadata);
    return { name: String(name), labels: textsOf(labels) };
  },
};
export const POLICIES: ObjectReader<NetworkPolicy> = {
  max: MAX_POLICIES,
  keyOf: keyOfObject,
  read: policyOf,
};

const MAX_SHARED = 16_384;

/** What many pods have alike is in memory once: those of a ReplicaSet have the same labels and ports. */
class Shared {
  /** By their JSON. Bounded by MAX_SHARED: then all are forgotten, which costs memory alone. */
  readonly #values = new Map<string, unknown>();

  of<T>(value: T): T {
    const key = JSON.stringify(value);
    const known = this.#values.get(key) as T | undefined;
    if (known !== undefined) return known;
    if (this.#values.size >= MAX_SHARED) this.#values.clear();
    this.#values.set(key, value);
    return value;
  }
}

const shared = new Shared();

function keyOfObject(object: unknown): string | undefined {
  const { namespace, name } = fieldsOf(fieldsOf(object).metadata);
  const parts = [nameAt(namespace), nameAt(name)];
  return parts.includes(undefined) ? undefined : parts.join('/');
}

function nameAt(value: unknown): string | undefined {
  return typeof value === 'string' && NAME.test(value) ? value : undefined;
}

/** One that has ended has no address any more, whatever its status says. */
function podOf(object: unknown): SourcedPod | 'gone' {
  const { metadata, spec, status } = fieldsOf(object);
  const { namespace, name, labels } = fieldsOf(metadata);
  const { phase, podIP, podIPs } = fieldsOf(status);
  if (phase === 'Succeeded' || phase === 'Failed') return 'gone';
  const { hostNetwork, containers, initContainers } = fieldsOf(spec);
  const ips = listOf(podIPs).map((one) => fieldsOf(one).ip);
  return {
    namespace: shared.of(String(namespace)),
    name: String(name),
    labels: shared.of(textsOf(labels)),
    addresses: addressesOf(ips.length > 0 ? ips : [podIP]),
    // Of what starts before the others only that which goes on beside them has ports.
    ports: shared.of([...listOf(containers), ...listOf(initContainers).filter(isSidecar)].flatMap(portsOf)),
    hostNetwork: hostNetwork === true,
  };
}

function isSidecar(container: unknown): boolean {
  return fieldsOf(container).restartPolicy === 'Always';
}

function portsOf(container: unknown): NamedPort[] {
  return listOf(fieldsOf(container).ports)
    .slice(0, MAX_ENTRIES)
    .flatMap((entry) => {
      const { name, containerPort: port, protocol: given = 'TCP' } = fieldsOf(entry);
      const protocol = PROTOCOLS.find((one) => one === given);
      const isPort = typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65_536;
      return typeof name === 'string' && name !== '' && isPort && protocol ? [{ name, protocol, port }] : [];
    });
}

/** The first one of each family. */
function addressesOf(texts: readonly unknown[]): IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const text of texts.slice(0, MAX_ENTRIES)) {
    const address = typeof text === 'string' ? addressOrUndefined(text) : undefined;
    if (address && !addresses.some(({ family }) => family === address.family)) addresses.push(address);
  }
  return addresses;
}

function addressOrUndefined(text: string): IpAddress | undefined {
  try {
    return parseAddress(text);
  } catch {
    return undefined;
  }
}

/** Items of a list do not say of what kind they are. */
function policyOf(object: unknown): NetworkPolicy | 'unread' {
  const { metadata, spec } = fieldsOf(object);
  const { name, namespace, annotations, labels } = fieldsOf(metadata);
  const staged = textsOf(annotations)[STAGED] ?? textsOf(labels)[STAGED];
  const read = networkPolicySchema.safeParse({
    apiVersion: POLICY_API_VERSION,
    kind: 'NetworkPolicy',
    metadata: { name, namespace, ...(staged !== undefined && { annotations: { [STAGED]: staged } }) },
    spec,
  });
  return read.success ? read.data : 'unread';
}

function textsOf(value: unknown): Readonly<Record<string, string>> {
  const pairs = Object.entries(fieldsOf(value)).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string',
  );
  return Object.fromEntries(pairs);
}
