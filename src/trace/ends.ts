/** Who is meant by the two ends of a trace, as people write them. Pure. */
import { WarrenError } from '../errors.ts';
import { type Family, formatAddress, parseAddress } from '../ip/address.ts';
import { parsePrefix, prefixContains } from '../ip/prefix.ts';
import type { TraceEnd } from './model.ts';

export interface KnownWorld {
  readonly nodeName: string;
  /** Of all nodes, this one's first. */
  readonly pods: readonly {
    readonly node: string;
    readonly name: string;
    readonly addresses: readonly string[];
  }[];
  /** This node first. `addresses`: its own in the overlay. */
  readonly nodes: readonly {
    readonly name: string;
    readonly subnets: readonly string[];
    readonly addresses: readonly string[];
  }[];
}

interface Found extends Omit<TraceEnd, 'address'> {
  readonly addresses: readonly string[];
}

/** `from` and `to` in one family: IPv4 where both have it. Throws POD_UNKNOWN, MEMBER_UNKNOWN, TRACE_AMBIGUOUS, TRACE_FAMILIES. */
export function resolveEnds(from: string, to: string, world: KnownWorld): { from: TraceEnd; to: TraceEnd } {
  const [source, destination] = [endOf(from, world), endOf(to, world)];
  for (const family of [4, 6] as const) {
    const [a, b] = [source, destination].map(({ addresses }) =>
      addresses.find((one) => familyOf(one) === family),
    );
    if (a !== undefined && b !== undefined)
      return { from: withAddress(source, a), to: withAddress(destination, b) };
  }
  throw new WarrenError('TRACE_FAMILIES', `${from} and ${to} have no addresses of one family`, {
    hint: 'See `warren pods --all`.',
  });
}

function withAddress({ addresses: _, ...end }: Found, address: string): TraceEnd {
  return { ...end, address };
}

function endOf(text: string, world: KnownWorld): Found {
  const node = /^node:(.+)$/.exec(text)?.[1];
  if (node !== undefined) return nodeEnd(node, world);
  const address = addressOf(text);
  return address === undefined ? podEnd(text, world) : addressEnd(address, world);
}

function nodeEnd(wanted: string, { nodes }: KnownWorld): Found {
  const found = nodes.find(({ name }) => name === wanted);
  if (found === undefined)
    throw new WarrenError('MEMBER_UNKNOWN', `there is no node "${wanted}"`, { hint: 'See `warren peers`.' });
  if (found.addresses.length === 0)
    throw new WarrenError(
      'MEMBER_UNKNOWN',
      `the node ${wanted} has no subnet, and so no address in the overlay`,
      {
        hint: 'See `warren peers`.',
      },
    );
  return { name: `node:${found.name}`, node: found.name, isAttached: true, addresses: found.addresses };
}

/** `NAME`, `NAME.NODE`, or as captures have it `NODE/NAME`; names of pods and nodes may have dots. */
function podEnd(wanted: string, { nodeName, pods }: KnownWorld): Found {
  const all = pods.filter(
    ({ name, node }) => name === wanted || `${name}.${node}` === wanted || `${node}/${name}` === wanted,
  );
  // The one here is meant where only its name is said.
  const here = all.filter(({ node }) => node === nodeName);
  const found = here.length > 0 ? here : all;
  const [first, second] = found;
  if (first === undefined)
    throw new WarrenError('POD_UNKNOWN', `there is no pod "${wanted}" on any node`, {
      hint: 'See `warren pods --all`; a node is `node:NAME`.',
    });
  if (second !== undefined)
    throw new WarrenError(
      'TRACE_AMBIGUOUS',
      `several pods are called "${wanted}": ${found.map(({ name, node, addresses }) => `${name}.${node} (${addresses[0]})`).join(', ')}`,
      { hint: 'Write NAME.NODE, or an address.' },
    );
  return {
    name: `${first.name}.${first.node}`,
    node: first.node,
    isAttached: true,
    addresses: first.addresses.map(bare),
  };
}

function addressEnd(address: string, { pods, nodes }: KnownWorld): Found {
  const pod = pods.find(({ addresses }) => addresses.map(bare).includes(address));
  if (pod !== undefined)
    return { name: `${pod.name}.${pod.node}`, node: pod.node, isAttached: true, addresses: [address] };
  const itself = nodes.find(({ addresses }) => addresses.includes(address));
  if (itself !== undefined)
    return { name: `node:${itself.name}`, node: itself.name, isAttached: true, addresses: [address] };
  return { name: address, node: ownerOf(address, nodes), isAttached: false, addresses: [address] };
}

/** By the longest prefix. */
function ownerOf(text: string, nodes: KnownWorld['nodes']): string | null {
  const address = parseAddress(text);
  let [found, length]: [string | null, number] = [null, -1];
  for (const { name, subnets } of nodes) {
    for (const prefix of subnets.map(parsePrefix)) {
      if (prefix.length > length && prefixContains(prefix, address)) [found, length] = [name, prefix.length];
    }
  }
  return found;
}

function addressOf(text: string): string | undefined {
  try {
    return formatAddress(parseAddress(text));
  } catch {
    return undefined;
  }
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

function bare(address: string): string {
  return address.split('/')[0]!;
}
