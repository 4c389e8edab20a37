/**
 * Explicit congestion notification: the last two bits of an IP header's type of service (IPv4) or traffic class (IPv6)
 * (RFC 3168, section 5), and what a tunnel makes of them (RFC 6040). The six bits before them are the DSCP (RFC 2474).
 */
import { checksumFinish } from './checksum.ts';
import { IPV4_CHECKSUM, ipVersion } from './ipv4.ts';

export const NOT_ECT = 0b00;
export const ECT_1 = 0b01;
export const ECT_0 = 0b10;
/** Congestion was experienced. */
export const CE = 0b11;

export const ECN_MASK = 0b11;
/** How far the DSCP lies above the codepoint. */
export const DSCP_SHIFT = 2;
/** Both headers have the bits in their second byte. */
const SECOND_BYTE = 1;
const IPV6_SHIFT = 4;

/** The codepoint of the packet at `packet`, which is one of IPv4 or IPv6. */
export function ecnOf(view: DataView, packet: number): number {
  return ipVersion(view, packet) === 4 ? ipv4Ecn(view, packet) : ipv6Ecn(view, packet);
}

/** The whole byte, DSCP and codepoint, of the packet at `packet`, which is one of IPv4 or IPv6. */
export function trafficClassOf(view: DataView, packet: number): number {
  if (ipVersion(view, packet) === 4) return view.getUint8(packet + SECOND_BYTE);
  return (view.getUint16(packet) >> IPV6_SHIFT) & 0xff;
}

export function ipv4Ecn(view: DataView, packet: number): number {
  return view.getUint8(packet + SECOND_BYTE) & ECN_MASK;
}

export function ipv6Ecn(view: DataView, packet: number): number {
  return (view.getUint8(packet + SECOND_BYTE) >> IPV6_SHIFT) & ECN_MASK;
}

/** Writes a codepoint; the header's checksum follows (RFC 1624, equation 3). */
export function setIpv4Ecn(view: DataView, packet: number, ecn: number): void {
  const before = view.getUint16(packet);
  const after = (before & ~ECN_MASK) | ecn;
  const sum = (~view.getUint16(packet + IPV4_CHECKSUM) & 0xffff) + (~before & 0xffff) + after;
  view.setUint16(packet, after);
  view.setUint16(packet + IPV4_CHECKSUM, checksumFinish(sum));
}

export function setIpv6Ecn(view: DataView, packet: number, ecn: number): void {
  const byte = view.getUint8(packet + SECOND_BYTE) & ~(ECN_MASK << IPV6_SHIFT);
  view.setUint8(packet + SECOND_BYTE, byte | (ecn << IPV6_SHIFT));
}

/**
 * What leaves a tunnel (RFC 6040, section 4.2, figure 4), or -1: the packet is to be dropped, because congestion was met on
 * the way and its sender would not understand if it were told.
 */
export function decapsulatedEcn(inner: number, outer: number): number {
  if (outer === CE) return inner === NOT_ECT ? -1 : CE;
  return outer === ECT_1 && inner === ECT_0 ? ECT_1 : inner;
}
