/**
 * Coalescing: consecutive segments of a flow become one superpacket on their way into the TUN, so that the
 * receiving kernel walks its stack once for all of them. What is merged is what the kernel's own GRO would merge
 * (tcp_gro_receive, udp_gro_receive_segment, inet_gro_receive) but for two differences, and no flow is ever
 * reordered:
 *
 *     message from the underlay                            one writev to the TUN
 *     | H1 | payload 1 | H2 | payload 2 | H3 | pay 3 | ->  | virtio | H1' | payload 1 | payload 2 | pay 3 |
 *
 * Nothing is copied: the first packet's headers are rewritten in place, the payloads go out as iovec slices.
 * Several flows may be open in one burst. A packet that cannot join its flow closes it first.
 *
 * The differences, both deliberate:
 *
 *   CWR    A first segment with CWR leads those without, and the superpacket says so (VIRTIO_NET_HDR_GSO_ECN): it
 *          is what a sender with TSO made of it (RFC 3168), and segments again into the packets that came. The
 *          kernel did so up to 6.14. From 6.15 on it keeps such a segment apart and merges runs in which all have
 *          CWR (as Accurate ECN sends them, RFC 9768) under a type of their own, SKB_GSO_TCP_ACCECN, for which the
 *          virtio header has no bit; so those go one by one here.
 *   IPv4   UDP with DF may have any identification: it means nothing there (RFC 6864, section 4), and a sender
 *          that is faster than its link leaves gaps in it, just when coalescing is needed most. The kernel's GRO
 *          asks for one that counts on or stays the same.
 *
 * A merged packet has a partial checksum, which the kernel takes as good. So a packet whose checksum is complete
 * is verified before it is merged; a bad one is written alone, as it came, for the receiver to refuse.
 */
import type { Arena } from '../sys/arena.ts';
import { checksum, checksumFold } from '../wire/checksum.ts';
import { IPV4_DONT_FRAGMENT, IPV4_FRAGMENT, IPV4_ID, IPV4_MIN_HEADER_BYTES } from '../wire/ipv4.ts';
import { type PayloadChecksum, payloadChecksum } from '../wire/payload-checksum.ts';
import { TCP_CWR, TCP_FLAGS, TCP_PORTS, TCP_RST, TCP_SEQUENCE, TCP_SYN, TCP_URG } from '../wire/tcp.ts';
import { UDP_CHECKSUM, UDP_LENGTH } from '../wire/udp.ts';
import type { WorkerCounters } from './counters.ts';
import type { DropTap } from './drop-tap.ts';
import {
  FlowHeaders,
  pseudoHeaderSum,
  sameAddresses4,
  sameAddresses6,
  sameHeaders,
  TCP_CLOSING_FLAGS,
} from './flow-headers.ts';
import {
  ID_COUNTING,
  ID_FIXED,
  ID_UNKNOWN,
  MAX_FLOWS,
  MAX_SEGMENTS,
  MAX_UDP_SEGMENTS,
  OpenFlows,
  pieceAt,
} from './open-flows.ts';
import type { TunQueue } from './ports.ts';
import { SuperpacketWriter } from './superpacket-write.ts';
import type { Turn } from './turn.ts';

const MAX_SUPERPACKET_BYTES = 65_535;
/** Flags that only a packet of its own can carry. */
const TCP_ALONE_FLAGS = TCP_SYN | TCP_RST | TCP_URG;

export interface CoalescerParts {
  /** The arena that the packets lie in. */
  readonly packets: Arena;
  readonly tun: TunQueue;
  readonly counters: WorkerCounters;
  /** Absent: nobody ever looks at what is dropped. */
  readonly drops?: DropTap;
  /** Which protocols to coalesce. */
  readonly tcp: boolean;
  readonly udp: boolean;
  readonly turn: Turn;
  /** The kernel refused a superpacket of that protocol; it is written packet by packet from now on. */
  readonly onOff: (protocol: 'tcp' | 'udp') => void;
}

export class Coalescer {
  readonly #view: DataView;
  readonly #sums: PayloadChecksum;
  readonly #flows = new OpenFlows();
  readonly #headers: FlowHeaders;
  readonly #writer: SuperpacketWriter;
  #tcp: boolean;
  #udp: boolean;
  /** Position of the flow that took a packet last; it may be closed by now. */
  #latest = 0;

  constructor(parts: CoalescerParts) {
    this.#view = parts.packets.view;
    this.#sums = payloadChecksum(parts.packets.summable);
    this.#headers = new FlowHeaders(this.#view);
    this.#tcp = parts.tcp;
    this.#udp = parts.udp;
    const onRefused = (protocol: 'tcp' | 'udp') => {
      // Several flows may have been open.
      if (protocol === 'udp' ? this.#udp : this.#tcp) parts.onOff(protocol);
      if (protocol === 'udp') this.#udp = false;
      else this.#tcp = false;
    };
    this.#writer = new SuperpacketWriter({ ...parts, flows: this.#flows, onRefused });
  }

  /**
   * Takes the inner packet of `bytes` bytes at `packet`, which passed every check, from `vtep`. It is written now
   * or by the next `flush`, until when its bytes must stay. `partialStart`: 0, or where the transport header begins
   * whose checksum is partial (UDP's or TCP's, as `partialIsUdp` says); the caller has checked that it does.
   */
  take(
    packet: number,
    bytes: number,
    isIpv4: boolean,
    partialStart: number,
    partialIsUdp: boolean,
    vtep: number,
  ): void {
    const partial = partialStart !== 0;
    let position = -1;
    if (this.#isOfLatest(packet, bytes, isIpv4)) {
      // Mostly a packet goes on where the one before it ended.
      position = this.#latest;
      if (this.#join(position, packet, bytes, partial)) return;
    } else if (this.#headers.parse(packet, bytes, isIpv4)) {
      position = this.#find(packet);
      if (position >= 0) {
        this.#latest = position;
        if (
          this.#hasHeadersOf(this.#flows.slots[position]!, packet) &&
          this.#join(position, packet, bytes, partial)
        )
          return;
      }
    } else {
      // Not TCP or UDP, or a fragment of it: which flow it belongs to cannot be told.
      this.flush();
      this.#writer.writePacket(packet, bytes, partial, partialStart, partialIsUdp, vtep);
      return;
    }
    if (position >= 0) this.#close(position);
    if (this.#canLead(packet, bytes)) this.#lead(packet, bytes, partial, vtep);
    else this.#writer.writePacket(packet, bytes, partial, this.#headers.transport, this.#headers.isUdp, vtep);
  }

  /** Writes everything that waits. */
  flush(): void {
    for (let position = 0; position < this.#flows.open; position++)
      this.#writer.write(this.#flows.slots[position]!);
    this.#flows.open = 0;
  }

  /** Position in `slots` of the open flow with the packet's addresses, protocol and ports, or -1. */
  #find(packet: number): number {
    const view = this.#view;
    const isIpv4 = this.#headers.isIpv4 ? 1 : 0;
    const isUdp = this.#headers.isUdp ? 1 : 0;
    const ports = view.getInt32(packet + this.#headers.transport + TCP_PORTS);
    for (let position = 0; position < this.#flows.open; position++) {
      const flow = this.#flows.slots[position]!;
      const head = this.#flows.head[flow]!;
      if (view.getInt32(head + this.#flows.transport[flow]! + TCP_PORTS) !== ports) continue;
      if (this.#flows.isIpv4[flow]! !== isIpv4 || this.#flows.isUdp[flow]! !== isUdp) continue;
      if (isIpv4 === 1 ? sameAddresses4(view, head, packet) : sameAddresses6(view, head, packet))
        return position;
    }
    return -1;
  }

  /** Whether a superpacket may begin with this packet. */
  #canLead(packet: number, bytes: number): boolean {
    if (bytes === this.#headers.headerBytes || !(this.#headers.isUdp ? this.#udp : this.#tcp)) return false;
    if (this.#headers.isIpv4 && checksum(this.#view, packet, IPV4_MIN_HEADER_BYTES) !== 0) return false;
    if (this.#headers.isUdp) return this.#isWholeUdp(packet, bytes);
    const transport = packet + this.#headers.transport;
    return (this.#view.getUint8(transport + TCP_FLAGS) & (TCP_ALONE_FLAGS | TCP_CLOSING_FLAGS)) === 0;
  }

  #lead(packet: number, bytes: number, partial: boolean, vtep: number): void {
    const { isIpv4, isUdp, transport, headerBytes } = this.#headers;
    if (this.#flows.open === MAX_FLOWS) this.flush();
    this.#latest = this.#flows.open;
    const flow = this.#flows.add(packet, bytes, isIpv4, isUdp, transport, headerBytes, partial, vtep);
    if (isUdp) return;
    const sequence = this.#view.getInt32(packet + transport + TCP_SEQUENCE);
    this.#flows.nextSequence[flow] = sequence + bytes - headerBytes;
  }

  /** Whether the packet is of the flow that took the last one; then it is parsed too. */
  #isOfLatest(packet: number, bytes: number, isIpv4: boolean): boolean {
    if (this.#latest >= this.#flows.open) return false;
    const flow = this.#flows.slots[this.#latest]!;
    if ((this.#flows.isIpv4[flow]! === 1) !== isIpv4 || bytes <= this.#flows.headerBytes[flow]!) return false;
    if (!this.#hasHeadersOf(flow, packet)) return false;
    const isUdp = this.#flows.isUdp[flow] === 1;
    this.#headers.set(isIpv4, isUdp, this.#flows.transport[flow]!, this.#flows.headerBytes[flow]!);
    return true;
  }

  /** Whether the headers agree with those of the flow's head wherever they must. */
  #hasHeadersOf(flow: number, packet: number): boolean {
    const { head, headerBytes, isIpv4, isUdp } = this.#flows;
    return sameHeaders(this.#view, head[flow]!, packet, headerBytes[flow]!, isIpv4[flow]!, isUdp[flow]!);
  }

  /** Adds a packet with the same headers to its flow's superpacket; false if it does not fit there. */
  #join(position: number, packet: number, bytes: number, partial: boolean): boolean {
    const flow = this.#flows.slots[position]!;
    const segmentBytes = this.#flows.segmentBytes[flow]!;
    const payloadBytes = bytes - this.#headers.headerBytes;
    const segments = this.#flows.segments[flow]!;
    const total = this.#flows.payloadBytes[flow]! + payloadBytes;
    if (payloadBytes <= 0 || payloadBytes > segmentBytes || (this.#flows.partial[flow]! === 1) !== partial)
      return false;
    if (segments === (this.#headers.isUdp ? MAX_UDP_SEGMENTS : MAX_SEGMENTS)) return false;
    if (this.#headers.headerBytes + total > MAX_SUPERPACKET_BYTES) return false;
    let closing = 0;
    if (this.#headers.isUdp) {
      if (!this.#isWholeUdp(packet, bytes)) return false;
    } else {
      const tcp = packet + this.#headers.transport;
      if (this.#view.getInt32(tcp + TCP_SEQUENCE) !== this.#flows.nextSequence[flow]) return false;
      const flags = this.#view.getUint8(tcp + TCP_FLAGS);
      if ((flags & TCP_CWR) !== 0) return false;
      closing = flags & TCP_CLOSING_FLAGS;
    }
    if (this.#headers.isIpv4 && !this.#ipv4Follows(flow, packet, segments)) return false;
    if (!partial && !this.#verify(flow, packet, bytes)) return false;
    this.#flows.append(flow, packet + this.#headers.headerBytes, payloadBytes, closing);
    if (closing !== 0 || payloadBytes < segmentBytes) this.#close(position);
    return true;
  }

  /** A UDP packet whose length is its packet's, and which has a checksum. */
  #isWholeUdp(packet: number, bytes: number): boolean {
    const udp = packet + this.#headers.transport;
    const view = this.#view;
    return (
      view.getUint16(udp + UDP_LENGTH) === bytes - this.#headers.transport &&
      view.getUint16(udp + UDP_CHECKSUM) !== 0
    );
  }

  /**
   * A good header checksum, and an identification that counts on, or that stays the same where DF is set; UDP with DF
   * may have any.
   */
  #ipv4Follows(flow: number, packet: number, segments: number): boolean {
    const view = this.#view;
    if (checksum(view, packet, IPV4_MIN_HEADER_BYTES) !== 0) return false;
    const dontFragment = (view.getUint16(packet + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) !== 0;
    if (this.#headers.isUdp && dontFragment) return true;
    const distance =
      (view.getUint16(packet + IPV4_ID) - view.getUint16(this.#flows.head[flow]! + IPV4_ID)) & 0xffff;
    if (this.#flows.idMode[flow] === ID_UNKNOWN) {
      this.#flows.idMode[flow] = distance === 0 && dontFragment ? ID_FIXED : ID_COUNTING;
    }
    return this.#flows.idMode[flow] === ID_FIXED ? distance === 0 : distance === segments;
  }

  /** Whether the packet's complete checksum is right, and the head's (which is asked once). */
  #verify(flow: number, packet: number, bytes: number): boolean {
    if (this.#flows.verified[flow] === 0) {
      const head = this.#flows.head[flow]!;
      if (!this.#checksumIsGood(head, this.#headers.headerBytes + this.#flows.pieceBytes[pieceAt(flow, 0)]!))
        return false;
      this.#flows.verified[flow] = 1;
    }
    return this.#checksumIsGood(packet, bytes);
  }

  #checksumIsGood(packet: number, bytes: number): boolean {
    const { isIpv4, isUdp, transport } = this.#headers;
    const transportBytes = bytes - transport;
    const sum = pseudoHeaderSum(this.#view, packet, isIpv4, isUdp) + transportBytes;
    return checksumFold(sum + this.#sums.sum(packet + transport, transportBytes)) === 0xffff;
  }

  /** Writes a flow's superpacket and frees its slot. */
  #close(position: number): void {
    this.#writer.write(this.#flows.slots[position]!);
    this.#flows.remove(position);
  }
}
