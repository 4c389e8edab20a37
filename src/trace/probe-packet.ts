/** The packet that a trace sends: an echo request, a UDP datagram or the first segment of a TCP connection, whole with its IP header. */
import { addressBytes, parseAddress } from '../ip/address.ts';
import {
  checksum,
  checksumAdd,
  checksumFinish,
  pseudoHeaderSum4,
  pseudoHeaderSum6,
} from '../wire/checksum.ts';
import { ICMP_ECHO_IDENTIFIER, ICMP_ECHO_REQUEST } from '../wire/icmp-echo.ts';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
} from '../wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_BYTES,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
} from '../wire/ipv6.ts';
import {
  TCP_CHECKSUM,
  TCP_DATA_OFFSET,
  TCP_FLAGS,
  TCP_MIN_HEADER_BYTES,
  TCP_SEQUENCE,
  TCP_SYN,
} from '../wire/tcp.ts';
import { UDP_CHECKSUM, UDP_HEADER_BYTES, UDP_LENGTH } from '../wire/udp.ts';
import { protocolNumber } from './flow-match.ts';
import type { Flow } from './model.ts';

const ICMP_BYTES = 8;
const TRANSPORT_BYTES = { icmp: ICMP_BYTES, udp: UDP_HEADER_BYTES, tcp: TCP_MIN_HEADER_BYTES } as const;
const CHECKSUM_AT = { icmp: 2, udp: UDP_CHECKSUM, tcp: TCP_CHECKSUM } as const;
const IP_BYTES = { 4: IPV4_MIN_HEADER_BYTES, 6: IPV6_HEADER_BYTES } as const;
const TTL = 64;
const TCP_WINDOW = 14;
const WINDOW = 0xffff;

/** What a flow's packet has at least. */
export function leastBytes({ family, protocol }: Pick<Flow, 'family' | 'protocol'>): number {
  return IP_BYTES[family] + TRANSPORT_BYTES[protocol];
}

/** `sequence`: of TCP. It is not to be fragmented. */
export function probePacket(flow: Flow, sequence: number): Uint8Array {
  const { family, protocol, port, mark } = flow;
  const bytes = new Uint8Array(Math.max(flow.bytes, leastBytes(flow)));
  const view = new DataView(bytes.buffer);
  const ip = IP_BYTES[family];
  const number = protocolNumber(flow);
  const length = bytes.length - ip;
  const [source, destination] = [flow.source, flow.destination].map((text) =>
    addressBytes(parseAddress(text)),
  );
  if (family === 4) {
    view.setUint8(0, 0x45);
    view.setUint16(IPV4_TOTAL_LENGTH, bytes.length);
    view.setUint16(IPV4_FRAGMENT, IPV4_DONT_FRAGMENT);
    view.setUint8(IPV4_TTL, TTL);
    view.setUint8(IPV4_PROTOCOL, number);
    bytes.set(source!, IPV4_SOURCE);
    bytes.set(destination!, IPV4_DESTINATION);
    view.setUint16(IPV4_CHECKSUM, checksum(view, 0, ip));
  } else {
    view.setUint8(0, 0x60);
    view.setUint16(IPV6_PAYLOAD_LENGTH, length);
    view.setUint8(IPV6_NEXT_HEADER, number);
    view.setUint8(IPV6_HOP_LIMIT, TTL);
    bytes.set(source!, IPV6_SOURCE);
    bytes.set(destination!, IPV6_DESTINATION);
  }
  if (protocol === 'icmp') {
    view.setUint8(ip, ICMP_ECHO_REQUEST[family]);
    view.setUint16(ip + ICMP_ECHO_IDENTIFIER, mark);
    view.setUint16(ip + ICMP_ECHO_IDENTIFIER + 2, 1);
  } else {
    view.setUint16(ip, mark);
    view.setUint16(ip + 2, port);
    if (protocol === 'udp') view.setUint16(ip + UDP_LENGTH, length);
    else {
      view.setUint32(ip + TCP_SEQUENCE, sequence);
      view.setUint8(ip + TCP_DATA_OFFSET, (TCP_MIN_HEADER_BYTES / 4) << 4);
      view.setUint8(ip + TCP_FLAGS, TCP_SYN);
      view.setUint16(ip + TCP_WINDOW, WINDOW);
    }
  }
  const field = ip + CHECKSUM_AT[protocol];
  const isPlain = family === 4 && protocol === 'icmp';
  const pseudo = isPlain ? 0 : length + (family === 4 ? pseudoHeaderSum4 : pseudoHeaderSum6)(view, 0, number);
  const sum = checksumFinish(checksumAdd(pseudo, view, ip, length));
  // Zero would say that UDP has none.
  view.setUint16(field, sum === 0 && protocol === 'udp' ? 0xffff : sum);
  return bytes;
}
