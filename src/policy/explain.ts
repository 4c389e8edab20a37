/**
 * `warren policy explain`: what the documents say of packets from one end to another, and what the kernel has done with such
 * packets, by its own counters. Each end's rules are on the node that has the pod, which is asked for what it counted.
 */
import { errorMessage, WarrenError } from '../errors.ts';
import type { PolicyRules } from '../host/rules/host-rules.ts';
import { formatAddress, type IpAddress, parseAddress, sameAddress } from '../ip/address.ts';
import { z } from '../zod.ts';
import type { CountedPackets, ExplainedEnd, ExplainReport, ExplainRequest, NamedEnd } from './commands.ts';
import { COUNTED_METHOD } from './method.ts';
import type { Direction } from './model.ts';
import { gather, type PolicySource, type SourcedPod } from './source.ts';
import { type AskedEnd, type AskedPacket, explainEnd } from './verdict.ts';

const MAX_ANSWER_RULES = 4096;
const SHORT = { ingress: 'in', egress: 'out' } as const;

const questionSchema = z.strictObject({
  pod: z.string().max(64),
  direction: z.enum(['ingress', 'egress']),
  source: z.string().max(64),
  destination: z.string().max(64),
  protocol: z.enum(['tcp', 'udp', 'icmp']),
  port: z.number().int().min(0).max(65_535),
});
type Question = z.output<typeof questionSchema>;

const lateSchema = z.object({ packets: z.number(), ageSeconds: z.number() });
const countedSchema = z.object({
  rules: z.array(z.object({ comment: z.string().max(256), packets: z.number() })).max(MAX_ANSWER_RULES),
  denied: lateSchema.optional(),
  trial: lateSchema.optional(),
});

/** Which node has an address. */
export interface AddressNode {
  readonly id: string;
  readonly name: string;
  /** It is the node itself, and no pod of it. */
  readonly isNode: boolean;
}

export interface ExplainParts {
  readonly nodeId: string;
  readonly sources: readonly PolicySource[];
  readonly rules: PolicyRules;
  readonly nodeOf: (address: IpAddress) => AddressNode | undefined;
  /** The pods of this node that have an interface. */
  readonly local: () => readonly { readonly interfaceName: string; readonly pod: SourcedPod }[];
  readonly call: (nodeId: string, method: string, body: Uint8Array) => Promise<Uint8Array[]>;
}

/** Throws POLICY_END_UNKNOWN, POLICY_END_FAMILY. */
export async function explain(request: ExplainRequest, parts: ExplainParts): Promise<ExplainReport> {
  const input = gather(parts.sources);
  const { protocol, port } = request;
  const packet: AskedPacket = {
    protocol: protocol === 'icmp' ? undefined : protocol === 'tcp' ? 'TCP' : 'UDP',
    port,
  };
  const [source, destination] = endsOf(request, input.pods);
  const [from, to] = [source, destination].map((end) => named(end, parts.nodeOf)) as [NamedEnd, NamedEnd];
  const question = {
    ...{ source: formatAddress(source.address), destination: formatAddress(destination.address) },
    ...{ protocol, port },
  };
  const ends: ExplainedEnd[] = [];
  const own = { from, to };
  for (const [direction, end, other] of [
    ['egress', source, destination],
    ['ingress', destination, source],
  ] as const) {
    const { pod } = end;
    const node = parts.nodeOf(end.address);
    if (pod === undefined) continue;
    const isOwnNode =
      direction === 'ingress' && own.from.isNode && node !== undefined && own.from.node === node.name;
    if (isOwnNode || sameAddress(source.address, destination.address)) continue;
    const verdict = explainEnd(input, direction, { ...end, pod }, other, packet);
    const counted = await ask(node, { ...question, pod: formatAddress(end.address), direction }, parts);
    ends.push({ ...verdict, node: node?.name ?? '', ...counted });
  }
  const isDenied = ends.some(({ verdict }) => verdict === 'denied');
  return { ...own, protocol, port, verdict: isDenied ? 'denied' : 'allowed', ends };
}

/** What this node's kernel has counted; for another node, or for this one's own. */
export async function counted(question: Question, parts: ExplainParts): Promise<CountedPackets> {
  const address = parseAddress(question.pod);
  const found = parts.local().find(({ pod }) => pod.addresses.some((one) => sameAddress(one, address)));
  if (found === undefined) {
    throw new WarrenError(
      'POLICY_END_UNKNOWN',
      `nothing with an interface on this node has the address ${question.pod}, so it has no rules`,
    );
  }
  const { rules } = parts;
  const lately = async (which: 'denied' | 'trial') => {
    const one = (await rules.denied(which)).find(
      ({ source, destination, protocol, port }) =>
        source === question.source &&
        destination === question.destination &&
        protocol === question.protocol &&
        port === question.port,
    );
    return one && { packets: one.packets, ageSeconds: one.ageSeconds };
  };
  const [ofRules, denied, trial] = await Promise.all([
    rules.rulesOf(found.interfaceName, SHORT[question.direction]),
    lately('denied'),
    lately('trial'),
  ]);
  return { rules: sums(ofRules), ...(denied && { denied }), ...(trial && { trial }) };
}

/** Answers another node. Throws BAD_REQUEST, POLICY_END_UNKNOWN. */
export async function answerCounted(body: Uint8Array, parts: ExplainParts): Promise<Uint8Array[]> {
  const read = questionSchema.safeParse(parsed(body));
  if (!read.success) throw new WarrenError('BAD_REQUEST', 'the question is not as it must be');
  return [Buffer.from(JSON.stringify(await counted(read.data, parts)))];
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A rule of a document is several of the kernel's: one for each family and protocol. */
function sums(rules: readonly { readonly comment: string; readonly packets: number }[]) {
  const found = new Map<string, number>();
  for (const { comment, packets } of rules) found.set(comment, (found.get(comment) ?? 0) + packets);
  return [...found].slice(0, MAX_ANSWER_RULES).map(([comment, packets]) => ({ comment, packets }));
}

async function ask(
  node: AddressNode | undefined,
  question: Question & { readonly direction: Direction },
  parts: ExplainParts,
): Promise<Pick<ExplainedEnd, 'kernel' | 'unknown'>> {
  if (node === undefined) return { unknown: 'no node is known to have it' };
  try {
    if (node.id === parts.nodeId) return { kernel: await counted(question, parts) };
    const body = Buffer.from(JSON.stringify(question));
    const answer = Buffer.concat(await parts.call(node.id, COUNTED_METHOD, body)).toString('utf8');
    return { kernel: countedSchema.parse(JSON.parse(answer)) };
  } catch (error) {
    return { unknown: errorMessage(error) };
  }
}

function named({ pod, address }: AskedEnd, nodeOf: ExplainParts['nodeOf']): NamedEnd {
  const node = nodeOf(address);
  return {
    address: formatAddress(address),
    ...(pod && { pod: `${pod.namespace}/${pod.name}` }),
    ...(node && { node: node.name }),
    ...(node?.isNode && { isNode: true as const }),
  };
}

/** Both of one family: IPv4, unless one of them has none. */
function endsOf(request: ExplainRequest, pods: readonly SourcedPod[]): [AskedEnd, AskedEnd] {
  const [source, destination] = [request.source, request.destination].map((text) => candidates(text, pods));
  for (const family of [4, 6] as const) {
    const from = source!.find(({ address }) => address.family === family);
    const to = destination!.find(({ address }) => address.family === family);
    if (from && to) return [from, to];
  }
  throw new WarrenError(
    'POLICY_END_FAMILY',
    `${request.source} and ${request.destination} have no addresses of one family`,
  );
}

function candidates(text: string, pods: readonly SourcedPod[]): AskedEnd[] {
  const address = asAddress(text);
  if (address !== undefined) {
    const pod = pods.find(({ addresses }) => addresses.some((one) => sameAddress(one, address)));
    return [{ pod, address }];
  }
  const found = pods.filter(({ namespace, name }) => text === name || text === `${namespace}/${name}`);
  const names = [...new Set(found.map(({ namespace, name }) => `${namespace}/${name}`))];
  // Two sources may know one, with another address for a moment: the first one's is newer.
  if (names.length === 1) return found[0]!.addresses.map((one) => ({ pod: found[0], address: one }));
  if (found.length === 0) {
    throw new WarrenError('POLICY_END_UNKNOWN', `there is no pod ${text}, and it is no address`, {
      hint: 'Pods are named as `warren pods --all` shows them, or NAMESPACE/NAME.',
    });
  }
  throw new WarrenError(
    'POLICY_END_UNKNOWN',
    `several pods are called ${text}: ${names.slice(0, 5).join(', ')}`,
    {
      hint: 'Say NAMESPACE/NAME, or an address.',
    },
  );
}

function asAddress(text: string): IpAddress | undefined {
  try {
    return parseAddress(text);
  } catch {
    return undefined;
  }
}
