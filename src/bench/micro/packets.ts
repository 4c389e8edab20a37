/** TCP and UDP packets to work on, written into an arena; IPv4 is 20 bytes, TCP 32 with timestamps. */
import {
  checksum,
  checksumFinish,
  checksumFold,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
} from '../../wire/checksum.ts';
import { IPV4_CHECKSUM, IPV4_DESTINATION, IPV4_ID, IPV4_SOURCE, IPV4_TOTAL_LENGTH } from '../../wire/ipv4.ts';
import { IPV6_DESTINATION, IPV6_PAYLOAD_LENGTH, IPV6_SOURCE } from '../../wire/ipv6.ts';
import { PROTOCOL_TCP, TCP_CHECKSUM, TCP_SEQUENCE } from '../../wire/tcp.ts';
import { PROTOCOL_UDP, UDP_CHECKSUM, UDP_LENGTH } from '../../wire/udp.ts';

export interface Shape {
  readonly isIpv4: boolean;
  readonly isUdp: boolean;
}

export const SHAPES: readonly (Shape & { readonly name: string })[] = [
  { name: 'TCP over IPv4', isIpv4: true, isUdp: false },
  { name: 'TCP over IPv6', isIpv4: false, isUdp: false },
  { name: 'UDP over IPv4', isIpv4: true, isUdp: true },
  { name: 'UDP over IPv6', isIpv4: false, isUdp: true },
];

const TCP_ACK = 0x10;

export function transportOffset({ isIpv4 }: Shape): number {
  return isIpv4 ? 20 : 40;
}

export function headerBytes(shape: Shape): number {
  return transportOffset(shape) + (shape.isUdp ? 8 : 32);
}

/**
 * Writes the packet number `index` of a flow, each with `payloadBytes` bytes of payload. Its transport checksum is
 * partial, or complete over a payload that is there already.
 */
export function writePacket(
  view: DataView,
  packet: number,
  shape: Shape,
  index: number,
  payloadBytes: number,
  complete: boolean,
): void {
  const transport = packet + transportOffset(shape);
  const totalBytes = headerBytes(shape) + payloadBytes;
  const protocol = shape.isUdp ? PROTOCOL_UDP : PROTOCOL_TCP;
  if (shape.isIpv4) {
    view.setUint32(packet, 0x45000000);
    view.setUint16(packet + IPV4_TOTAL_LENGTH, totalBytes);
    view.setUint16(packet + IPV4_ID, index);
    view.setUint32(packet + 6, (0x4000 << 16) | (64 << 8) | protocol);
    view.setUint16(packet + IPV4_CHECKSUM, 0);
    view.setUint32(packet + IPV4_SOURCE, 0x0a2a0102);
    view.setUint32(packet + IPV4_DESTINATION, 0x0a2a0202);
    view.setUint16(packet + IPV4_CHECKSUM, checksum(view, packet, 20));
  } else {
    view.setUint32(packet, 0x60000000);
    view.setUint16(packet + IPV6_PAYLOAD_LENGTH, totalBytes - 40);
    view.setUint16(packet + 6, (protocol << 8) | 64);
    view.setUint32(packet + IPV6_SOURCE, 0xfd420001);
    view.setUint32(packet + IPV6_DESTINATION, 0xfd420002);
  }
  const transportBytes = totalBytes - transportOffset(shape);
  view.setUint32(transport, (40_000 << 16) | 5201);
  if (shape.isUdp) {
    view.setUint16(transport + UDP_LENGTH, transportBytes);
  } else {
    view.setUint32(transport + TCP_SEQUENCE, 1_000_000 + index * payloadBytes);
    view.setUint32(transport + 8, 77);
    view.setUint32(transport + 12, (0x80 << 24) | (TCP_ACK << 16) | 0xffff);
    view.setUint32(transport + 20, 0x0101080a);
  }
  const field = transport + (shape.isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
  const pseudoSum = shape.isIpv4
    ? pseudoHeaderSum4(view, packet, protocol)
    : pseudoHeaderSum6(view, packet, protocol);
  const partial = checksumFold(pseudoSum + transportBytes);
  view.setUint16(field, partial);
  if (!complete) return;
  // The field holds the pseudo-header's sum while the rest is added up.
  view.setUint16(field, checksumFinish(~checksum(view, transport, transportBytes) & 0xffff));
}
