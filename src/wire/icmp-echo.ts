/**
 * ICMP (RFC 792) and ICMPv6 (RFC 4443, section 4) echoes as the agent sends them to measure a path.
 *
 *     0                   1                   2                   3
 *     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 *    |     Type      |   Code (0)    |           Checksum            |
 *    |           Identifier          |      Sequence number (0)      |
 *    |        "wPLP": a probe of a path, of any node's agent         |
 *    |                                                               |
 *    |  token: 8 random bytes that only who had the request knows;   |
 *    |  the last bit: the answer may be divided on its way           |
 *    |                  zeros up to the probe's size                 |
 *    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
 */
import { checksum } from './checksum.ts';
import {
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  ipv4HeaderBytes,
  PROTOCOL_ICMP,
} from './ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, PROTOCOL_ICMPV6 } from './ipv6.ts';

export const ICMP_ECHO_REQUEST = { 4: 8, 6: 128 } as const;
export const ICMP_ECHO_REPLY = { 4: 0, 6: 129 } as const;

export const ICMP_ECHO_IDENTIFIER = 4;
export const ICMP_ECHO_MARK = 8;
/** "wPLP" */
export const PATH_PROBE_MARK = 0x77504c50;
export const PATH_PROBE_TOKEN = 12;
export const PATH_PROBE_MIN_BYTES = 20;

/** Bytes of a probe's IP header, which has no options. */
export const PATH_PROBE_IP_BYTES = { 4: IPV4_MIN_HEADER_BYTES, 6: IPV6_HEADER_BYTES } as const;

/**
 * Writes a request of `bytes` bytes, the ICMP header included, at `at`. The checksum of ICMPv6 covers addresses and is
 * the kernel's to fill in.
 */
export function writePathProbe(
  view: DataView,
  at: number,
  family: 4 | 6,
  bytes: number,
  identifier: number,
  token: bigint,
): void {
  for (let i = at; i < at + bytes; i++) view.setUint8(i, 0);
  view.setUint8(at, ICMP_ECHO_REQUEST[family]);
  view.setUint16(at + ICMP_ECHO_IDENTIFIER, identifier);
  view.setUint32(at + ICMP_ECHO_MARK, PATH_PROBE_MARK);
  view.setBigUint64(at + PATH_PROBE_TOKEN, token);
  if (family === 4) view.setUint16(at + 2, checksum(view, at, bytes));
}

/** Whether the whole IP packet at `packet`, of `bytes` bytes, is an echo request with this identifier. */
export function isEchoRequest(view: DataView, packet: number, bytes: number, identifier: number): boolean {
  const icmp = echoAt(view, packet, bytes, ICMP_ECHO_REQUEST);
  return icmp !== 0 && view.getUint16(icmp + ICMP_ECHO_IDENTIFIER) === identifier;
}

/** Whether it is the answer to a probe that asks for one which may be divided. */
export function isDivisibleAnswer(view: DataView, packet: number, bytes: number): boolean {
  const icmp = echoAt(view, packet, bytes, ICMP_ECHO_REPLY);
  return (
    icmp !== 0 &&
    view.getUint32(icmp + ICMP_ECHO_MARK) === PATH_PROBE_MARK &&
    (view.getUint8(icmp + PATH_PROBE_TOKEN + 7) & 1) === 1
  );
}

/** Where the ICMP header of the IP packet at `packet` is; 0 if it is no echo of this kind, or not the whole one. */
function echoAt(view: DataView, packet: number, bytes: number, type: { 4: number; 6: number }): number {
  const isV4 = view.getUint8(packet) >> 4 === 4;
  const headerBytes = isV4 ? ipv4HeaderBytes(view, packet) : IPV6_HEADER_BYTES;
  if (bytes < headerBytes + PATH_PROBE_MIN_BYTES) return 0;
  if (isV4) {
    if (view.getUint8(packet + IPV4_PROTOCOL) !== PROTOCOL_ICMP) return 0;
    if ((view.getUint16(packet + IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0) return 0;
  } else if (view.getUint8(packet + IPV6_NEXT_HEADER) !== PROTOCOL_ICMPV6) return 0;
  const icmp = packet + headerBytes;
  return view.getUint8(icmp) === type[isV4 ? 4 : 6] ? icmp : 0;
}
