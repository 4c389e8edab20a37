/**
 * From pods, namespaces and NetworkPolicy documents to the rules of this node's attachments (`model.ts`). Pure: the same
 * input gives the same model, and nothing is remembered between two calls.
 *
 * Each selector is asked once for each pod in its namespaces, however many policies and attachments share it, and only
 * selectors of policies that select an attachment of this node are asked at all.
 *
 * Choices where the API leaves one:
 * - Pods in the host's network share their node's addresses, so no selector means them, neither as the pods of a policy nor
 *   as peers. An ipBlock with the node's addresses does.
 * - A named port of an egress rule is the destination pod's, so such a rule allows destinations that are pods and nothing else.
 * - A pod whose namespace is not known (yet) is in none that a namespaceSelector selects: that closes, and never opens.
 */
import type { IpAddress } from '../ip/address.ts';
import { formatPrefix, type Prefix, prefixContains } from '../ip/prefix.ts';
import { parseCidr, without } from './cidr.ts';
import type { Direction, PortRange, Rule, RuleModel, RulePeer, Tier } from './model.ts';
import type { PolicyNamespace, PolicyPod } from './pods.ts';
import { byNamespaceOf, Population } from './population.ts';
import type { NetworkPolicy, PolicyPeer, PolicyPort } from './schema.ts';
import { selectorKey, selects } from './selector.ts';

export interface PolicyInput {
  /** Of the whole cluster, this node's included. Pods that have ended are to be left out: their addresses are others' soon. */
  readonly pods: readonly PolicyPod[];
  readonly namespaces: readonly PolicyNamespace[];
  readonly policies: readonly NetworkPolicy[];
}

export interface LocalAttachment {
  readonly interfaceName: string;
  readonly pod: PolicyPod;
}

/** Namespace of a document that names none. */
export const DEFAULT_NAMESPACE = 'default';
const ALL_PORTS = { first: 0, last: 65_535 } as const;
const ANY: RulePeer = { kind: 'any' };
const TIER_NAME = 'network-policy';
export const STAGED = 'warren.io/staged';

export function compilePolicies(input: PolicyInput, local: readonly LocalAttachment[]): RuleModel {
  const steps = compileInSteps(input, local);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same with a pause after each policy, for whoever has other work besides. */
export function* compileInSteps(
  input: PolicyInput,
  local: readonly LocalAttachment[],
): Generator<void, RuleModel> {
  const compiler = new Compiler(input);
  const found = new Map<LocalAttachment, Record<Direction, Collected>>();
  const byNamespace = byNamespaceOf(
    local.filter(({ pod }) => !pod.hostNetwork),
    ({ pod }) => pod.namespace,
  );
  for (const policy of input.policies) {
    const selector = policy.spec?.podSelector ?? {};
    const selected = (byNamespace.get(namespaceOf(policy)) ?? []).filter(({ pod }) =>
      selects(selector, pod.labels),
    );
    if (selected.length === 0) continue;
    const staged = isStaged(policy);
    for (const direction of directionsOf(policy)) {
      const rulesOf = compiler.rulesOf(policy, direction);
      for (const attachment of selected) {
        const own = found.get(attachment) ?? { ingress: new Collected(), egress: new Collected() };
        found.set(attachment, own);
        own[direction].add(policyKey(policy), rulesOf(attachment.pod), staged);
      }
    }
    yield;
  }
  return {
    attachments: [...found].map(([{ interfaceName }, { ingress, egress }]) => ({
      interfaceName,
      ...{ ingress: ingress.inForce(), egress: egress.inForce() },
      staged: { ingress: ingress.onTrial(), egress: egress.onTrial() },
    })),
    podSets: compiler.podSets,
    blockSets: compiler.blockSets,
  };
}

/** What the policies of one attachment and direction come to. */
class Collected {
  readonly #rules: Rule[] = [];
  readonly #policies: string[] = [];
  readonly #stagedRules: Rule[] = [];
  readonly #stagedPolicies: string[] = [];

  add(policy: string, rules: readonly Rule[], staged: boolean): void {
    (staged ? this.#stagedPolicies : this.#policies).push(policy);
    (staged ? this.#stagedRules : this.#rules).push(...rules);
  }

  inForce(): readonly Tier[] {
    return tiers(this.#policies, this.#rules);
  }

  onTrial(): readonly Tier[] {
    return tiers(this.#stagedPolicies, [...this.#rules, ...this.#stagedRules]);
  }
}

/** `policyTypes`, or what stands for it: ingress always, egress where there is a rule of it. */
function directionsOf({ spec = {} }: NetworkPolicy): Direction[] {
  const { policyTypes = [], egress = [] } = spec;
  if (policyTypes.length === 0) return egress.length > 0 ? ['ingress', 'egress'] : ['ingress'];
  const found: Direction[] = policyTypes.map((type) => (type === 'Ingress' ? 'ingress' : 'egress'));
  return [...new Set(found)];
}

/** Without policies no policy selects the pod in this direction. Without rules nothing is let through. */
function tiers(policies: readonly string[], rules: readonly Rule[]): readonly Tier[] {
  return policies.length === 0 ? [] : [{ name: TIER_NAME, rules, otherwise: 'deny', policies }];
}

export function namespaceOf({ metadata }: NetworkPolicy): string {
  return metadata.namespace ?? DEFAULT_NAMESPACE;
}

/** How it is called in commands, comments of rules and counters. */
export function policyKey(policy: NetworkPolicy): string {
  return `${namespaceOf(policy)}/${policy.metadata.name}`;
}

/** It is counted what it would deny, and it is not in force: annotation or label `warren.io/staged: "true"`. */
export function isStaged({ metadata }: NetworkPolicy): boolean {
  return metadata.annotations?.[STAGED] === 'true' || metadata.labels?.[STAGED] === 'true';
}

class Compiler {
  /** Bounded by the different peers of the policies. */
  readonly podSets = new Map<string, readonly IpAddress[]>();
  readonly blockSets = new Map<string, readonly Prefix[]>();
  readonly #population: Population;
  /** Peers of egress rules with named ports. Bounded as the sets are. */
  readonly #named = new Map<string, [RulePeer, PortRange][]>();

  constructor({ pods, namespaces }: PolicyInput) {
    this.#population = new Population(pods, namespaces);
  }

  /** The rules of one direction, for each pod that the policy selects: ports of ingress may be names of its own. */
  rulesOf(policy: NetworkPolicy, direction: Direction): (pod: PolicyPod) => Rule[] {
    const namespace = namespaceOf(policy);
    const isIngress = direction === 'ingress';
    const given = isIngress
      ? (policy.spec?.ingress ?? []).map(({ from = [], ports = [] }) => ({ peers: from, ports }))
      : (policy.spec?.egress ?? []).map(({ to = [], ports = [] }) => ({ peers: to, ports }));
    const parts = given.map(({ peers, ports }, i): ((pod: PolicyPod) => Rule[]) => {
      const source = `${namespace}/${policy.metadata.name} ${direction}[${i}]`;
      const allow = (peer: RulePeer, allowed: Rule['ports']): Rule => ({
        action: 'allow',
        peer,
        ports: allowed,
        source,
      });
      const others = peers.length === 0 ? [ANY] : peers.map((peer) => this.#peer(peer, namespace));
      const named = ports.filter(({ port }) => typeof port === 'string');
      const numbered = ports.filter(({ port }) => typeof port !== 'string').map(rangeOf);
      const everywhere = ports.length === 0 ? ('any' as const) : numbered;
      const fixed =
        everywhere === 'any' || everywhere.length > 0 ? others.map((one) => allow(one, everywhere)) : [];
      if (named.length === 0) return () => fixed;
      if (!isIngress) {
        const byName = named.flatMap((port) =>
          (peers.length === 0 ? [undefined] : peers).flatMap((peer) =>
            this.#namedPeers(peer, namespace, port).map(([one, range]) => allow(one, [range])),
          ),
        );
        return () => [...fixed, ...byName];
      }
      return (pod) => {
        const ranges = [...numbered, ...named.flatMap((port) => namedRanges(pod, port))];
        return ranges.length === 0 ? [] : others.map((one) => allow(one, ranges));
      };
    });
    return (pod) => parts.flatMap((part) => part(pod));
  }

  #peer(peer: PolicyPeer, namespace: string): RulePeer {
    if (peer.ipBlock !== undefined) {
      const prefixes = blockOf(peer.ipBlock);
      const set = prefixes.map(formatPrefix).join(' ');
      this.blockSets.set(set, prefixes);
      return { kind: 'block', set };
    }
    const set = peerKey(peer, namespace);
    if (!this.podSets.has(set)) {
      const pods = this.#population.select(peer, namespace);
      this.podSets.set(
        set,
        pods.flatMap(({ addresses }) => addresses),
      );
    }
    return { kind: 'pods', set };
  }

  /** The pods of `peer` (undefined: all) that have a port of this name, by what number it is. */
  #namedPeers(peer: PolicyPeer | undefined, namespace: string, port: PolicyPort): [RulePeer, PortRange][] {
    const block = peer?.ipBlock && blockOf(peer.ipBlock);
    const whose =
      peer === undefined ? 'all' : block ? block.map(formatPrefix).join(' ') : peerKey(peer, namespace);
    const base = `${whose} with ${port.protocol ?? 'TCP'} ${port.port}`;
    const known = this.#named.get(base);
    if (known !== undefined) return known;
    const pods =
      peer === undefined || block !== undefined
        ? this.#population.everyone
        : this.#population.select(peer, namespace);
    const byNumber = new Map<number, [PortRange, IpAddress[]]>();
    for (const pod of pods) {
      const ranges = namedRanges(pod, port);
      if (ranges.length === 0) continue;
      const addresses = block
        ? pod.addresses.filter((address) => block.some((prefix) => prefixContains(prefix, address)))
        : pod.addresses;
      if (addresses.length === 0) continue;
      for (const range of ranges) {
        const [, found] = byNumber.get(range.first) ?? [range, []];
        byNumber.set(range.first, [range, found]);
        found.push(...addresses);
      }
    }
    const peers = [...byNumber.values()].map(([range, addresses]): [RulePeer, PortRange] => {
      const set = `${base} ${range.first}`;
      this.podSets.set(set, addresses);
      return [{ kind: 'pods', set }, range];
    });
    this.#named.set(base, peers);
    return peers;
  }
}

type Block = NonNullable<PolicyPeer['ipBlock']>;
/** What a block comes to: it is compiled again and again as long as its document is there. */
const BLOCKS = new WeakMap<Block, Prefix[]>();

function blockOf(block: Block): Prefix[] {
  const known = BLOCKS.get(block) ?? without(parseCidr(block.cidr), (block.except ?? []).map(parseCidr));
  BLOCKS.set(block, known);
  return known;
}

/** The same for peers that mean the same pods, whatever policy they stand in. */
function peerKey({ podSelector, namespaceSelector }: PolicyPeer, namespace: string): string {
  const where = namespaceSelector === undefined ? namespace : selectorKey(namespaceSelector);
  return `${where} ${selectorKey(podSelector ?? {})}`;
}

function rangeOf({ protocol = 'TCP', port, endPort }: PolicyPort): PortRange {
  if (typeof port !== 'number') return { protocol, ...ALL_PORTS };
  return { protocol, first: port, last: endPort ?? port };
}

/** What ports of `pod` have the name that `wanted` says: more than one, if its containers share the name. */
function namedRanges(pod: PolicyPod, { protocol = 'TCP', port: name }: PolicyPort): PortRange[] {
  return pod.ports
    .filter((one) => one.name === name && one.protocol === protocol)
    .map(({ port }) => ({ protocol, first: port, last: port }));
}
