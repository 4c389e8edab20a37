/**
 * Routes of the main table (linux/rtnetlink.h, struct rtmsg).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |    family     | dest. length  | source length |      TOS      |
 *     +---------------+---------------+---------------+---------------+
 *     |     table     |   protocol    |     scope     |     type      |
 *     +---------------+---------------+---------------+---------------+
 *     |             flags (RTNH_F_ONLINK)                             |
 *     +---------------------------------------------------------------+
 */
import { addressBytes, addressFromBytes, type Family, type IpAddress } from '../ip/address.ts';
import type { Prefix } from '../ip/prefix.ts';
import { attribute, attributes, concat, readU32, u32, viewOf } from './attribute.ts';
import * as nl from './constants.ts';
import { malformed } from './error.ts';
import { FAMILIES } from './family.ts';
import type { Message, Request } from './message.ts';

const RTMSG_BYTES = 12;

export interface NewRoute {
  readonly destination: Prefix;
  /** Index of the interface. */
  readonly index: number;
  readonly gateway?: IpAddress | undefined;
  /** The gateway is on the link whatever the addresses say. */
  readonly onLink?: boolean;
  /** The address that this host sends from. */
  readonly source?: IpAddress | undefined;
  /** rtm_protocol; default: RTPROT_BOOT, as `ip` has it. */
  readonly protocol?: number;
}

export interface Route {
  readonly destination: Prefix;
  readonly index: number | undefined;
  readonly source: IpAddress | undefined;
  readonly protocol: number;
}

/** Adds the route, in place of one that is there to the same destination. */
export function replaceRoute(wanted: NewRoute): Request {
  return { type: nl.RTM_NEWROUTE, flags: nl.NLM_F_CREATE | nl.NLM_F_REPLACE, body: encode(wanted) };
}

export function deleteRoute(route: NewRoute): Request {
  return { type: nl.RTM_DELROUTE, flags: 0, body: encode(route) };
}

/** Routes of a family and protocol; to be sent as a dump. A kernel without NETLINK_GET_STRICT_CHK gives all. */
export function getRoutes(family: Family, protocol: number, index?: number): Request {
  const header = new Uint8Array(RTMSG_BYTES);
  header[0] = FAMILIES[family];
  header[4] = nl.RT_TABLE_MAIN;
  header[5] = protocol;
  const interfaces = index === undefined ? [] : [u32(nl.RTA_OIF, index)];
  return { type: nl.RTM_GETROUTE, flags: 0, body: concat([header, ...interfaces]) };
}

/** The entry of the tables that leads to `to`. */
export function getRouteTo(to: IpAddress): Request {
  const bytes = addressBytes(to);
  const header = new Uint8Array(RTMSG_BYTES);
  header[0] = FAMILIES[to.family];
  header[1] = 8 * bytes.length;
  viewOf(header).setUint32(8, nl.RTM_F_FIB_MATCH, true);
  return { type: nl.RTM_GETROUTE, flags: 0, body: concat([header, attribute(nl.RTA_DST, bytes)]) };
}

/** How the kernel would send a packet with that source and mark (0: none) to `to`. */
export function getPathTo(to: IpAddress, from: IpAddress, mark: number): Request {
  const destination = addressBytes(to);
  const source = addressBytes(from);
  const header = new Uint8Array(RTMSG_BYTES);
  header[0] = FAMILIES[to.family];
  header[1] = 8 * destination.length;
  header[2] = 8 * source.length;
  const body = concat([
    header,
    attribute(nl.RTA_DST, destination),
    attribute(nl.RTA_SRC, source),
    ...(mark === 0 ? [] : [u32(nl.RTA_MARK, mark)]),
  ]);
  return { type: nl.RTM_GETROUTE, flags: 0, body };
}

/** The interface that an answer to `getPathTo` leads out of. Throws NETLINK_MALFORMED. */
export function decodePathInterface({ type, body }: Message): number | undefined {
  if (type !== nl.RTM_NEWROUTE || body.length < RTMSG_BYTES) throw malformed('no route');
  return readU32(attributes(body.subarray(RTMSG_BYTES)).get(nl.RTA_OIF));
}

/** The MTU that a route was given when it was made; undefined if none. Throws NETLINK_MALFORMED. */
export function decodeRouteMtu({ type, body }: Message): number | undefined {
  if (type !== nl.RTM_NEWROUTE || body.length < RTMSG_BYTES) throw malformed('no route');
  const metrics = attributes(body.subarray(RTMSG_BYTES)).get(nl.RTA_METRICS);
  return metrics && readU32(attributes(metrics).get(nl.RTAX_MTU));
}

/** Undefined if it is of another table or kind than `replaceRoute` makes. Throws NETLINK_MALFORMED. */
export function decodeRoute({ type, body }: Message): Route | undefined {
  if (type !== nl.RTM_NEWROUTE || body.length < RTMSG_BYTES) throw malformed('no route');
  const [family, length] = [body[0]!, body[1]!];
  if (family !== FAMILIES[4] && family !== FAMILIES[6]) return undefined;
  if (body[7] !== nl.RTN_UNICAST || (viewOf(body).getUint32(8, true) & nl.RTM_F_CLONED) !== 0)
    return undefined;
  const found = attributes(body.subarray(RTMSG_BYTES));
  if ((readU32(found.get(nl.RTA_TABLE)) ?? body[4]) !== nl.RT_TABLE_MAIN) return undefined;
  const bytes = family === FAMILIES[4] ? 4 : 16;
  const destination = found.get(nl.RTA_DST) ?? new Uint8Array(bytes);
  const source = found.get(nl.RTA_PREFSRC);
  if (destination.length !== bytes || length > 8 * bytes || (source?.length ?? bytes) !== bytes) {
    throw malformed('a route with addresses of no length');
  }
  const { family: ipFamily, value } = addressFromBytes(destination);
  return {
    destination: { family: ipFamily, value, length },
    index: readU32(found.get(nl.RTA_OIF)),
    source: source && addressFromBytes(source),
    protocol: body[5]!,
  };
}

function encode(route: NewRoute): Uint8Array {
  const { destination, index, gateway, onLink, source, protocol = nl.RTPROT_BOOT } = route;
  const header = new Uint8Array(RTMSG_BYTES);
  header[0] = FAMILIES[destination.family];
  header[1] = destination.length;
  header[4] = nl.RT_TABLE_MAIN;
  header[5] = protocol;
  // IPv6 knows no scopes.
  header[6] = gateway === undefined && destination.family === 4 ? nl.RT_SCOPE_LINK : nl.RT_SCOPE_UNIVERSE;
  header[7] = nl.RTN_UNICAST;
  viewOf(header).setUint32(8, onLink === true ? nl.RTNH_F_ONLINK : 0, true);
  return concat([
    header,
    ...(destination.length === 0 ? [] : [attribute(nl.RTA_DST, addressBytes(destination))]),
    ...(gateway === undefined ? [] : [attribute(nl.RTA_GATEWAY, addressBytes(gateway))]),
    ...(source === undefined ? [] : [attribute(nl.RTA_PREFSRC, addressBytes(source))]),
    u32(nl.RTA_OIF, index),
  ]);
}
