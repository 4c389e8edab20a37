/**
 * Interfaces (linux/rtnetlink.h, struct ifinfomsg; linux/if_link.h for the attributes).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |    family     |       0       |             type              |
 *     +---------------+---------------+-------------------------------+
 *     |             index, from 1 in each network namespace           |
 *     +---------------------------------------------------------------+
 *     |             flags (IFF_UP)                                    |
 *     +---------------------------------------------------------------+
 *     |             which of the flags are meant                      |
 *     +---------------------------------------------------------------+
 *
 * A veth pair is made by one message, which describes this end; IFLA_LINKINFO holds kind and, in VETH_INFO_PEER,
 * an ifinfomsg and attributes of the other end.
 */
import {
  attribute,
  attributes,
  concat,
  nested,
  readS32,
  readText,
  readU32,
  text,
  u32,
  viewOf,
} from './attribute.ts';
import * as nl from './constants.ts';
import { malformed } from './error.ts';
import { FAMILIES } from './family.ts';
import type { Message, Request } from './message.ts';

const IFINFOMSG_BYTES = 16;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** Such as `veth`. */
  readonly kind: string | undefined;
  readonly mtu: number;
  readonly isUp: boolean;
  /** Of a veth: the index of the other end, in its own namespace. */
  readonly peerIndex: number | undefined;
  /** This namespace's number for that of the other end; undefined if it is this one. */
  readonly peerNamespaceId: number | undefined;
}

export interface VethEnd {
  readonly name: string;
  readonly mtu: number;
  /** Six bytes; undefined: one of the kernel's making. */
  readonly hardwareAddress?: Uint8Array | undefined;
}

export interface VethPeer extends VethEnd {
  readonly gsoMaxSegments: number;
  /** Descriptor of the network namespace that it is made in; undefined: this one. */
  readonly namespaceFd: number | undefined;
}

/** Makes a veth pair, both ends down. The kernel answers EEXIST if either name is taken. */
export function newVeth(end: VethEnd, peer: VethPeer): Request {
  const ends = concat([
    ifinfomsg({}),
    text(nl.IFLA_IFNAME, peer.name),
    u32(nl.IFLA_MTU, peer.mtu),
    ...hardwareAddressOf(peer),
    u32(nl.IFLA_GSO_MAX_SEGS, peer.gsoMaxSegments),
    ...(peer.namespaceFd === undefined ? [] : [u32(nl.IFLA_NET_NS_FD, peer.namespaceFd)]),
  ]);
  const info = nested(
    nl.IFLA_LINKINFO,
    text(nl.IFLA_INFO_KIND, 'veth'),
    nested(nl.IFLA_INFO_DATA, attribute(nl.VETH_INFO_PEER, ends)),
  );
  return {
    type: nl.RTM_NEWLINK,
    flags: nl.NLM_F_CREATE | nl.NLM_F_EXCL,
    body: concat([
      ifinfomsg({}),
      text(nl.IFLA_IFNAME, end.name),
      u32(nl.IFLA_MTU, end.mtu),
      ...hardwareAddressOf(end),
      info,
    ]),
  };
}

function hardwareAddressOf({ hardwareAddress }: VethEnd): Uint8Array[] {
  return hardwareAddress === undefined ? [] : [attribute(nl.IFLA_ADDRESS, hardwareAddress)];
}

export interface LinkChange {
  readonly index: number;
  readonly mtu?: number;
  readonly gsoMaxSegments?: number;
  /** Interfaces of a group can be deleted at once; 0 is where all are at first. */
  readonly group?: number;
  /** No link-local address of the kernel's making, from the next time that it goes up. */
  readonly noAddress?: boolean;
  readonly up?: boolean;
}

export function setLink(change: LinkChange): Request {
  const { index, mtu, gsoMaxSegments, group, noAddress, up } = change;
  const mode = Uint8Array.of(nl.IN6_ADDR_GEN_MODE_NONE);
  const body = concat([
    ifinfomsg({ index, up: up === true }),
    ...(mtu === undefined ? [] : [u32(nl.IFLA_MTU, mtu)]),
    ...(gsoMaxSegments === undefined ? [] : [u32(nl.IFLA_GSO_MAX_SEGS, gsoMaxSegments)]),
    ...(group === undefined ? [] : [u32(nl.IFLA_GROUP, group)]),
    ...(noAddress === true
      ? [nested(nl.IFLA_AF_SPEC, nested(FAMILIES[6], attribute(nl.IFLA_INET6_ADDR_GEN_MODE, mode)))]
      : []),
  ]);
  // RTM_NEWLINK without NLM_F_CREATE changes what is there, as RTM_SETLINK does; `ip` sends the former.
  return { type: nl.RTM_NEWLINK, flags: 0, body };
}

export function deleteLink(name: string): Request {
  return { type: nl.RTM_DELLINK, flags: 0, body: concat([ifinfomsg({}), text(nl.IFLA_IFNAME, name)]) };
}

/** Deletes all interfaces of a group, which takes no longer than one; ENODEV if there is none. */
export function deleteGroup(group: number): Request {
  return { type: nl.RTM_DELLINK, flags: 0, body: concat([ifinfomsg({}), u32(nl.IFLA_GROUP, group)]) };
}

/** The interface called `name`; ENODEV if there is none. */
export function getLink(name: string): Request {
  return {
    type: nl.RTM_GETLINK,
    flags: 0,
    body: concat([
      ifinfomsg({}),
      text(nl.IFLA_IFNAME, name),
      u32(nl.IFLA_EXT_MASK, nl.RTEXT_FILTER_SKIP_STATS),
    ]),
  };
}

/** Every interface; to be sent as a dump. */
export function getLinks(): Request {
  const mask = u32(nl.IFLA_EXT_MASK, nl.RTEXT_FILTER_SKIP_STATS);
  return { type: nl.RTM_GETLINK, flags: 0, body: concat([ifinfomsg({}), mask]) };
}

/** Throws NETLINK_MALFORMED. */
export function decodeLink({ type, body }: Message): Link {
  if (type !== nl.RTM_NEWLINK || body.length < IFINFOMSG_BYTES) throw malformed('no interface');
  const view = viewOf(body);
  const found = attributes(body.subarray(IFINFOMSG_BYTES));
  const info = found.get(nl.IFLA_LINKINFO);
  return {
    index: view.getInt32(4, true),
    name: readText(found.get(nl.IFLA_IFNAME)) ?? '',
    kind: info && readText(attributes(info).get(nl.IFLA_INFO_KIND)),
    mtu: readU32(found.get(nl.IFLA_MTU)) ?? 0,
    isUp: (view.getUint32(8, true) & nl.IFF_UP) !== 0,
    peerIndex: readS32(found.get(nl.IFLA_LINK)),
    peerNamespaceId: readS32(found.get(nl.IFLA_LINK_NETNSID)),
  };
}

/** This namespace's number for the one that is open as `fd`. */
export function getNamespaceId(fd: number): Request {
  // struct rtgenmsg: one byte of family, then padding.
  return { type: nl.RTM_GETNSID, flags: 0, body: concat([new Uint8Array(4), u32(nl.NETNSA_FD, fd)]) };
}

/** Undefined if it has none yet: no interface's other end is there. */
export function decodeNamespaceId({ type, body }: Message): number | undefined {
  if (type !== nl.RTM_NEWNSID || body.length < 4) throw malformed('no namespace id');
  const id = readS32(attributes(body.subarray(4)).get(nl.NETNSA_NSID));
  return id === undefined || id < 0 ? undefined : id;
}

function ifinfomsg({ index = 0, up = false }: { index?: number; up?: boolean }): Uint8Array {
  const bytes = new Uint8Array(IFINFOMSG_BYTES);
  const view = viewOf(bytes);
  view.setInt32(4, index, true);
  if (up) {
    view.setUint32(8, nl.IFF_UP, true);
    view.setUint32(12, nl.IFF_UP, true);
  }
  return bytes;
}
