/**
 * Addresses of interfaces (linux/if_addr.h, struct ifaddrmsg).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |    family     | prefix length |     flags     |     scope     |
 *     +---------------+---------------+---------------+---------------+
 *     |             index of the interface                            |
 *     +---------------------------------------------------------------+
 */
import { addressBytes, addressFromBytes, type IpAddress } from '../ip/address.ts';
import { attribute, attributes, concat, viewOf } from './attribute.ts';
import * as nl from './constants.ts';
import { malformed } from './error.ts';
import { FAMILIES } from './family.ts';
import type { Message, Request } from './message.ts';

const IFADDRMSG_BYTES = 8;

export interface InterfaceAddress {
  /** Of the interface. */
  readonly index: number;
  readonly address: IpAddress;
  readonly prefixLength: number;
  /** RT_SCOPE_UNIVERSE, RT_SCOPE_LINK and so on. */
  readonly scope: number;
}

export type NewAddress = Pick<InterfaceAddress, 'index' | 'address' | 'prefixLength'>;

/** Adds the address, or makes it what it is to be. An IPv6 one is not looked for on the link first. */
export function replaceAddress(wanted: NewAddress): Request {
  return {
    type: nl.RTM_NEWADDR,
    flags: nl.NLM_F_CREATE | nl.NLM_F_REPLACE,
    body: encode(wanted, wanted.address.family === 6 ? nl.IFA_F_NODAD : 0),
  };
}

export function deleteAddress(address: NewAddress): Request {
  return { type: nl.RTM_DELADDR, flags: 0, body: encode(address, 0) };
}

/** Addresses of both families, or of one; to be sent as a dump. A kernel without NETLINK_GET_STRICT_CHK gives all. */
export function getAddresses(options: { index?: number; family?: 4 | 6 } = {}): Request {
  const body = new Uint8Array(IFADDRMSG_BYTES);
  body[0] = options.family === undefined ? 0 : FAMILIES[options.family];
  viewOf(body).setUint32(4, options.index ?? 0, true);
  return { type: nl.RTM_GETADDR, flags: 0, body };
}

/** Undefined if it is of another family than IP. Throws NETLINK_MALFORMED. */
export function decodeAddress({ type, body }: Message): InterfaceAddress | undefined {
  if (type !== nl.RTM_NEWADDR || body.length < IFADDRMSG_BYTES) throw malformed('no address');
  if (body[0] !== FAMILIES[4] && body[0] !== FAMILIES[6]) return undefined;
  const found = attributes(body.subarray(IFADDRMSG_BYTES));
  // Of a point-to-point link IFA_ADDRESS is the other end's.
  const bytes = found.get(nl.IFA_LOCAL) ?? found.get(nl.IFA_ADDRESS);
  if (bytes?.length !== (body[0] === FAMILIES[4] ? 4 : 16)) throw malformed('an address of no length');
  return {
    index: viewOf(body).getUint32(4, true),
    address: addressFromBytes(bytes),
    prefixLength: body[1]!,
    scope: body[3]!,
  };
}

function encode({ index, address, prefixLength }: NewAddress, flags: number): Uint8Array {
  const header = new Uint8Array(IFADDRMSG_BYTES);
  header[0] = FAMILIES[address.family];
  header[1] = prefixLength;
  header[2] = flags;
  viewOf(header).setUint32(4, index, true);
  const bytes = addressBytes(address);
  return concat([header, attribute(nl.IFA_LOCAL, bytes), attribute(nl.IFA_ADDRESS, bytes)]);
}
