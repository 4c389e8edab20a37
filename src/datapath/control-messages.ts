/**
 * What goes beside a datagram in sendmsg(2) and recvmsg(2) as control messages (cmsg(3)): how long each datagram of a group
 * is (UDP_SEGMENT, UDP_GRO in udp(7)), and the traffic class of the outer IP header (IP_TOS in ip(7), IPV6_TCLASS in
 * ipv6(7)): ECN codepoint and DSCP. Unless asked for, the outer DSCP is 0, and it never changes the inner one (RFC 2983, the
 * pipe model): what a pod asks of its own network is nothing to the underlay.
 */
import {
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../sys/constants.ts';
import { CMSGHDR } from '../sys/structs.ts';
import { ECN_MASK } from '../wire/ecn.ts';

/** CMSG_SPACE of a value of at most eight bytes. */
const STRIDE = CMSGHDR.data + 8;
/** The same of an in6_pktinfo (ipv6(7)): an address, and the number of an interface. */
const PACKET_INFO_STRIDE = CMSGHDR.data + 24;
export const PACKET_INFO_BYTES = 20;
/** The codepoint of either family, the size of a group's datagrams, the address of this host. */
export const CONTROL_BYTES = 3 * STRIDE + PACKET_INFO_STRIDE;
/** From the control messages of one message to the next one's. */
export const CONTROL_STRIDE = 128;

/** Writes what goes beside the datagrams of one message. */
export interface ControlWriter {
  /** Writes at `at` for datagrams to `vtep` of `segmentBytes` each (0: it is one alone); returns how many bytes they are. */
  write(at: number, vtep: number, segmentBytes: number, trafficClass: number): number;
  /** The kernel did not take a message with them; true: others are written from now on, and it is worth another try. */
  refused?(vtep: number, errno: number): boolean;
}

export class SentControls implements ControlWriter {
  readonly #view: DataView;
  readonly #level: number;
  readonly #type: number;

  constructor(view: DataView, underlayFamily: 4 | 6) {
    this.#view = view;
    this.#level = underlayFamily === 4 ? IPPROTO_IP : IPPROTO_IPV6;
    this.#type = underlayFamily === 4 ? IP_TOS : IPV6_TCLASS;
  }

  write(at: number, _vtep: number, segmentBytes: number, trafficClass: number): number {
    let end = at;
    if (segmentBytes !== 0) end = writeSegmentSize(this.#view, end, segmentBytes);
    if (trafficClass !== 0) end = writeTrafficClass(this.#view, end, this.#level, this.#type, trafficClass);
    return end - at;
  }
}

/** How long each datagram of a group is. Returns where the next one may be written, as those below. */
export function writeSegmentSize(view: DataView, at: number, segmentBytes: number): number {
  writeHeader(view, at, 2, SOL_UDP, UDP_SEGMENT);
  view.setUint16(at + CMSGHDR.data, segmentBytes, true);
  return at + STRIDE;
}

/** `level` and `type`: IP_TOS of IPPROTO_IP or IPV6_TCLASS of IPPROTO_IPV6. */
export function writeTrafficClass(
  view: DataView,
  at: number,
  level: number,
  type: number,
  trafficClass: number,
): number {
  writeHeader(view, at, 4, level, type);
  view.setInt32(at + CMSGHDR.data, trafficClass, true);
  return at + STRIDE;
}

/** The address to send from, at `address` of `from` (IPv4 as mapped), by whatever interface it leads out of. */
export function writeSourceAddress(view: DataView, at: number, from: DataView, address: number): number {
  writeHeader(view, at, PACKET_INFO_BYTES, IPPROTO_IPV6, IPV6_PKTINFO);
  for (let i = 0; i < 16; i += 4) view.setInt32(at + CMSGHDR.data + i, from.getInt32(address + i));
  view.setInt32(at + CMSGHDR.data + 16, 0);
  return at + PACKET_INFO_STRIDE;
}

function writeHeader(view: DataView, at: number, dataBytes: number, level: number, type: number): void {
  view.setUint32(at + CMSGHDR.length, CMSGHDR.data + dataBytes, true);
  view.setInt32(at + CMSGHDR.level, level, true);
  view.setInt32(at + CMSGHDR.type, type, true);
}

/** Of the message that was read last. */
export class ReceivedControls {
  /** Of each datagram but the last one, which may be shorter; 0 if the message is one datagram. */
  segmentBytes = 0;
  /** Not-ECT where the kernel says nothing. */
  ecn = 0;
  /** Offset of an in6_pktinfo: the address that it came to, and the interface. 0: the kernel was not asked for it. */
  packetInfo = 0;
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** The `bytes` bytes of control messages at `at`, as the kernel wrote them. */
  read(at: number, bytes: number): void {
    const view = this.#view;
    this.segmentBytes = 0;
    this.ecn = 0;
    this.packetInfo = 0;
    const end = at + bytes;
    for (let next = at; next + CMSGHDR.data < end; ) {
      const length = view.getUint32(next + CMSGHDR.length, true);
      if (length <= CMSGHDR.data) return;
      const level = view.getInt32(next + CMSGHDR.level, true);
      const type = view.getInt32(next + CMSGHDR.type, true);
      if (level === SOL_UDP && type === UDP_GRO) {
        this.segmentBytes = Math.max(0, view.getInt32(next + CMSGHDR.data, true));
      } else if (
        (level === IPPROTO_IP && type === IP_TOS) ||
        (level === IPPROTO_IPV6 && type === IPV6_TCLASS)
      ) {
        // One byte from IPv4, an int in host order from IPv6.
        this.ecn = view.getUint8(next + CMSGHDR.data) & ECN_MASK;
      } else if (
        level === IPPROTO_IPV6 &&
        type === IPV6_PKTINFO &&
        length >= CMSGHDR.data + PACKET_INFO_BYTES
      ) {
        this.packetInfo = next + CMSGHDR.data;
      }
      next += (length + 7) & ~7;
    }
  }
}
