/** What a rule model says of one packet, by reading `src/policy/model.ts` literally. */
import { type IpAddress, parseAddress, sameAddress } from '../../src/ip/address.ts';
import { prefixContains } from '../../src/ip/prefix.ts';
import type { LocalAttachment } from '../../src/policy/compile.ts';
import type { AttachmentRules, Rule, RuleModel, Tier } from '../../src/policy/model.ts';
import { addressOf, type Endpoint, type PolicyCluster, type Question } from './policy-oracle.ts';

/** The attachments of one node: pods in the host's network have none. */
export function attachmentsOf({ pods }: PolicyCluster, node: string): LocalAttachment[] {
  return pods
    .filter((pod) => pod.node === node && !pod.hostNetwork)
    .map((pod) => ({ interfaceName: pod.name, pod }));
}

/** `models` by node. */
export function modelAllows(models: ReadonlyMap<string, RuleModel>, question: Question): boolean {
  const { from, to, family } = question;
  if (from.name === to.name) return true;
  const source = parseAddress(addressOf(from, family));
  const destination = parseAddress(addressOf(to, family));
  const egress = rulesOf(models, from);
  if (egress && !passes(egress.model, egress.rules.egress, destination, question)) return false;
  const nodeOfSender = from.pod === undefined ? from.node : from.pod.hostNetwork ? from.pod.node : undefined;
  if (nodeOfSender !== undefined && nodeOfSender === to.pod?.node) return true;
  const ingress = rulesOf(models, to);
  return ingress === undefined || passes(ingress.model, ingress.rules.ingress, source, question);
}

function rulesOf(
  models: ReadonlyMap<string, RuleModel>,
  { pod }: Endpoint,
): { model: RuleModel; rules: AttachmentRules } | undefined {
  if (pod === undefined || pod.hostNetwork) return undefined;
  const model = models.get(pod.node)!;
  const rules = model.attachments.find(({ interfaceName }) => interfaceName === pod.name);
  return rules && { model, rules };
}

export function passes(
  model: RuleModel,
  tiers: readonly Tier[],
  other: IpAddress,
  packet: Pick<Question, 'protocol' | 'port'>,
): boolean {
  for (const { rules, otherwise } of tiers) {
    const action = rules.find((rule) => matches(model, rule, other, packet))?.action ?? otherwise;
    if (action !== 'pass') return action === 'allow';
  }
  return true;
}

function matches(
  { podSets, blockSets }: RuleModel,
  { peer, ports }: Rule,
  other: IpAddress,
  { protocol, port }: Pick<Question, 'protocol' | 'port'>,
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
