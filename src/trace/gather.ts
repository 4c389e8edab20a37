/** What is so on this node about a flow: its pod, links, routes, who owns the other end. It changes nothing. */
import { connect } from 'node:net';
import { HostCommandError, type InNetns, runCommand } from '../host/command.ts';
import { type LinkAddresses, listAddresses } from '../host/ip.ts';
import { isNetns } from '../host/netns.ts';
import { readSysctl } from '../host/sysctl.ts';
import { formatAddress, parseAddress } from '../ip/address.ts';
import { type Endpoint, parseEndpoint } from '../ip/endpoint.ts';
import { parsePrefix, prefixContains } from '../ip/prefix.ts';
import type { PeerReport, StatusReport } from '../readmodel/reports.ts';
import type {
  Flow,
  LinkFacts,
  MemberFacts,
  NodeFacts,
  OwnerFacts,
  PodFacts,
  Role,
  RouteLookup,
  UnderlayFacts,
} from './model.ts';

/** For a TCP connection to the other agent. */
const AGENT_TIMEOUT_MS = 1000;

export interface LocalPod {
  readonly name: string;
  readonly addresses: readonly string[];
  /** Undefined: it is not known where it is. */
  readonly netns: string | undefined;
  readonly interfaceName: string;
  readonly hostInterface: string;
}

/** What the agent of this node knows. */
export interface NodeSources {
  readonly nodeName: string;
  readonly pods: () => readonly LocalPod[];
  readonly status: () => StatusReport;
  readonly peers: () => readonly PeerReport[];
  readonly ownSubnets: () => readonly string[];
  /** What is known of a node, by its name; undefined: it is no member. */
  readonly member: (name: string) => MemberFacts | undefined;
  /** Where the agent of a node takes requests. */
  readonly gossipOf: (peerId: string) => Endpoint | undefined;
}

export interface GatherOptions {
  readonly flow: Flow;
  readonly role: Role;
  /** The address that the source was given. */
  readonly given: string;
  /** The node that the other end is on, if that is another one. */
  readonly other: string | undefined;
  /** What the other end is reached by: its agent is tried too. */
  readonly triesAgent: boolean;
}

export async function gatherFacts(
  sources: NodeSources,
  { flow, role, given, other, triesAgent }: GatherOptions,
): Promise<NodeFacts> {
  const { status, ownSubnets } = sources;
  const { tun, underlay, encapsulation, datapath } = status();
  const [here, there] = role === 'destination' ? [flow.destination, given] : [given, flow.destination];
  const local = podOf(sources, here);
  const target = role === 'both' ? podOf(sources, flow.destination) : local;
  const inDevice = role === 'destination' ? tun.name : local?.hostInterface;
  const owner = ownerOf(sources, there);
  const peer = owner === 'self' ? undefined : owner;
  const links = await listAddresses();
  const [pod, route, forwards, reversePath, under] = await Promise.all([
    target === undefined
      ? null
      : podFacts(target, role === 'destination' ? flow.source : flow.destination, links),
    routeTo(flow.destination, inDevice === undefined ? {} : { from: flow.source, iif: inDevice }),
    forwardsBy(flow.family, inDevice),
    strictReversePath(flow, inDevice),
    peer === undefined ? null : underlayFacts(sources, peer, underlay.interface, links, triesAgent),
  ]);
  return {
    ...{ pod, route, forwards, reversePath, underlay: under },
    tun: linkOf(links, tun.name),
    isActive: datapath.active,
    stuckWorkers: datapath.stuckWorkers,
    isEncrypted: encapsulation.encrypted,
    tunnelPort: encapsulation.port,
    ownSubnets: ownSubnets(),
    other: (other === undefined ? undefined : sources.member(other)) ?? null,
    owner: peer === undefined ? 'self' : peer === null ? null : ownerFacts(peer),
  };
}

export function podOf({ pods }: Pick<NodeSources, 'pods'>, address: string): LocalPod | undefined {
  return pods().find((pod) => pod.addresses.some((one) => one.split('/')[0] === address));
}

/** Who has it, by the longest prefix; null: nobody. */
export function ownerOf(
  { peers, ownSubnets }: Pick<NodeSources, 'peers' | 'ownSubnets'>,
  text: string,
): PeerReport | 'self' | null {
  const address = parseAddress(text);
  let [found, length]: [PeerReport | 'self' | null, number] = [null, -1];
  const consider = (owner: PeerReport | 'self', subnets: readonly string[]) => {
    for (const prefix of subnets.map(parsePrefix)) {
      if (prefix.length > length && prefixContains(prefix, address)) [found, length] = [owner, prefix.length];
    }
  };
  consider('self', ownSubnets());
  for (const peer of peers()) consider(peer, peer.subnets);
  return found;
}

function ownerFacts(peer: PeerReport): OwnerFacts {
  return {
    ...{ name: peer.name, kind: peer.kind, status: peer.status, endpoint: peer.endpoint },
    pathMtu: peer.mtu ?? null,
    hasSession: peer.sessionAgeSeconds !== undefined,
    unreachable: peer.unreachable ?? null,
  };
}

async function podFacts(pod: LocalPod, other: string, links: readonly LinkAddresses[]): Promise<PodFacts> {
  const { name, netns, interfaceName, hostInterface } = pod;
  const base = { name, attached: pod.addresses, hostEnd: linkOf(links, hostInterface) };
  if (netns === undefined || !isNetns(netns))
    return { ...base, isThere: false, inner: null, addresses: [], route: null, neighbour: null };
  const [inside, route] = await Promise.all([listAddresses({ netns }), routeTo(other, { netns })]);
  const inner = inside.find(({ ifname }) => ifname === interfaceName);
  const addresses = inside.flatMap(({ addresses: some }) => some.map(({ local }) => local));
  const next = route.isFound ? (route.gateway ?? other) : undefined;
  const neighbour = next === undefined ? null : await neighbourState(next, interfaceName, { netns });
  return {
    ...base,
    isThere: true,
    inner: inner === undefined ? null : factsOf(inner),
    addresses,
    route,
    neighbour,
  };
}

async function underlayFacts(
  { gossipOf }: NodeSources,
  peer: PeerReport | null,
  interfaceName: string,
  links: readonly LinkAddresses[],
  triesAgent: boolean,
): Promise<UnderlayFacts> {
  const link = linkOf(links, interfaceName);
  if (peer === null || peer.endpoint === '') return { link, route: null, neighbour: null, agent: null };
  const address = formatAddress(parseEndpoint(peer.endpoint).address);
  const gossip = triesAgent ? gossipOf(peer.id) : undefined;
  const [route, agent] = await Promise.all([
    routeTo(address, {}),
    gossip === undefined ? null : tryAgent(gossip),
  ]);
  const next = route.isFound ? (route.gateway ?? address) : address;
  return { link, route, neighbour: route.isFound ? await neighbourState(next, route.device) : null, agent };
}

/** `ip route get`, with the kernel's own reasons. */
export async function routeTo(
  to: string,
  { from, iif, netns }: InNetns & { readonly from?: string; readonly iif?: string },
): Promise<RouteLookup> {
  const words = [...(from === undefined ? [] : ['from', from]), ...(iif === undefined ? [] : ['iif', iif])];
  try {
    const output = await runCommand(['ip', '-json', 'route', 'get', to, ...words], { netns });
    const [route] = JSON.parse(output || '[]') as {
      dev?: string;
      gateway?: string;
      prefsrc?: string;
      type?: string;
    }[];
    if (route?.dev === undefined) return { isFound: false, problem: 'other', text: 'ip says nothing' };
    if (route.type !== undefined && PROBLEM_TYPES[route.type] !== undefined)
      return { isFound: false, problem: PROBLEM_TYPES[route.type]!, text: route.type };
    return {
      ...{ isFound: true, isLocal: route.type === 'local', device: route.dev },
      ...(route.gateway !== undefined && { gateway: route.gateway }),
      ...(route.prefsrc !== undefined && { source: route.prefsrc }),
    };
  } catch (error) {
    if (!(error instanceof HostCommandError)) throw error;
    const text = error.stderr.replace(/^RTNETLINK answers: /, '').trim();
    // Of what comes in, newer kernels say no more than that; of what they send themselves they say why.
    if (iif !== undefined && /Invalid argument/.test(text)) {
      const plain = await routeTo(to, { netns });
      return plain.isFound ? { isFound: false, problem: 'other', text } : plain;
    }
    return {
      isFound: false,
      problem: PROBLEMS.find(([pattern]) => pattern.test(text))?.[1] ?? 'other',
      text,
    };
  }
}

/** Of IPv6, which are found. */
const PROBLEM_TYPES: Readonly<Record<string, Extract<RouteLookup, { isFound: false }>['problem']>> = {
  unreachable: 'unreachable',
  blackhole: 'blackhole',
  prohibit: 'prohibited',
};
const PROBLEMS = [
  [/Network is unreachable/, 'no-route'],
  [/No route to host/, 'unreachable'],
  [/Invalid cross-device link/, 'reverse-path'],
  [/Permission denied/, 'prohibited'],
  [/Invalid argument/, 'blackhole'],
] as const;

async function neighbourState(address: string, device: string, where: InNetns = {}): Promise<string | null> {
  try {
    const output = await runCommand(['ip', '-json', 'neighbour', 'show', address, 'dev', device], where);
    const [found] = JSON.parse(output || '[]') as { state?: string[] }[];
    const state = found?.state?.[0] ?? null;
    // It has been asked, for as long as the trace went on, and has not answered.
    return state === 'INCOMPLETE' ? 'FAILED' : state;
  } catch (error) {
    if (error instanceof HostCommandError) return null;
    throw error;
  }
}

/** As net.ipv4.conf.IN.rp_filter has it: the larger one of that and of `all` counts, and 1 is strict. */
async function strictReversePath(flow: Flow, device: string | undefined): Promise<NodeFacts['reversePath']> {
  if (flow.family === 6 || device === undefined) return null;
  const modes = await Promise.all(
    (['all', device] as const).map((one) => readSysctl(`net/ipv4/conf/${one}/rp_filter`)),
  );
  if (Math.max(...modes.map((mode) => Number(mode ?? 0))) !== 1) return null;
  const back = await routeTo(flow.source, {});
  return { in: device, back: back.isFound ? back.device : null };
}

async function forwardsBy(family: 4 | 6, device: string | undefined): Promise<boolean> {
  if (device === undefined) return true;
  const name =
    family === 4 ? (`net/ipv4/conf/${device}/forwarding` as const) : 'net/ipv6/conf/all/forwarding';
  return (await readSysctl(name)) !== '0';
}

function linkOf(links: readonly LinkAddresses[], name: string): LinkFacts | null {
  const found = links.find(({ ifname }) => ifname === name);
  return found === undefined ? null : factsOf(found);
}

function factsOf({ ifname, flags, mtu }: LinkAddresses): LinkFacts {
  return { name: ifname, isUp: flags.includes('UP'), hasCarrier: flags.includes('LOWER_UP'), mtu };
}

/** Whether an agent takes connections there: a host that is up says at once that nobody does. */
function tryAgent({ address, port }: Endpoint): Promise<UnderlayFacts['agent']> {
  return new Promise((resolve) => {
    const socket = connect({ host: formatAddress(address), port });
    const settle = (what: UnderlayFacts['agent']) => {
      socket.destroy();
      resolve(what);
    };
    socket.setTimeout(AGENT_TIMEOUT_MS, () => settle('silent'));
    socket.once('connect', () => settle('open'));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      settle(code === 'ECONNREFUSED' ? 'refused' : 'unreachable'),
    );
  });
}
