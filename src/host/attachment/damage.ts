/** What of attachments is missing or changed on the node's side, by one look at all interfaces, addresses and routes. */
import type { AttachmentLink } from '../../attachment/link.ts';
import { addressBits, formatAddress, type IpAddress, sameAddress } from '../../ip/address.ts';
import * as ifa from '../../netlink/address.ts';
import type { NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nl from '../../netlink/link.ts';
import { LINK_GATEWAY, listRoutes } from './ends.ts';

/** Looks, and gives what tells whether an attachment is damaged. */
export function findDamage(route: NetlinkConversation): (link: AttachmentLink) => boolean {
  const links = new Map(
    route
      .dump({ request: nl.getLinks(), doing: 'listing interfaces' })
      .map((message) => nl.decodeLink(message))
      .map((link) => [link.name, link]),
  );
  const gateways = interfacesWithGateway(route);
  /** Host routes by address and interface, each with the node's address in it. */
  const routes = new Map<string, IpAddress | undefined>();
  for (const { destination, index, source } of [...listRoutes(route, 4), ...listRoutes(route, 6)]) {
    if (destination.length !== addressBits(destination.family)) continue;
    routes.set(keyOf(destination, index), source);
  }
  return ({ hostInterface, addresses, gateways: wanted, mtu }) => {
    const found = links.get(hostInterface);
    if (found?.kind !== 'veth' || found.mtu !== mtu || !found.isUp) return true;
    if (addresses.some(({ family }) => family === 6) && !gateways.has(found.index)) return true;
    const source = wanted.find(({ family }) => family === 4);
    return !addresses.every((address) => {
      const key = keyOf(address, found.index);
      if (!routes.has(key)) return false;
      const from = routes.get(key);
      return (
        address.family === 6 || (from !== undefined && source !== undefined && sameAddress(from, source))
      );
    });
  };
}

/** Those of `wanted` that an interface does not have. */
export function missingAddresses(
  route: NetlinkConversation,
  index: number,
  wanted: readonly IpAddress[],
): string[] {
  const found = route
    .dump({ request: ifa.getAddresses({ index }), doing: 'listing addresses' })
    .flatMap((message) => ifa.decodeAddress(message) ?? [])
    .filter((one) => one.index === index);
  return wanted
    .filter((address) => !found.some((one) => sameAddress(address, one.address)))
    .map(formatAddress);
}

/** Indexes of the interfaces that have fe80::1. */
function interfacesWithGateway(route: NetlinkConversation): ReadonlySet<number> {
  try {
    const messages = route.dump({ request: ifa.getAddresses({ family: 6 }), doing: 'listing addresses' });
    const found = messages.flatMap((message) => ifa.decodeAddress(message) ?? []);
    return new Set(
      found.filter(({ address }) => sameAddress(address, LINK_GATEWAY)).map(({ index }) => index),
    );
  } catch (error) {
    if (isRefusal(error, 'EOPNOTSUPP', 'EAFNOSUPPORT')) return new Set();
    throw error;
  }
}

function keyOf({ family, value }: IpAddress, index: number | undefined): string {
  return `${family} ${value} ${index}`;
}
