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
  IPV6_TCLASS,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../sys/constants.ts';
import { CMSGHDR } from '../sys/structs.ts';
import { ECN_MASK } from '../wire/ecn.ts';

/** CMSG_SPACE of a value of at most eight bytes. */
const STRIDE = CMSGHDR.data + 8;
/** One of each kind. */
export const CONTROL_BYTES = 2 * STRIDE;

export class SentControls {
  readonly #view: DataView;
  readonly #level: number;
  readonly #type: number;

  constructor(view: DataView, underlayFamily: 4 | 6) {
    this.#view = view;
    this.#level = underlayFamily === 4 ? IPPROTO_IP : IPPROTO_IPV6;
    this.#type = underlayFamily === 4 ? IP_TOS : IPV6_TCLASS;
  }

  /** Writes at `at` for datagrams of `segmentBytes` each (0: it is one alone); returns how many bytes they are. */
  write(at: number, segmentBytes: number, trafficClass: number): number {
    const view = this.#view;
    let end = at;
    if (segmentBytes !== 0) {
      this.#header(end, 2, SOL_UDP, UDP_SEGMENT);
      view.setUint16(end + CMSGHDR.data, segmentBytes, true);
      end += STRIDE;
    }
    if (trafficClass !== 0) {
      this.#header(end, 4, this.#level, this.#type);
      view.setInt32(end + CMSGHDR.data, trafficClass, true);
      end += STRIDE;
    }
    return end - at;
  }

  #header(at: number, dataBytes: number, level: number, type: number): void {
    this.#view.setUint32(at + CMSGHDR.length, CMSGHDR.data + dataBytes, true);
    this.#view.setInt32(at + CMSGHDR.level, level, true);
    this.#view.setInt32(at + CMSGHDR.type, type, true);
  }
}

/** Of the message that was read last. */
export class ReceivedControls {
  /** Of each datagram but the last one, which may be shorter; 0 if the message is one datagram. */
  segmentBytes = 0;
  /** Not-ECT where the kernel says nothing. */
  ecn = 0;
  readonly #view: DataView;

  constructor(view: DataView) {
    this.#view = view;
  }

  /** The `bytes` bytes of control messages at `at`, as the kernel wrote them. */
  read(at: number, bytes: number): void {
    const view = this.#view;
    this.segmentBytes = 0;
    this.ecn = 0;
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
      }
      next += (length + 7) & ~7;
    }
  }
}
