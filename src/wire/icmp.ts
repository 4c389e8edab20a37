/**
 * The ICMP (RFC 792) and ICMPv6 (RFC 4443) errors that a tunnel entry must be able to send back: "too big"
 * (RFC 1191, RFC 4443 3.2) and "no route" (RFC 792, RFC 4443 3.1).
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |     Type      |     Code      |           Checksum            |
 *    |   unused (v4) or MTU high (v6)|   next-hop MTU (v4) or low    |
 *    |        the offending packet, from its IP header on            |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { checksum, checksumAdd, checksumFinish } from './checksum.ts';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  ipv4HeaderBytes,
  ipv4IsUnicast,
  ipv4Source,
  PROTOCOL_ICMP,
} from './ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_BYTES,
  IPV6_HOP_LIMIT,
  IPV6_MIN_MTU,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  ipv6IsRoutable,
  PROTOCOL_ICMPV6,
} from './ipv6.ts';

export const ICMP_HEADER_BYTES = 8;

export const ICMP_UNREACHABLE = 3;
export const ICMP_CODE_NET_UNREACHABLE = 0;
export const ICMP_CODE_FRAGMENTATION_NEEDED = 4;

export const ICMPV6_UNREACHABLE = 1;
export const ICMPV6_CODE_NO_ROUTE = 0;
export const ICMPV6_TOO_BIG = 2;
const ICMPV6_FIRST_INFORMATIONAL = 128;

const REPLY_TTL = 64;
/** RFC 1812, section 4.3.2.3: as much of the packet as fits 576 bytes. */
const IPV4_QUOTE_BYTES = 576 - IPV4_MIN_HEADER_BYTES - ICMP_HEADER_BYTES;
/** RFC 4443, section 2.4 (c): as much as fits the minimum MTU. */
const IPV6_QUOTE_BYTES = IPV6_MIN_MTU - IPV6_HEADER_BYTES - ICMP_HEADER_BYTES;

/** The longest reply that these functions write. */
export const ICMP_REPLY_MAX_BYTES = IPV6_MIN_MTU;

/**
 * Writes at `target` the ICMP error of `type` and `code` about the IPv4 packet of `bytes` bytes at `packet`,
 * from address `from`. `mtu` is 0 but for "fragmentation needed". Returns the reply's length, or 0 where
 * RFC 1122, section 3.2.2 forbids one: about an ICMP error, a later fragment, or a source that is no host.
 */
export function writeIcmpError(
  view: DataView,
  target: number,
  packet: number,
  bytes: number,
  from: number,
  type: number,
  code: number,
  mtu: number,
): number {
  const innerHeaderBytes = ipv4HeaderBytes(view, packet);
  const fragment = view.getUint16(packet + IPV4_FRAGMENT);
  if ((fragment & IPV4_FRAGMENT_OFFSET_MASK) !== 0 || !ipv4IsUnicast(ipv4Source(view, packet))) return 0;
  if (view.getUint8(packet + IPV4_PROTOCOL) === PROTOCOL_ICMP) {
    if (bytes < innerHeaderBytes + 1 || icmpIsError(view.getUint8(packet + innerHeaderBytes))) return 0;
  }
  const quoteBytes = Math.min(bytes, IPV4_QUOTE_BYTES);
  const totalBytes = IPV4_MIN_HEADER_BYTES + ICMP_HEADER_BYTES + quoteBytes;
  view.setUint16(target, 0x4500);
  view.setUint16(target + IPV4_TOTAL_LENGTH, totalBytes);
  view.setUint32(target + 4, 0); // identification, flags: an atomic datagram (RFC 6864)
  view.setUint8(target + IPV4_TTL, REPLY_TTL);
  view.setUint8(target + IPV4_PROTOCOL, PROTOCOL_ICMP);
  view.setUint16(target + IPV4_CHECKSUM, 0);
  view.setInt32(target + IPV4_SOURCE, from);
  view.setInt32(target + IPV4_DESTINATION, ipv4Source(view, packet));
  view.setUint16(target + IPV4_CHECKSUM, checksum(view, target, IPV4_MIN_HEADER_BYTES));
  const icmp = target + IPV4_MIN_HEADER_BYTES;
  writeErrorBody(view, icmp, packet, quoteBytes, type, code, mtu);
  view.setUint16(icmp + 2, checksum(view, icmp, ICMP_HEADER_BYTES + quoteBytes));
  return totalBytes;
}

/**
 * The same for IPv6. `from` is the offset of our 16-byte address in the same view. Returns 0 where RFC 4443,
 * section 2.4 (e) forbids a reply.
 */
export function writeIcmpv6Error(
  view: DataView,
  target: number,
  packet: number,
  bytes: number,
  from: number,
  type: number,
  code: number,
  mtu: number,
): number {
  const source = packet + IPV6_SOURCE;
  const routable = ipv6IsRoutable(
    view.getInt32(source),
    view.getInt32(source + 4),
    view.getInt32(source + 8),
    view.getInt32(source + 12),
  );
  if (!routable) return 0;
  if (view.getUint8(packet + IPV6_NEXT_HEADER) === PROTOCOL_ICMPV6) {
    if (bytes <= IPV6_HEADER_BYTES) return 0;
    if (view.getUint8(packet + IPV6_HEADER_BYTES) < ICMPV6_FIRST_INFORMATIONAL) return 0;
  }
  const quoteBytes = Math.min(bytes, IPV6_QUOTE_BYTES);
  const icmpBytes = ICMP_HEADER_BYTES + quoteBytes;
  view.setUint32(target, 0x60000000);
  view.setUint16(target + IPV6_PAYLOAD_LENGTH, icmpBytes);
  view.setUint8(target + IPV6_NEXT_HEADER, PROTOCOL_ICMPV6);
  view.setUint8(target + IPV6_HOP_LIMIT, REPLY_TTL);
  for (let i = 0; i < 16; i += 4) {
    view.setInt32(target + IPV6_SOURCE + i, view.getInt32(from + i));
    view.setInt32(target + IPV6_DESTINATION + i, view.getInt32(source + i));
  }
  const icmp = target + IPV6_HEADER_BYTES;
  writeErrorBody(view, icmp, packet, quoteBytes, type, code, mtu);
  // Pseudo-header (RFC 8200, section 8.1): both addresses, the length, the next header.
  const pseudo = checksumAdd(icmpBytes + PROTOCOL_ICMPV6, view, target + IPV6_SOURCE, 32);
  view.setUint16(icmp + 2, checksumFinish(checksumAdd(pseudo, view, icmp, icmpBytes)));
  return IPV6_HEADER_BYTES + icmpBytes;
}

function writeErrorBody(
  view: DataView,
  icmp: number,
  packet: number,
  quoteBytes: number,
  type: number,
  code: number,
  mtu: number,
): void {
  view.setUint8(icmp, type);
  view.setUint8(icmp + 1, code);
  view.setUint16(icmp + 2, 0);
  view.setUint32(icmp + 4, mtu);
  for (let i = 0; i < quoteBytes; i++) view.setUint8(icmp + ICMP_HEADER_BYTES + i, view.getUint8(packet + i));
}

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
function icmpIsError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}
