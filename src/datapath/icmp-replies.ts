/**
 * The ICMP errors that the outbound path sends back into the TUN: "too big" and "no route". Limited in rate,
 * as RFC 1812 (4.3.2.8) and RFC 4443 (2.4 (f)) ask (icmp-budget.ts).
 */
import { Arena } from '../sys/arena.ts';
import {
  ICMP_CODE_FRAGMENTATION_NEEDED,
  ICMP_CODE_NET_UNREACHABLE,
  ICMP_REPLY_MAX_BYTES,
  ICMP_UNREACHABLE,
  ICMPV6_CODE_NO_ROUTE,
  ICMPV6_TOO_BIG,
  ICMPV6_UNREACHABLE,
  writeIcmpError,
  writeIcmpv6Error,
} from '../wire/icmp.ts';
import { IPV4_SOURCE, ipVersion, ipv4Destination } from '../wire/ipv4.ts';
import { IPV6_MIN_MTU, IPV6_SOURCE } from '../wire/ipv6.ts';
import { VIRTIO_NET_HEADER_BYTES, writePlainVirtioHeader } from '../wire/virtio-net.ts';
import { type ForwardingState, MAPPED_WORD } from './forwarding.ts';
import { ICMP_NO_ROUTE, ICMP_TOO_BIG, IcmpBudget, type IcmpKind } from './icmp-budget.ts';
import type { TunQueue } from './ports.ts';

/** The offending packet is copied here (headers and what an error quotes of it), the reply is built behind. */
const QUOTE_CAPACITY = 2048;
const OWN_IPV6 = QUOTE_CAPACITY;
const REPLY = OWN_IPV6 + 16;
const REPLY_PACKET = REPLY + 16;

export class IcmpReplies {
  readonly #tun: TunQueue;
  readonly #nowMs: () => number;
  readonly #scratch = new Arena(REPLY_PACKET + ICMP_REPLY_MAX_BYTES);
  #hasIpv4 = false;
  #hasIpv6 = false;
  readonly #budget = new IcmpBudget();

  /** `nowMs`: a clock that never jumps. */
  constructor(tun: TunQueue, nowMs: () => number) {
    this.#tun = tun;
    this.#nowMs = nowMs;
  }

  load(state: ForwardingState): void {
    this.#hasIpv4 = state.ownIpv4 !== undefined;
    this.#hasIpv6 = state.ownIpv6 !== undefined;
    state.ownIpv6?.forEach((word, i) => {
      this.#scratch.view.setInt32(OWN_IPV6 + 4 * i, word);
    });
  }

  noRoute(packets: Uint8Array, offset: number, bytes: number): void {
    this.#reply(packets, offset, bytes, ICMP_UNREACHABLE, ICMP_CODE_NET_UNREACHABLE, ICMPV6_UNREACHABLE, 0);
  }

  /** `mtu`: inner bytes that fit. */
  tooBig(packets: Uint8Array, offset: number, bytes: number, mtu: number): void {
    this.#reply(
      packets,
      offset,
      bytes,
      ICMP_UNREACHABLE,
      ICMP_CODE_FRAGMENTATION_NEEDED,
      ICMPV6_TOO_BIG,
      mtu,
    );
  }

  #reply(
    packets: Uint8Array,
    offset: number,
    bytes: number,
    type: number,
    code: number,
    typeV6: number,
    mtu: number,
  ): void {
    if (!this.#mayReply(packets, offset, mtu === 0 ? ICMP_NO_ROUTE : ICMP_TOO_BIG)) return;
    const { view, bytes: scratch } = this.#scratch;
    const quoted = Math.min(bytes, QUOTE_CAPACITY);
    scratch.set(packets.subarray(offset, offset + quoted), 0);
    let replyBytes = 0;
    if (ipVersion(view, 0) === 4) {
      if (!this.#hasIpv4) return;
      // In the name of the destination: Linux drops as martian what arrives with an address of its own as the
      // source (fib_validate_source), be it for a pod.
      const from = ipv4Destination(view, 0);
      replyBytes = writeIcmpError(view, REPLY_PACKET, 0, quoted, from, type, code, mtu);
    } else if (this.#hasIpv6) {
      const mtuV6 = mtu === 0 ? 0 : Math.max(mtu, IPV6_MIN_MTU);
      replyBytes = writeIcmpv6Error(
        view,
        REPLY_PACKET,
        0,
        quoted,
        OWN_IPV6,
        typeV6,
        ICMPV6_CODE_NO_ROUTE,
        mtuV6,
      );
    }
    if (replyBytes === 0) return;
    const start = REPLY_PACKET - VIRTIO_NET_HEADER_BYTES;
    writePlainVirtioHeader(view, start);
    this.#tun.write(this.#scratch.address(start), VIRTIO_NET_HEADER_BYTES + replyBytes);
  }

  #mayReply(packets: Uint8Array, offset: number, kind: IcmpKind): boolean {
    const nowMs = this.#nowMs();
    if (packets[offset]! >> 4 === 4) {
      return this.#budget.take(kind, 0, 0, MAPPED_WORD, wordAt(packets, offset + IPV4_SOURCE), nowMs);
    }
    const source = offset + IPV6_SOURCE;
    return this.#budget.take(
      kind,
      wordAt(packets, source),
      wordAt(packets, source + 4),
      wordAt(packets, source + 8),
      wordAt(packets, source + 12),
      nowMs,
    );
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
