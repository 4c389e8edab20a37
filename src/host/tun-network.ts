/**
 * Addresses and routes of the TUN device. Nothing that is right already is touched, so that connections
 * survive a restart of the agent; what is of ours and no longer wanted goes.
 *
 *     warren0      10.42.3.1/32, fd42:0:0:3::1/128             the node's own overlay addresses
 *     10.42.0.0/16 dev warren0 src 10.42.3.1                   each pod range, and prefixes beside them
 *     10.42.3.7 dev warren0 src 10.42.3.1                      a guest, which has an address of this node
 *     unreachable 10.42.3.0/24                                 own subnets: no way back into the tunnel
 *                                                              for a pod that does not exist
 */
import { addressBits, type Family, formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { formatPrefix, type Prefix, parsePrefix, prefixCovers, samePrefix } from '../ip/prefix.ts';
import type { InNetns } from './command.ts';
import { ipBatch, isMissing, type NetworkView, viewNetwork } from './ip.ts';
import { ROUTE_PROTOCOL_NUMBER } from './route-protocol.ts';
import { readSysctl, setSysctls } from './sysctl.ts';

/** As iproute2 takes it. */
export const ROUTE_PROTOCOL = String(ROUTE_PROTOCOL_NUMBER);

export interface TunNetwork {
  readonly name: string;
  /** Bytes of an inner packet. */
  readonly mtu: number;
  /** The most segments of a superpacket that this node's own TCP makes (`gso_max_segs`). */
  readonly gsoMaxSegments: number;
  /** The node's own overlay addresses, one of each family at most. */
  readonly addresses: readonly IpAddress[];
  readonly podRanges: readonly Prefix[];
  readonly ownSubnets: readonly Prefix[];
  /** Prefixes outside of the pod ranges, and within `ownSubnets`, that lead into the tunnel too: of peers that are no nodes. */
  readonly extraPrefixes: readonly Prefix[];
}

/** Makes the device called `name`, which must exist, carry exactly what `network` says. */
export async function configureTun(network: TunNetwork, where: InNetns = {}): Promise<void> {
  const { name } = network;
  await refuseRouterAdvertisements(name, where);
  if (network.extraPrefixes.some((extra) => isOfGuest(network, extra))) await sendNoRedirects(name, where);
  if (network.podRanges.some(({ family }) => family === 6)) {
    // Docker turns IPv6 off for interfaces of a container whose own network has none.
    await setSysctls([`net/ipv6/conf/${name}/disable_ipv6`], '0', where);
  }
  const hasIpv6 = (await readSysctl(`net/ipv6/conf/${name}/addr_gen_mode`, where)) !== undefined;
  const { links, routes } = await viewNetwork(ROUTE_PROTOCOL, where);
  const link = links.find(({ ifname }) => ifname === name);
  const stale = (link?.addresses ?? []).filter((info) => {
    const address = parseAddress(info.local);
    const wanted = network.addresses.some((own) => formatAddress(own) === formatAddress(address));
    return !wanted || info.prefixlen !== addressBits(address.family);
  });
  const wanted = wantedRoutes(network);
  await ipBatch(
    [
      // First, while they are there: with an address the kernel drops the routes that name it as their source.
      ...staleRoutes(network, wanted, routes),
      // No link-local address: nobody is on this link, and the kernel would send router solicitations.
      ...(hasIpv6 ? [['link', 'set', 'dev', name, 'addrgenmode', 'none']] : []),
      ['link', 'set', 'dev', name, 'mtu', String(network.mtu)],
      ['link', 'set', 'dev', name, 'gso_max_segs', String(network.gsoMaxSegments), 'up'],
      ...network.addresses.map((address) => [
        ...['address', 'replace', `${formatAddress(address)}/${addressBits(address.family)}`, 'dev', name],
        ...(address.family === 6 ? ['nodad'] : []),
      ]),
      // Only now: with a device's last IPv4 address the kernel drops all of its IPv4 routes.
      ...stale.map((info) => ['address', 'delete', `${info.local}/${info.prefixlen}`, 'dev', name]),
      ...wanted.map(({ words }) => ['route', 'replace', ...words, 'proto', ROUTE_PROTOCOL]),
    ],
    where,
  );
}

export type TunFault = 'link' | 'address' | 'route';

/** What of `network` is not there, one entry for each piece; undefined if the device itself is gone. */
export async function inspectTun(network: TunNetwork, where: InNetns = {}): Promise<TunFault[] | undefined> {
  const { name, gsoMaxSegments } = network;
  const { links, routes } = await viewNetwork(ROUTE_PROTOCOL, where);
  const link = links.find(({ ifname }) => ifname === name);
  if (!link) return undefined;
  const faults: TunFault[] = [];
  const isSized = link.mtu === network.mtu && (link.gso_max_segs ?? gsoMaxSegments) === gsoMaxSegments;
  if (!isSized || !link.flags.includes('UP')) faults.push('link');
  const present = new Set(link.addresses.map(({ local, prefixlen }) => `${local}/${prefixlen}`));
  for (const address of network.addresses) {
    if (!present.delete(`${formatAddress(address)}/${addressBits(address.family)}`)) faults.push('address');
  }
  // What is left is not ours.
  for (const _foreign of present) faults.push('address');
  for (const { prefix, kind } of wantedRoutes(network)) {
    const isThere = routes.some(
      (route) =>
        kindOf(route) === kind &&
        (kind === 'unreachable' || route.dev === name) &&
        samePrefix(destination(route), prefix),
    );
    if (!isThere) faults.push('route');
  }
  return faults;
}

/**
 * Removes the device and, inside of `podRanges`, the routes that `configureTun` made without it. Nothing
 * happens if there is none.
 */
export async function removeTun(
  name: string,
  podRanges: readonly Prefix[] = [],
  where: InNetns = {},
): Promise<void> {
  const network = {
    name,
    mtu: 0,
    gsoMaxSegments: 1,
    addresses: [],
    podRanges,
    ownSubnets: [],
    extraPrefixes: [],
  };
  const { links, routes } = await viewNetwork(ROUTE_PROTOCOL, where);
  await ipBatch(staleRoutes(network, [], routes), where);
  if (!links.some(({ ifname }) => ifname === name)) return;
  try {
    await ipBatch([['link', 'delete', 'dev', name]], where);
  } catch (error) {
    // A device that was not persistent goes when its last queue is closed.
    if (!isMissing(error)) throw error;
  }
}

/** `accept_ra=0` before the interface is up (CVE-2020-10749): no peer may become this host's router. */
export async function refuseRouterAdvertisements(name: string, where: InNetns = {}): Promise<void> {
  const setting = `net/ipv6/conf/${name}/accept_ra` as const;
  if ((await readSysctl(setting, where)) !== undefined) await setSysctls([setting], '0', where);
}

/**
 * What a guest sends to another node comes out of the device and goes into it again, and it can go no other way. The kernel sends
 * redirects where either setting says so; those of other interfaces keep their own. IPv6 sends none without a link-local address.
 */
async function sendNoRedirects(name: string, where: InNetns): Promise<void> {
  const settings = [`net/ipv4/conf/${name}/send_redirects`, 'net/ipv4/conf/all/send_redirects'] as const;
  try {
    await setSysctls(settings, '0', where);
  } catch {
    // In a container that may not: the redirects are in vain, and do nothing else.
  }
}

type Route = NetworkView['routes'][number];

interface WantedRoute {
  readonly prefix: Prefix;
  readonly kind: 'unicast' | 'unreachable';
  /** What follows `ip route replace`. */
  readonly words: readonly string[];
}

function wantedRoutes(network: TunNetwork): WantedRoute[] {
  const own = new Map<Family, IpAddress>(network.addresses.map((address) => [address.family, address]));
  const tunnelled = [
    // A node that owns a whole range sends none of it away.
    ...network.podRanges.filter((range) => !network.ownSubnets.some((subnet) => samePrefix(subnet, range))),
    ...network.extraPrefixes.filter(
      (extra) => isOfGuest(network, extra) || !network.podRanges.some((range) => prefixCovers(range, extra)),
    ),
  ];
  return [
    ...tunnelled.map((prefix): WantedRoute => {
      const source = own.get(prefix.family);
      const src = source === undefined ? [] : ['src', formatAddress(source)];
      return { prefix, kind: 'unicast', words: [formatPrefix(prefix), 'dev', network.name, ...src] };
    }),
    ...network.ownSubnets.map((prefix): WantedRoute => {
      return { prefix, kind: 'unreachable', words: ['unreachable', formatPrefix(prefix)] };
    }),
  ];
}

/** A route to it goes before the one that makes the rest of the subnet unreachable. */
function isOfGuest({ ownSubnets }: TunNetwork, prefix: Prefix): boolean {
  return ownSubnets.some((own) => prefixCovers(own, prefix));
}

/** Commands that delete those of the marked `routes` that are this device's and not wanted. */
function staleRoutes(
  network: TunNetwork,
  wanted: readonly WantedRoute[],
  routes: readonly Route[],
): string[][] {
  const commands: string[][] = [];
  for (const route of routes) {
    const prefix = destination(route);
    const kind = kindOf(route);
    // Another agent of the same network namespace marks its routes alike.
    const ours =
      kind === 'unicast'
        ? route.dev === network.name
        : network.podRanges.some((range) => prefixCovers(range, prefix));
    const kept = wanted.some((entry) => entry.kind === kind && samePrefix(entry.prefix, prefix));
    if (!ours || kept) continue;
    const how = kind === 'unicast' ? ['dev', network.name] : [];
    const type = kind === 'unreachable' ? ['unreachable'] : [];
    commands.push(['route', 'delete', ...type, formatPrefix(prefix), ...how, 'proto', ROUTE_PROTOCOL]);
  }
  return commands;
}

function kindOf(route: Route): WantedRoute['kind'] {
  return route.type === 'unreachable' ? 'unreachable' : 'unicast';
}

function destination({ dst, family }: Route): Prefix {
  if (dst === 'default') return { family, value: 0n, length: 0 };
  return parsePrefix(dst.includes('/') ? dst : `${dst}/${addressBits(family)}`);
}
