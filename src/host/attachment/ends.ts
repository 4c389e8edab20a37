/** The two ends of an attachment's pair: settings, addresses, routes. What is right already stays as it is. */
import type { AttachmentLink } from '../../attachment/link.ts';
import { WarrenError } from '../../errors.ts';
import { addressBits, type IpAddress, parseAddress, sameAddress } from '../../ip/address.ts';
import { hostPrefix, type Prefix } from '../../ip/prefix.ts';
import * as ifa from '../../netlink/address.ts';
import { RT_SCOPE_UNIVERSE } from '../../netlink/constants.ts';
import type { Change, NetlinkConversation } from '../../netlink/conversation.ts';
import { isRefusal } from '../../netlink/error.ts';
import * as nl from '../../netlink/link.ts';
import type { Request } from '../../netlink/message.ts';
import * as rt from '../../netlink/route.ts';
import { ROUTE_PROTOCOL_NUMBER } from '../route-protocol.ts';
import { setSysctls } from '../sysctl.ts';
import type { ThreadNamespace } from './thread-namespace.ts';
import { type Setting, writeSettings } from './thread-sysctl.ts';

/** The node's end's address on each link, and so the attachment's IPv6 gateway. */
export const LINK_GATEWAY = parseAddress('fe80::1');
/** `lo` is the first interface of every namespace. */
const LOOPBACK_INDEX = 1;
const DEFAULT: Readonly<Record<4 | 6, Prefix>> = {
  4: { family: 4, value: 0n, length: 0 },
  6: { family: 6, value: 0n, length: 0 },
};

/** A namespace that is open for one operation. */
export interface InnerNamespace {
  readonly fd: number;
  readonly path: string;
  readonly route: NetlinkConversation;
  close(): void;
}

export interface NodeSide {
  readonly route: NetlinkConversation;
  /** Its path; undefined: the process's own. */
  readonly netns: string | undefined;
  inside<T>(work: () => T): T;
}

export interface NodeEnd {
  readonly link: AttachmentLink;
  readonly index: number;
  /** It has nothing yet that could be stale. */
  readonly isNew: boolean;
}

export async function configureNodeEnd({ link, index, isNew }: NodeEnd, node: NodeSide): Promise<void> {
  const { hostInterface: name, addresses, mtu } = link;
  const hasIpv6 = addresses.some(({ family }) => family === 6);
  // Before the interface is up. rp_filter 1 drops IPv4 packets whose source is routed to another interface.
  const settings: Setting[] = [
    { name: `net/ipv6/conf/${name}/accept_ra`, value: '0', optional: true },
    { name: `net/ipv4/conf/${name}/rp_filter`, value: '1' },
    ...(hasIpv6 ? [{ name: `net/ipv6/conf/${name}/disable_ipv6`, value: '0' } as const] : []),
  ];
  await setTheRest(
    node.inside(() => writeSettings(settings)),
    node.netns,
  );
  const to = (request: Request): Change => ({ request, doing: `setting up the interface ${name}` });
  const gateway = { index, address: LINK_GATEWAY, prefixLength: 64 };
  node.route.change([
    // Out of the group of those that are to be deleted, where a thread was lost before it came to that.
    to(nl.setLink({ index, mtu, group: 0, noAddress: hasIpv6 })),
    ...(hasIpv6 ? [to(ifa.replaceAddress(gateway))] : []),
    to(nl.setLink({ index, up: true })),
    ...(isNew ? [] : staleRoutes(node.route, index, addresses)),
    ...addresses.map((address) =>
      to(
        rt.replaceRoute({
          destination: hostPrefix(address),
          index,
          // This end has no IPv4 address: the node would speak to its pod from the underlay's.
          source: address.family === 4 ? gatewayOf(link, 4) : undefined,
          protocol: ROUTE_PROTOCOL_NUMBER,
        }),
      ),
    ),
  ]);
}

export async function configureInnerEnd(
  link: AttachmentLink,
  inner: InnerNamespace,
  thread: ThreadNamespace,
  isNew: boolean,
): Promise<void> {
  const { interfaceName: name, addresses, mtu, gsoMaxSegments } = link;
  const settings = ['accept_ra', 'disable_ipv6', 'accept_dad'].map(
    // Nobody else is on this link: duplicate address detection would only make a new pod wait.
    (setting): Setting => ({ name: `net/ipv6/conf/${name}/${setting}`, value: '0', optional: true }),
  );
  await setTheRest(
    thread.inside(inner.fd, () => writeSettings(settings)),
    inner.path,
  );
  const { route } = inner;
  const doing = `setting up the interface ${name} in ${inner.path}`;
  const to = (request: Request): Change => ({ request, doing });
  const { index } = nl.decodeLink(route.ask(to(nl.getLink(name))));
  route.change([
    to(nl.setLink({ index: LOOPBACK_INDEX, up: true })),
    to(nl.setLink({ index, mtu })),
    to(nl.setLink({ index, gsoMaxSegments, up: true })),
    ...addresses.map((address) =>
      to(ifa.replaceAddress({ index, address, prefixLength: addressBits(address.family) })),
    ),
    ...(isNew ? [] : staleAddresses(route, index, addresses)).map((stale) => to(ifa.deleteAddress(stale))),
    ...addresses.map(({ family }) =>
      to(
        rt.replaceRoute({
          destination: DEFAULT[family],
          index,
          gateway: family === 4 ? gatewayOf(link, 4) : LINK_GATEWAY,
          onLink: family === 4,
        }),
      ),
    ),
  ]);
}

/** A kernel whose /proc/sys cannot be written here, or that lacks a setting: another way, or a clear error. */
async function setTheRest(settings: readonly Setting[], netns: string | undefined): Promise<void> {
  for (const value of new Set(settings.map((setting) => setting.value))) {
    const names = settings.filter((setting) => setting.value === value).map((setting) => setting.name);
    await setSysctls(names, value, { netns });
  }
}

/** Addresses that others can see and that are not wanted. */
function staleAddresses(
  route: NetlinkConversation,
  index: number,
  wanted: readonly IpAddress[],
): ifa.InterfaceAddress[] {
  return route
    .dump({ request: ifa.getAddresses({ index }), doing: 'listing addresses' })
    .flatMap((message) => ifa.decodeAddress(message) ?? [])
    .filter(
      (found) =>
        found.index === index &&
        found.scope === RT_SCOPE_UNIVERSE &&
        !wanted.some((address) => sameAddress(address, found.address)),
    );
}

/** Our routes to addresses that the attachment had before. */
function staleRoutes(route: NetlinkConversation, index: number, wanted: readonly IpAddress[]): Change[] {
  const routes = ([4, 6] as const).flatMap((family) => listRoutes(route, family, index));
  return routes
    .filter(({ destination }) => !wanted.some((address) => sameAddress(address, destination)))
    .map(({ destination }) => ({
      request: rt.deleteRoute({ destination, index, protocol: ROUTE_PROTOCOL_NUMBER }),
      doing: 'removing an old route',
    }));
}

/** Our routes of a family, to one interface or to all. */
export function listRoutes(route: NetlinkConversation, family: 4 | 6, index?: number): rt.Route[] {
  try {
    return route
      .dump({ request: rt.getRoutes(family, ROUTE_PROTOCOL_NUMBER, index), doing: 'listing routes' })
      .flatMap((message) => rt.decodeRoute(message) ?? [])
      .filter(
        (found) =>
          found.protocol === ROUTE_PROTOCOL_NUMBER &&
          found.destination.family === family &&
          (index === undefined || found.index === index),
      );
  } catch (error) {
    // A table that no route was ever in, or a kernel without the family.
    if (isRefusal(error, 'ENOENT', 'EOPNOTSUPP', 'EAFNOSUPPORT')) return [];
    throw error;
  }
}

function gatewayOf(link: AttachmentLink, family: 4): IpAddress {
  const found = link.gateways.find((gateway) => gateway.family === family);
  if (found !== undefined) return found;
  throw new WarrenError(
    'ATTACHMENT_NO_GATEWAY',
    `attachment ${link.id} has an IPv${family} address and no gateway`,
  );
}
