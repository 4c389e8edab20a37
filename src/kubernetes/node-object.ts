/**
 * What of a Node object matters here. All of it is data from elsewhere: names are held to the rule of Kubernetes itself
 * (RFC 1123), addresses and prefixes are parsed, lists are cut off, and whatever else is in the object is let go at once, for
 * a Node takes 5 to 50 kB and there are thousands of them.
 */
import { type IpAddress, parseAddress } from '../ip/address.ts';
import { type Prefix, parsePrefix } from '../ip/prefix.ts';
import { KUBERNETES_NODE_NAME } from '../names.ts';
import { printable } from './text.ts';

export const NETWORK_UNAVAILABLE = 'NetworkUnavailable';

export interface NodeState {
  readonly name: string;
  /** Its InternalIPs, at most MAX_ADDRESSES. */
  readonly addresses: readonly IpAddress[];
  /** At most one of each family; empty: it has none yet, or none that can be read. */
  readonly podCidrs: readonly Prefix[];
  /** Its condition of that name; undefined: it has none. */
  readonly networkUnavailable?: { readonly status: string; readonly reason: string } | undefined;
}

const MAX_ADDRESSES = 4;
/** Of what is looked at in a list of the object. */
const MAX_ENTRIES = 64;

type Fields = Readonly<Record<string, unknown>>;

/** Undefined for what is no Node with a name that one can have. */
export function nodeState(object: unknown): NodeState | undefined {
  const node = fieldsOf(object);
  const { name } = fieldsOf(node.metadata);
  if (typeof name !== 'string' || !KUBERNETES_NODE_NAME.test(name)) return undefined;
  const status = fieldsOf(node.status);
  return {
    name,
    addresses: internalAddresses(status.addresses),
    podCidrs: podCidrsOf(fieldsOf(node.spec)),
    networkUnavailable: conditionOf(status.conditions),
  };
}

/** The version of what was listed or changed: opaque, and passed back as it is. */
export function resourceVersionOf(object: unknown): string | undefined {
  const { resourceVersion } = fieldsOf(fieldsOf(object).metadata);
  return typeof resourceVersion === 'string' && /^[\x21-\x7e]{1,128}$/.test(resourceVersion)
    ? resourceVersion
    : undefined;
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function internalAddresses(value: unknown): IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const entry of listOf(value).slice(0, MAX_ENTRIES)) {
    const { type, address } = fieldsOf(entry);
    if (type !== 'InternalIP' || typeof address !== 'string' || addresses.length === MAX_ADDRESSES) continue;
    const parsed = parsedOrUndefined(parseAddress, address);
    if (parsed) addresses.push(parsed);
  }
  return addresses;
}

/** All of them or none: half of a node's subnets would be another node. */
function podCidrsOf({ podCIDRs, podCIDR }: Fields): Prefix[] {
  const all = listOf(podCIDRs);
  const texts = all.length > 0 ? all : typeof podCIDR === 'string' && podCIDR !== '' ? [podCIDR] : [];
  const prefixes = texts
    .slice(0, 3)
    .map((text) => (typeof text === 'string' ? parsedOrUndefined(parsePrefix, text) : undefined));
  const read = prefixes.filter((prefix) => prefix !== undefined);
  const families = new Set(read.map(({ family }) => family));
  return read.length === prefixes.length && families.size === read.length ? read : [];
}

function conditionOf(value: unknown): NodeState['networkUnavailable'] {
  for (const entry of listOf(value).slice(0, MAX_ENTRIES)) {
    const { type, status, reason } = fieldsOf(entry);
    if (type !== NETWORK_UNAVAILABLE || typeof status !== 'string') continue;
    return { status: printable(status), reason: typeof reason === 'string' ? printable(reason) : '' };
  }
  return undefined;
}

function parsedOrUndefined<T>(parse: (text: string) => T, text: string): T | undefined {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}
