/**
 * What NetworkPolicy v1 allows, answered for one packet straight from the documents: slow, and as close as it can be to the
 * sentences of the Kubernetes API reference. It shares no code with the compiler but types.
 */
import { BlockList } from 'node:net';
import type { PolicyNamespace, PolicyPod } from '../../src/policy/pods.ts';
import type { LabelSelector, NetworkPolicy, PolicyPeer, PolicyPort } from '../../src/policy/schema.ts';

export interface ClusterPod extends PolicyPod {
  readonly name: string;
  readonly node: string;
}

export interface PolicyCluster {
  readonly pods: readonly ClusterPod[];
  readonly namespaces: readonly PolicyNamespace[];
  readonly policies: readonly NetworkPolicy[];
}

/** One end of a connection: a pod, a node itself, or, with neither, something outside of the cluster. */
export interface Endpoint {
  readonly name: string;
  readonly pod?: ClusterPod | undefined;
  readonly node?: string | undefined;
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
}

/** ICMP stands for whatever has no ports. */
export type PacketProtocol = 'TCP' | 'UDP' | 'SCTP' | 'ICMP';

export interface Question {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly family: 4 | 6;
  readonly protocol: PacketProtocol;
  readonly port: number;
}

export function oracleAllows(cluster: PolicyCluster, question: Question): boolean {
  const { from, to } = question;
  // A pod cannot block access to itself.
  if (from.name === to.name) return true;
  return egressAllows(cluster, question) && ingressAllows(cluster, question);
}

function egressAllows(cluster: PolicyCluster, question: Question): boolean {
  const policies = policiesOf(cluster, question.from.pod, 'Egress');
  if (policies.length === 0) return true;
  for (const policy of policies) {
    for (const rule of policy.spec?.egress ?? []) {
      const peerMatches =
        isEmpty(rule.to) || rule.to!.some((peer) => isPeer(cluster, policy, peer, question, 'to'));
      const portMatches = isEmpty(rule.ports) || rule.ports!.some((port) => isPort(port, question));
      if (peerMatches && portMatches) return true;
    }
  }
  return false;
}

function ingressAllows(cluster: PolicyCluster, question: Question): boolean {
  const { from, to } = question;
  const policies = policiesOf(cluster, to.pod, 'Ingress');
  if (policies.length === 0) return true;
  // "OR if the traffic source is the pod's local node"; what is in the node's network is the node.
  const isNode = from.pod === undefined ? from.node !== undefined : from.pod.hostNetwork;
  if (isNode && (from.node ?? from.pod!.node) === to.pod!.node) return true;
  for (const policy of policies) {
    for (const rule of policy.spec?.ingress ?? []) {
      const peerMatches =
        isEmpty(rule.from) || rule.from!.some((peer) => isPeer(cluster, policy, peer, question, 'from'));
      const portMatches = isEmpty(rule.ports) || rule.ports!.some((port) => isPort(port, question));
      if (peerMatches && portMatches) return true;
    }
  }
  return false;
}

function isEmpty(list: readonly unknown[] | undefined): boolean {
  return list === undefined || list.length === 0;
}

/** The policies that select `pod` and are of `type`. */
function policiesOf(
  cluster: PolicyCluster,
  pod: ClusterPod | undefined,
  type: 'Ingress' | 'Egress',
): NetworkPolicy[] {
  if (pod === undefined || pod.hostNetwork) return [];
  return cluster.policies.filter((policy) => {
    const inNamespace = (policy.metadata.namespace ?? 'default') === pod.namespace;
    if (!inNamespace || !isSelected(policy.spec?.podSelector ?? {}, pod.labels)) return false;
    const types = policy.spec?.policyTypes;
    if (types !== undefined && types.length > 0) return types.includes(type);
    return type === 'Ingress' || !isEmpty(policy.spec?.egress);
  });
}

function isPeer(
  cluster: PolicyCluster,
  policy: NetworkPolicy,
  peer: PolicyPeer,
  question: Question,
  end: 'from' | 'to',
): boolean {
  const endpoint = question[end];
  if (peer.ipBlock !== undefined) {
    const address = addressOf(endpoint, question.family);
    const { cidr, except = [] } = peer.ipBlock;
    return isInBlock(cidr, address) && !except.some((one) => isInBlock(one, address));
  }
  const { pod } = endpoint;
  if (pod === undefined || pod.hostNetwork) return false;
  if (peer.podSelector !== undefined && !isSelected(peer.podSelector, pod.labels)) return false;
  if (peer.namespaceSelector === undefined) return pod.namespace === (policy.metadata.namespace ?? 'default');
  const namespace = cluster.namespaces.find(({ name }) => name === pod.namespace);
  if (namespace === undefined) return false;
  const labels = { ...namespace.labels, 'kubernetes.io/metadata.name': namespace.name };
  return isSelected(peer.namespaceSelector, labels);
}

/** The port is the destination's in both directions; a name is looked up at the destination pod. */
function isPort(wanted: PolicyPort, { to, protocol, port }: Question): boolean {
  if (protocol !== (wanted.protocol ?? 'TCP')) return false;
  if (wanted.port === undefined) return true;
  if (typeof wanted.port === 'number') return port >= wanted.port && port <= (wanted.endPort ?? wanted.port);
  if (to.pod === undefined || to.pod.hostNetwork) return false;
  return to.pod.ports.some(
    (one) => one.name === wanted.port && one.protocol === protocol && one.port === port,
  );
}

function isSelected(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  const given = new Map(Object.entries(labels));
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => given.get(key) === value);
  const expressions = (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return given.has(key);
    if (operator === 'DoesNotExist') return !given.has(key);
    const isAmong = given.has(key) && values.includes(given.get(key)!);
    return operator === 'In' ? isAmong : !isAmong;
  });
  return equal && expressions;
}

export function addressOf({ ipv4, ipv6 }: Endpoint, family: 4 | 6): string {
  return (family === 4 ? ipv4 : ipv6)!;
}

function isInBlock(cidr: string, address: string): boolean {
  const [network, length] = cidr.split('/') as [string, string];
  const familyOf = (text: string) => (text.includes(':') ? 'ipv6' : 'ipv4');
  if (familyOf(network) !== familyOf(address)) return false;
  const block = new BlockList();
  block.addSubnet(network, Number(length), familyOf(network));
  return block.check(address, familyOf(address));
}
