/**
 * The headers of a packet as coalescing looks at them: where they end, and in which bits those of two packets must
 * agree for the two to be segments of one superpacket.
 */
import { pseudoHeaderSum4, pseudoHeaderSum6 } from '../wire/checksum.ts';
import {
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
} from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, IPV6_SOURCE } from '../wire/ipv6.ts';
import {
  PROTOCOL_TCP,
  TCP_CWR,
  TCP_FIN,
  TCP_MIN_HEADER_BYTES,
  TCP_PSH,
  tcpHeaderBytes,
} from '../wire/tcp.ts';
import { PROTOCOL_UDP, UDP_HEADER_BYTES } from '../wire/udp.ts';

/** Flags that end a superpacket. CWR is the one that only its first segment can carry. */
export const TCP_CLOSING_FLAGS = TCP_FIN | TCP_PSH;
/**
 * Which bits of the headers are the same in all packets of a superpacket, a mask per 32-bit word (in network byte
 * order): all but lengths, identification, checksums, the sequence number, CWR, FIN and PSH. Everything else that the
 * kernel's GRO compares is in here: addresses, ports, TTL, type of service, DF, flow label, acknowledgment, the
 * other flags, window, options.
 */
const IPV4_MASK = [0xffff0000, 0x0000ffff, 0xffff0000, -1, -1];
const IPV6_MASK = [-1, 0x0000ffff, -1, -1, -1, -1, -1, -1, -1, -1];
const TCP_MASK = [-1, 0, -1, ~((TCP_CWR | TCP_CLOSING_FLAGS) << 16), 0, ...new Array<number>(10).fill(-1)];
const UDP_MASK = [-1, 0];
/** By shape, see `shapeOf`. */
const SAME_MASKS: readonly Int32Array[] = [
  Int32Array.from([...IPV4_MASK, ...TCP_MASK]),
  Int32Array.from([...IPV4_MASK, ...UDP_MASK]),
  Int32Array.from([...IPV6_MASK, ...TCP_MASK]),
  Int32Array.from([...IPV6_MASK, ...UDP_MASK]),
];

/** The packet in hand: one object per worker, filled anew for each packet. */
export class FlowHeaders {
  readonly #view: DataView;
  isIpv4 = true;
  isUdp = false;
  /** Offset of the transport header from the packet's start. */
  transport = 0;
  /** IP and transport headers together. */
  headerBytes = 0;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** Finds the transport header; false for what is not unfragmented TCP or UDP behind a plain IP header. */
  parse(packet: number, bytes: number, isIpv4: boolean): boolean {
    const view = this.#view;
    let protocol: number;
    if (isIpv4) {
      if (view.getUint8(packet) !== 0x45) return false;
      if ((view.getUint16(packet + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT) !== 0) return false;
      protocol = view.getUint8(packet + IPV4_PROTOCOL);
      this.transport = IPV4_MIN_HEADER_BYTES;
    } else {
      protocol = view.getUint8(packet + IPV6_NEXT_HEADER);
      this.transport = IPV6_HEADER_BYTES;
    }
    this.isIpv4 = isIpv4;
    this.isUdp = protocol === PROTOCOL_UDP;
    if (this.isUdp) {
      this.headerBytes = this.transport + UDP_HEADER_BYTES;
      return this.headerBytes <= bytes;
    }
    if (protocol !== PROTOCOL_TCP || this.transport + TCP_MIN_HEADER_BYTES > bytes) return false;
    const tcpBytes = tcpHeaderBytes(view, packet + this.transport);
    this.headerBytes = this.transport + tcpBytes;
    return tcpBytes >= TCP_MIN_HEADER_BYTES && this.headerBytes <= bytes;
  }

  /** The same as another packet of this shape has them, without a look at the packet. */
  set(isIpv4: boolean, isUdp: boolean, transport: number, headerBytes: number): void {
    this.isIpv4 = isIpv4;
    this.isUdp = isUdp;
    this.transport = transport;
    this.headerBytes = headerBytes;
  }
}

/** Whether the `headerBytes` of headers at `packet` agree with those at `head` wherever they must. */
export function sameHeaders(
  view: DataView,
  head: number,
  packet: number,
  headerBytes: number,
  isIpv4: number,
  isUdp: number,
): boolean {
  const mask = SAME_MASKS[shapeOf(isIpv4, isUdp)]!;
  const words = headerBytes >> 2;
  let different = 0;
  for (let i = 0; i < words; i++) {
    different |= (view.getInt32(packet + 4 * i) ^ view.getInt32(head + 4 * i)) & mask[i]!;
  }
  return different === 0;
}

export function sameAddresses4(view: DataView, a: number, b: number): boolean {
  return (
    view.getInt32(a + IPV4_SOURCE) === view.getInt32(b + IPV4_SOURCE) &&
    view.getInt32(a + IPV4_DESTINATION) === view.getInt32(b + IPV4_DESTINATION)
  );
}

export function sameAddresses6(view: DataView, a: number, b: number): boolean {
  for (let i = IPV6_SOURCE; i < IPV6_HEADER_BYTES; i += 4) {
    if (view.getInt32(a + i) !== view.getInt32(b + i)) return false;
  }
  return true;
}

/** Of the pseudo-header without its length, not folded. */
export function pseudoHeaderSum(view: DataView, packet: number, isIpv4: boolean, isUdp: boolean): number {
  const protocol = isUdp ? PROTOCOL_UDP : PROTOCOL_TCP;
  return isIpv4 ? pseudoHeaderSum4(view, packet, protocol) : pseudoHeaderSum6(view, packet, protocol);
}

/** Index into SAME_MASKS; both arguments are 0 or 1. */
function shapeOf(isIpv4: number, isUdp: number): number {
  return 2 * (1 - isIpv4) + isUdp;
}
