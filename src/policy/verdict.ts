/**
 * Why a packet is let through or not, from the documents and from the rules that are made of them: at each end the policies that
 * select the pod, the rule that lets it through, and where none does what each lacks. Pure.
 */
import { formatAddress, type IpAddress, sameAddress } from '../ip/address.ts';
import { prefixContains } from '../ip/prefix.ts';
import { parseCidr } from './cidr.ts';
import { compilePolicies, DEFAULT_NAMESPACE, isStaged, type PolicyInput, policyKey } from './compile.ts';
import type { Direction, Protocol, Rule, RuleModel, Tier } from './model.ts';
import { Population } from './population.ts';
import type { LabelSelector, NetworkPolicy, PolicyPeer, PolicyPort } from './schema.ts';
import { selects } from './selector.ts';
import type { SourcedPod } from './source.ts';

export interface AskedPacket {
  /** Undefined: ICMP. */
  readonly protocol: Protocol | undefined;
  /** 0 of ICMP. */
  readonly port: number;
}

/** One end of what is asked: a pod, or an address that is no pod's. */
export interface AskedEnd {
  readonly pod: SourcedPod | undefined;
  readonly address: IpAddress;
}

/** A rule that does not let it through, and what it lacks. */
export interface Lack {
  /** `shop/web ingress[0]`. */
  readonly rule: string;
  readonly why: string;
}

export interface EndVerdict {
  readonly direction: Direction;
  /** `namespace/name` of the pod whose rules these are. */
  readonly pod: string;
  readonly verdict: 'allowed' | 'denied';
  /** Those that select the pod in this direction, each with the selector that does. */
  readonly policies: readonly { readonly policy: string; readonly selector: string }[];
  /** The rule that lets it through, and the peer of it that means the other end. */
  readonly by?: { readonly rule: string; readonly peer: string };
  /** Where none does. */
  readonly lacks?: readonly Lack[];
  /** If staged policies were in force: absent where none selects the pod. */
  readonly staged?: {
    readonly verdict: 'allowed' | 'denied';
    readonly policies: readonly string[];
  };
}

/** What one end's rules say of it. */
export function explainEnd(
  input: PolicyInput,
  direction: Direction,
  own: AskedEnd & { readonly pod: SourcedPod },
  other: AskedEnd,
  packet: AskedPacket,
): EndVerdict {
  const model = compilePolicies(input, [{ interfaceName: 'asked', pod: own.pod }]);
  const rules = model.attachments[0];
  const inForce = decide(model, rules?.[direction] ?? [], other.address, packet);
  const trial = rules?.staged[direction] ?? [];
  const policies = selecting(input.policies, own.pod, direction).filter((one) => !isStaged(one));
  const explainer = new Explainer(input, direction, other);
  return {
    direction,
    pod: `${own.pod.namespace}/${own.pod.name}`,
    verdict: inForce.verdict,
    policies: policies.map((policy) => ({
      policy: policyKey(policy),
      selector: selectorText(policy.spec?.podSelector ?? {}),
    })),
    ...(inForce.rule && { by: { rule: inForce.rule.source, peer: explainer.peerOf(inForce.rule.source) } }),
    ...(inForce.verdict === 'denied' && { lacks: policies.flatMap((policy) => explainer.lacks(policy)) }),
    ...(trial.length > 0 && {
      staged: {
        verdict: decide(model, trial, other.address, packet).verdict,
        policies: trial.flatMap((tier) => tier.policies),
      },
    }),
  };
}

function decide(
  model: RuleModel,
  tiers: readonly Tier[],
  other: IpAddress,
  packet: AskedPacket,
): { readonly verdict: 'allowed' | 'denied'; readonly rule?: Rule } {
  for (const { rules, otherwise } of tiers) {
    const rule = rules.find((one) => matches(model, one, other, packet));
    const action = rule?.action ?? otherwise;
    if (action === 'pass') continue;
    return { verdict: action === 'allow' ? 'allowed' : 'denied', ...(rule && { rule }) };
  }
  return { verdict: 'allowed' };
}

function matches(
  { podSets, blockSets }: RuleModel,
  { peer, ports }: Rule,
  other: IpAddress,
  { protocol, port }: AskedPacket,
): boolean {
  const isPort =
    ports === 'any' ||
    ports.some((one) => one.protocol === protocol && port >= one.first && port <= one.last);
  if (!isPort) return false;
  if (peer.kind === 'any') return true;
  return peer.kind === 'pods'
    ? podSets.get(peer.set)!.some((address) => sameAddress(address, other))
    : blockSets.get(peer.set)!.some((prefix) => prefixContains(prefix, other));
}

function selecting(
  policies: readonly NetworkPolicy[],
  pod: SourcedPod,
  direction: Direction,
): NetworkPolicy[] {
  return policies.filter(({ metadata, spec = {} }) => {
    const types = spec.policyTypes ?? [];
    const isOf =
      types.length === 0
        ? direction === 'ingress' || (spec.egress ?? []).length > 0
        : types.includes(direction === 'ingress' ? 'Ingress' : 'Egress');
    return (
      isOf &&
      (metadata.namespace ?? DEFAULT_NAMESPACE) === pod.namespace &&
      selects(spec.podSelector ?? {}, pod.labels)
    );
  });
}

/** Says of rules as they are written what they mean for one packet. */
class Explainer {
  readonly #input: PolicyInput;
  readonly #direction: Direction;
  readonly #other: AskedEnd;
  readonly #population: Population;

  constructor(input: PolicyInput, direction: Direction, other: AskedEnd) {
    this.#input = input;
    this.#direction = direction;
    this.#other = other;
    this.#population = new Population(input.pods, input.namespaces);
  }

  /** How the rule of this source says that it means the other end. */
  peerOf(source: string): string {
    for (const policy of this.#input.policies)
      for (const { name, peers } of this.#rules(policy)) {
        if (name !== source) continue;
        const found = peers.find((peer) => this.#means(peer, policy));
        return found === undefined ? 'anybody' : peerText(found);
      }
    return 'anybody';
  }

  lacks(policy: NetworkPolicy): Lack[] {
    const rules = this.#rules(policy);
    if (rules.length === 0) {
      return [
        { rule: `${policyKey(policy)} ${this.#direction}`, why: 'it has no rule that lets anything through' },
      ];
    }
    return rules.map(({ name, peers, ports }) => {
      const isPeer = peers.length === 0 || peers.some((peer) => this.#means(peer, policy));
      const why = isPeer
        ? `it is about ${ports.map(portText).join(', ') || 'other ports'}`
        : `${this.#otherText()} is not ${peers.map(peerText).join(', nor ')}`;
      return { rule: name, why };
    });
  }

  #rules(policy: NetworkPolicy) {
    const rules =
      this.#direction === 'ingress'
        ? (policy.spec?.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }))
        : (policy.spec?.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }));
    return rules.map((rule, i) => ({ ...rule, name: `${policyKey(policy)} ${this.#direction}[${i}]` }));
  }

  #means(peer: PolicyPeer, policy: NetworkPolicy): boolean {
    const { address, pod } = this.#other;
    if (peer.ipBlock !== undefined) {
      const { cidr, except = [] } = peer.ipBlock;
      const isIn = (text: string) => prefixContains(parseCidr(text), address);
      return isIn(cidr) && !except.some(isIn);
    }
    const namespace = policy.metadata.namespace ?? DEFAULT_NAMESPACE;
    return pod !== undefined && this.#population.select(peer, namespace).includes(pod);
  }

  #otherText(): string {
    const { pod, address } = this.#other;
    if (pod === undefined) return formatAddress(address);
    const labels = Object.entries(pod.labels).map(([key, value]) => `${key}=${value}`);
    return `${pod.namespace}/${pod.name} (${labels.join(', ') || 'no labels'})`;
  }
}

export function selectorText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const parts = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(({ key, operator, values = [] }) =>
      [key, operator, ...(values.length > 0 ? [`(${values.join(', ')})`] : [])].join(' '),
    ),
  ];
  return parts.join(', ') || 'all pods';
}

function peerText({ podSelector, namespaceSelector, ipBlock }: PolicyPeer): string {
  if (ipBlock !== undefined) {
    const { cidr, except = [] } = ipBlock;
    return except.length === 0 ? cidr : `${cidr} without ${except.join(', ')}`;
  }
  const pods = podSelector === undefined ? 'all pods' : selectorText(podSelector);
  if (namespaceSelector === undefined) return pods;
  const text = selectorText(namespaceSelector);
  return `${pods} in ${text === 'all pods' ? 'all namespaces' : `namespaces with ${text}`}`;
}

function portText({ protocol = 'TCP', port, endPort }: PolicyPort): string {
  if (port === undefined) return protocol;
  return `${protocol} ${port}${endPort === undefined ? '' : `-${endPort}`}`;
}
