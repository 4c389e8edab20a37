/** Datagrams of the tunnel as the underlay has them: groups that leave or arrive as one are taken apart again. */
import { checksum } from '../wire/checksum.ts';
import {
  IPV4_CHECKSUM,
  IPV4_ID,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  ipv4HeaderBytes,
} from '../wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_BYTES,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
} from '../wire/ipv6.ts';
import { PROTOCOL_UDP, UDP_HEADER_BYTES, UDP_LENGTH } from '../wire/udp.ts';
import { FIRST_WORD_IPV4, FIRST_WORD_IPV6, VXLAN_GPE_BYTES } from '../wire/vxlan-gpe.ts';

const IPV4_SOURCE_AT = 12;
/** Flags I and P of VXLAN-GPE, whatever else is set; no message of WireGuard begins so. */
const FLAGS_MASK = 0x0c00_00ff;
const IP_FLAGS_WORD = 0x4500;

/** Bytes of IP and UDP headers at `ip`; 0: that is not UDP. */
export function outerHeaderBytes(view: DataView, ip: number, bytes: number): number {
  const version = bytes > 0 ? view.getUint8(ip) >> 4 : 0;
  if (version === 4 && bytes >= IPV4_MIN_HEADER_BYTES) {
    const all = ipv4HeaderBytes(view, ip) + UDP_HEADER_BYTES;
    return view.getUint8(ip + IPV4_PROTOCOL) === PROTOCOL_UDP && all <= bytes ? all : 0;
  }
  const all = IPV6_HEADER_BYTES + UDP_HEADER_BYTES;
  if (version !== 6 || bytes < all) return 0;
  return view.getUint8(ip + IPV6_NEXT_HEADER) === PROTOCOL_UDP ? all : 0;
}

/** Where the inner packet of a datagram begins, of `bytes` bytes at `payload`; 0 where it is sealed. */
export function innerAt(view: DataView, payload: number, bytes: number): number {
  if (bytes < VXLAN_GPE_BYTES) return 0;
  const word = view.getInt32(payload) & FLAGS_MASK;
  return word === FIRST_WORD_IPV4 || word === FIRST_WORD_IPV6 ? payload + VXLAN_GPE_BYTES : 0;
}

/**
 * The packets that `bytes` stand for, the link's header first, if `segmentBytes` of payload were in each; 0: it is one.
 * `ip`: where the IP header begins.
 */
export function* datagramsOf(bytes: Uint8Array, ip: number, segmentBytes: number): Generator<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const headerBytes = outerHeaderBytes(view, ip, bytes.length - ip);
  const payload = ip + headerBytes;
  if (segmentBytes === 0 || headerBytes === 0 || payload + segmentBytes >= bytes.length) {
    yield bytes;
    return;
  }
  for (let at = payload, i = 0; at < bytes.length; at += segmentBytes, i++) {
    const end = Math.min(at + segmentBytes, bytes.length);
    const datagram = new Uint8Array(payload + end - at);
    datagram.set(bytes.subarray(0, payload));
    datagram.set(bytes.subarray(at, end), payload);
    setLengths(new DataView(datagram.buffer), ip, headerBytes, i);
    yield datagram;
  }
}

/** The `i`th of a group: lengths, IPv4's identification and checksum. UDP's checksum stays what the group's was. */
function setLengths(view: DataView, ip: number, headerBytes: number, i: number): void {
  const total = view.byteLength - ip;
  const ipBytes = headerBytes - UDP_HEADER_BYTES;
  view.setUint16(ip + ipBytes + UDP_LENGTH, total - ipBytes);
  if (view.getUint8(ip) >> 4 === 6) {
    view.setUint16(ip + IPV6_PAYLOAD_LENGTH, total - IPV6_HEADER_BYTES);
    return;
  }
  view.setUint16(ip + IPV4_TOTAL_LENGTH, total);
  view.setUint16(ip + IPV4_ID, (view.getUint16(ip + IPV4_ID) + i) & 0xffff);
  view.setUint16(ip + IPV4_CHECKSUM, 0);
  view.setUint16(ip + IPV4_CHECKSUM, checksum(view, ip, ipBytes));
}

export interface UdpEnd {
  /** 4 bytes or 16. */
  readonly address: Uint8Array;
  readonly port: number;
}

/** A datagram of which only the payload is left, with IP and UDP headers as they must have been. */
export function withOuterHeaders(from: UdpEnd, to: UdpEnd, payload: Uint8Array, length: number): Uint8Array {
  const isIpv4 = from.address.length === 4;
  const ipBytes = isIpv4 ? IPV4_MIN_HEADER_BYTES : IPV6_HEADER_BYTES;
  const packet = new Uint8Array(ipBytes + UDP_HEADER_BYTES + payload.length);
  const view = new DataView(packet.buffer);
  const udpBytes = Math.min(UDP_HEADER_BYTES + length, 0xffff);
  packet.set(payload, ipBytes + UDP_HEADER_BYTES);
  view.setUint16(ipBytes, from.port);
  view.setUint16(ipBytes + 2, to.port);
  view.setUint16(ipBytes + UDP_LENGTH, udpBytes);
  if (isIpv4) {
    view.setUint16(0, IP_FLAGS_WORD);
    view.setUint16(IPV4_TOTAL_LENGTH, Math.min(ipBytes + udpBytes, 0xffff));
    view.setUint8(IPV4_TTL, 64);
    view.setUint8(IPV4_PROTOCOL, PROTOCOL_UDP);
    packet.set(from.address, IPV4_SOURCE_AT);
    packet.set(to.address, IPV4_SOURCE_AT + 4);
    view.setUint16(IPV4_CHECKSUM, checksum(view, 0, ipBytes));
    return packet;
  }
  view.setUint8(0, 0x60);
  view.setUint16(IPV6_PAYLOAD_LENGTH, udpBytes);
  view.setUint8(IPV6_NEXT_HEADER, PROTOCOL_UDP);
  view.setUint8(IPV6_HOP_LIMIT, 64);
  packet.set(from.address, IPV6_SOURCE);
  packet.set(to.address, IPV6_DESTINATION);
  return packet;
}
