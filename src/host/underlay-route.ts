/** Which of this host's addresses the other nodes reach it at, and the interface that has it. */
import type { Config } from '../config/config.ts';
import { WarrenError } from '../errors.ts';
import { type Family, formatAddress, type IpAddress, parseAddress, sameAddress } from '../ip/address.ts';
import { prefixContains } from '../ip/prefix.ts';
import type { InNetns } from './command.ts';
import { type LinkAddresses, listAddresses, listRoutes, type Route, routeTo } from './ip.ts';
import { hostLookup, type Lookup, seedAddresses } from './seed-addresses.ts';

export interface Underlay {
  readonly address: IpAddress;
  readonly interfaceName: string;
  /** Bytes of an outer IP packet. */
  readonly mtu: number;
}

/**
 * Settles `underlay.address`: the address as given, or for `auto` the source address of the route to the
 * first seed that resolves and is not this host, else of the default route.
 * Throws UNDERLAY_ADDRESS_MISSING (given, but not on this host) or UNDERLAY_ADDRESS_UNKNOWN (auto failed).
 */
export async function resolveUnderlay(
  config: Config,
  where: InNetns = {},
  lookup: Lookup = hostLookup,
): Promise<Underlay> {
  const own = await listAddresses(where);
  const given = config.underlay.address;
  if (given !== 'auto') {
    const link = linkWith(own, given);
    if (link !== undefined) return { address: given, interfaceName: link.ifname, mtu: link.mtu };
    throw new WarrenError(
      'UNDERLAY_ADDRESS_MISSING',
      `underlay.address is ${formatAddress(given)}, which no interface of this host has`,
      { hint: `Addresses of this host: ${usable(own).join(', ') || 'none'}. Or write \`address: auto\`.` },
    );
  }
  // The overlay's own addresses survive a restart on the TUN device; they are no underlay.
  const isOverlay = (address: IpAddress) =>
    config.cluster.podCidrs.some(({ range }) => prefixContains(range, address));
  const family = config.staticPeers.find(({ endpoint }) => endpoint)?.endpoint?.address.family;
  const candidates = [
    () => fromSeeds(config, own, family, where, lookup),
    () => fromDefaultRoute(own, family, where),
  ];
  for (const candidate of candidates) {
    const address = await candidate();
    const link = address && linkWith(own, address);
    if (address && link && !isOverlay(address)) {
      return { address, interfaceName: link.ifname, mtu: link.mtu };
    }
  }
  throw new WarrenError(
    'UNDERLAY_ADDRESS_UNKNOWN',
    `cannot tell which address the other nodes reach this host at: no seed resolves to a host that has ` +
      `a route${family === undefined ? '' : ` over IPv${family}`}, and there is no default route`,
    { hint: `Set underlay.address to one of: ${usable(own).join(', ') || 'none found'}.` },
  );
}

/** The interface of this host that has `address`; undefined if none has. */
export async function underlayAt(address: IpAddress, where: InNetns = {}): Promise<Underlay | undefined> {
  const link = linkWith(await listAddresses(where), address);
  return link && { address, interfaceName: link.ifname, mtu: link.mtu };
}

async function fromSeeds(
  config: Config,
  own: readonly LinkAddresses[],
  family: Family | undefined,
  where: InNetns,
  lookup: Lookup,
): Promise<IpAddress | undefined> {
  const hosts = config.cluster.seeds.map(({ host }) => host);
  for await (const address of seedAddresses(hosts, lookup)) {
    if (family !== undefined && address.family !== family) continue;
    if (linkWith(own, address) !== undefined) continue;
    const source = (await routeTo(formatAddress(address), where))?.prefsrc;
    if (source !== undefined) return parseAddress(source);
  }
  return undefined;
}

async function fromDefaultRoute(
  own: readonly LinkAddresses[],
  wanted: Family | undefined,
  where: InNetns,
): Promise<IpAddress | undefined> {
  for (const family of [4, 6] as const) {
    if (wanted !== undefined && wanted !== family) continue;
    const routes = await listRoutes(family, ['default'], where);
    for (const route of routes.toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0))) {
      const text = route.prefsrc ?? (await sourceOn(own, family, route, where));
      if (text !== undefined) return parseAddress(text);
    }
  }
  return undefined;
}

/** The source address of a packet that takes `route`. */
async function sourceOn(
  own: readonly LinkAddresses[],
  family: Family,
  { dev, gateway }: Route,
  where: InNetns,
): Promise<string | undefined> {
  if (family === 4 && gateway !== undefined) {
    const source = (await routeTo(gateway, where))?.prefsrc;
    if (source !== undefined) return source;
  }
  // An IPv6 gateway is link-local, and so would be the source towards it.
  const link = own.find(({ ifname }) => ifname === dev);
  const inet = family === 4 ? 'inet' : 'inet6';
  return link?.addresses.find((info) => info.family === inet && isStable(info))?.local;
}

function isStable(info: LinkAddresses['addresses'][number]): boolean {
  return info.scope === 'global' && !info.temporary && !info.deprecated;
}

function linkWith(own: readonly LinkAddresses[], address: IpAddress): LinkAddresses | undefined {
  return own.find(({ addresses }) =>
    addresses.some(({ local }) => sameAddress(parseAddress(local), address)),
  );
}

function usable(own: readonly LinkAddresses[]): string[] {
  return own.flatMap(({ addresses }) => addresses.filter(isStable).map(({ local }) => local));
}
