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
import { Arena } from '../sys/arena.ts';
import { EAGAIN, EINTR, EINVAL } from '../sys/constants.ts';
import { IOVEC } from '../sys/structs.ts';
import { checksum, checksumFold, pseudoHeaderSum4, pseudoHeaderSum6 } from '../wire/checksum.ts';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  IPV4_ID,
  IPV4_MIN_HEADER_BYTES,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
} from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, IPV6_PAYLOAD_LENGTH, IPV6_SOURCE } from '../wire/ipv6.ts';
import { type PayloadChecksum, payloadChecksum } from '../wire/payload-checksum.ts';
import {
  PROTOCOL_TCP,
  TCP_CHECKSUM,
  TCP_CWR,
  TCP_FIN,
  TCP_FLAGS,
  TCP_MIN_HEADER_BYTES,
  TCP_PORTS,
  TCP_PSH,
  TCP_RST,
  TCP_SEQUENCE,
  TCP_SYN,
  TCP_URG,
  tcpHeaderBytes,
} from '../wire/tcp.ts';
import { PROTOCOL_UDP, UDP_CHECKSUM, UDP_HEADER_BYTES, UDP_LENGTH } from '../wire/udp.ts';
import {
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP_L4,
  VIRTIO_NET_HEADER_BYTES,
  writePlainVirtioHeader,
  writeVirtioHeader,
} from '../wire/virtio-net.ts';
import type { WorkerCounters } from './counters.ts';
import { DROP } from './drops.ts';
import type { TunQueue } from './ports.ts';
import type { Turn } from './turn.ts';

/** Flows that are open at once; one more closes them all. */
const MAX_FLOWS = 16;
/** Segments of one superpacket: UDP_GRO_CNT_MAX for UDP, bounded by the iovecs for TCP. */
const MAX_UDP_SEGMENTS = 64;
const MAX_SEGMENTS = 128;
const MAX_SUPERPACKET_BYTES = 65_535;

const IOVECS_PER_FLOW = MAX_SEGMENTS + 1;
const VIRTIO_STRIDE = 16;
/** A spare flow's place in the scratch arena, for packets that are written alone. */
const ALONE = MAX_FLOWS;
const IOVECS = (MAX_FLOWS + 1) * VIRTIO_STRIDE;

/** Identifications of consecutive packets: not known yet, all the same, or counting. */
const ID_UNKNOWN = 0;
const ID_FIXED = 1;
const ID_COUNTING = 2;

/** Flags that only a packet of its own can carry. */
const TCP_ALONE_FLAGS = TCP_SYN | TCP_RST | TCP_URG;
/** Flags that end a superpacket. CWR is the one that only its first segment can carry. */
const TCP_CLOSING_FLAGS = TCP_FIN | TCP_PSH;
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

export interface CoalescerParts {
  /** The arena that the packets lie in. */
  readonly packets: Arena;
  readonly tun: TunQueue;
  readonly counters: WorkerCounters;
  /** Which protocols to coalesce. */
  readonly tcp: boolean;
  readonly udp: boolean;
  readonly turn: Turn;
  /** The kernel refused a superpacket of that protocol; it is written packet by packet from now on. */
  readonly onOff: (protocol: 'tcp' | 'udp') => void;
}

export class Coalescer {
  readonly #parts: CoalescerParts;
  readonly #packets: Arena;
  readonly #view: DataView;
  readonly #sums: PayloadChecksum;
  readonly #scratch = new Arena(IOVECS + (MAX_FLOWS + 1) * IOVECS_PER_FLOW * IOVEC.bytes);
  #tcp: boolean;
  #udp: boolean;

  /** The packet in hand, as `#parse` found it. */
  #isIpv4 = true;
  #isUdp = false;
  #transport = 0;
  #headerBytes = 0;

  /** The first `#open` of these slots hold an open flow each, oldest first but for holes that were filled. */
  readonly #slots = Int32Array.from({ length: MAX_FLOWS }, (_, slot) => slot);
  #open = 0;
  /** Position of the flow that took a packet last; it may be closed by now. */
  #latest = 0;

  // By slot.
  readonly #head = new Int32Array(MAX_FLOWS);
  readonly #flowIsIpv4 = new Uint8Array(MAX_FLOWS);
  readonly #flowIsUdp = new Uint8Array(MAX_FLOWS);
  readonly #flowTransport = new Int32Array(MAX_FLOWS);
  readonly #flowHeaderBytes = new Int32Array(MAX_FLOWS);
  readonly #segmentBytes = new Int32Array(MAX_FLOWS);
  readonly #payloadBytes = new Int32Array(MAX_FLOWS);
  readonly #segments = new Int32Array(MAX_FLOWS);
  readonly #nextSequence = new Int32Array(MAX_FLOWS);
  readonly #idMode = new Uint8Array(MAX_FLOWS);
  readonly #flags = new Uint8Array(MAX_FLOWS);
  readonly #partial = new Uint8Array(MAX_FLOWS);
  readonly #verified = new Uint8Array(MAX_FLOWS);
  readonly #vtep = new Int32Array(MAX_FLOWS);
  /** By flow and segment: offset and length of the payload. */
  readonly #pieceOffset = new Int32Array(MAX_FLOWS * MAX_SEGMENTS);
  readonly #pieceBytes = new Int32Array(MAX_FLOWS * MAX_SEGMENTS);

  constructor(parts: CoalescerParts) {
    this.#parts = parts;
    this.#packets = parts.packets;
    this.#view = parts.packets.view;
    this.#sums = payloadChecksum(parts.packets.summable);
    this.#tcp = parts.tcp;
    this.#udp = parts.udp;
    for (let flow = 0; flow <= ALONE; flow++) {
      this.#scratch.setPointer(iovecAt(flow, 0) + IOVEC.base, flow * VIRTIO_STRIDE);
      this.#scratch.setWord(iovecAt(flow, 0) + IOVEC.length, VIRTIO_NET_HEADER_BYTES);
    }
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
    } else if (this.#parse(packet, bytes, isIpv4)) {
      position = this.#find(packet);
      if (position >= 0) {
        this.#latest = position;
        if (this.#sameHeaders(this.#slots[position]!, packet) && this.#join(position, packet, bytes, partial))
          return;
      }
    } else {
      // Not TCP or UDP, or a fragment of it: which flow it belongs to cannot be told.
      this.flush();
      this.#writePacket(packet, bytes, partial, partialStart, partialIsUdp, vtep);
      return;
    }
    if (position >= 0) this.#close(position);
    if (this.#canLead(packet, bytes)) this.#lead(packet, bytes, partial, vtep);
    else this.#writePacket(packet, bytes, partial, this.#transport, this.#isUdp, vtep);
  }

  /** Writes everything that waits. */
  flush(): void {
    for (let position = 0; position < this.#open; position++) this.#write(this.#slots[position]!);
    this.#open = 0;
  }

  /** Finds the transport header; false for what is not unfragmented TCP or UDP behind a plain IP header. */
  #parse(packet: number, bytes: number, isIpv4: boolean): boolean {
    const view = this.#view;
    let protocol: number;
    if (isIpv4) {
      if (view.getUint8(packet) !== 0x45) return false;
      if ((view.getUint16(packet + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT) !== 0) return false;
      protocol = view.getUint8(packet + IPV4_PROTOCOL);
      this.#transport = IPV4_MIN_HEADER_BYTES;
    } else {
      protocol = view.getUint8(packet + IPV6_NEXT_HEADER);
      this.#transport = IPV6_HEADER_BYTES;
    }
    this.#isIpv4 = isIpv4;
    this.#isUdp = protocol === PROTOCOL_UDP;
    if (this.#isUdp) {
      this.#headerBytes = this.#transport + UDP_HEADER_BYTES;
      return this.#headerBytes <= bytes;
    }
    if (protocol !== PROTOCOL_TCP || this.#transport + TCP_MIN_HEADER_BYTES > bytes) return false;
    const tcpBytes = tcpHeaderBytes(view, packet + this.#transport);
    this.#headerBytes = this.#transport + tcpBytes;
    return tcpBytes >= TCP_MIN_HEADER_BYTES && this.#headerBytes <= bytes;
  }

  /** Position in `#slots` of the open flow with the packet's addresses, protocol and ports, or -1. */
  #find(packet: number): number {
    const view = this.#view;
    const isIpv4 = this.#isIpv4 ? 1 : 0;
    const isUdp = this.#isUdp ? 1 : 0;
    const ports = view.getInt32(packet + this.#transport + TCP_PORTS);
    for (let position = 0; position < this.#open; position++) {
      const flow = this.#slots[position]!;
      const head = this.#head[flow]!;
      if (view.getInt32(head + this.#flowTransport[flow]! + TCP_PORTS) !== ports) continue;
      if (this.#flowIsIpv4[flow] !== isIpv4 || this.#flowIsUdp[flow] !== isUdp) continue;
      if (isIpv4 === 1 ? this.#sameAddresses4(head, packet) : this.#sameAddresses6(head, packet))
        return position;
    }
    return -1;
  }

  #sameAddresses4(a: number, b: number): boolean {
    const view = this.#view;
    return (
      view.getInt32(a + IPV4_SOURCE) === view.getInt32(b + IPV4_SOURCE) &&
      view.getInt32(a + IPV4_DESTINATION) === view.getInt32(b + IPV4_DESTINATION)
    );
  }

  #sameAddresses6(a: number, b: number): boolean {
    const view = this.#view;
    for (let i = IPV6_SOURCE; i < IPV6_HEADER_BYTES; i += 4) {
      if (view.getInt32(a + i) !== view.getInt32(b + i)) return false;
    }
    return true;
  }

  /** Whether a superpacket may begin with this packet. */
  #canLead(packet: number, bytes: number): boolean {
    if (bytes === this.#headerBytes || !(this.#isUdp ? this.#udp : this.#tcp)) return false;
    if (this.#isIpv4 && checksum(this.#view, packet, IPV4_MIN_HEADER_BYTES) !== 0) return false;
    if (this.#isUdp) return this.#isWholeUdp(packet, bytes);
    const transport = packet + this.#transport;
    return (this.#view.getUint8(transport + TCP_FLAGS) & (TCP_ALONE_FLAGS | TCP_CLOSING_FLAGS)) === 0;
  }

  #lead(packet: number, bytes: number, partial: boolean, vtep: number): void {
    if (this.#open === MAX_FLOWS) this.flush();
    this.#latest = this.#open;
    const flow = this.#slots[this.#open++]!;
    const payloadBytes = bytes - this.#headerBytes;
    this.#head[flow] = packet;
    this.#flowIsIpv4[flow] = this.#isIpv4 ? 1 : 0;
    this.#flowIsUdp[flow] = this.#isUdp ? 1 : 0;
    this.#flowTransport[flow] = this.#transport;
    this.#flowHeaderBytes[flow] = this.#headerBytes;
    this.#segmentBytes[flow] = payloadBytes;
    this.#payloadBytes[flow] = payloadBytes;
    this.#segments[flow] = 1;
    this.#idMode[flow] = ID_UNKNOWN;
    this.#flags[flow] = 0;
    this.#partial[flow] = partial ? 1 : 0;
    this.#verified[flow] = partial ? 1 : 0;
    this.#vtep[flow] = vtep;
    this.#pieceOffset[flow * MAX_SEGMENTS] = packet + this.#headerBytes;
    this.#pieceBytes[flow * MAX_SEGMENTS] = payloadBytes;
    if (!this.#isUdp) {
      this.#nextSequence[flow] = this.#view.getInt32(packet + this.#transport + TCP_SEQUENCE) + payloadBytes;
    }
  }

  /** Whether the packet is of the flow that took the last one; then it is parsed too. */
  #isOfLatest(packet: number, bytes: number, isIpv4: boolean): boolean {
    if (this.#latest >= this.#open) return false;
    const flow = this.#slots[this.#latest]!;
    if ((this.#flowIsIpv4[flow] === 1) !== isIpv4 || bytes <= this.#flowHeaderBytes[flow]!) return false;
    if (!this.#sameHeaders(flow, packet)) return false;
    this.#isIpv4 = isIpv4;
    this.#isUdp = this.#flowIsUdp[flow] === 1;
    this.#transport = this.#flowTransport[flow]!;
    this.#headerBytes = this.#flowHeaderBytes[flow]!;
    return true;
  }

  /** Whether the headers agree with those of the flow's head wherever they must. */
  #sameHeaders(flow: number, packet: number): boolean {
    const view = this.#view;
    const head = this.#head[flow]!;
    const mask = SAME_MASKS[shapeOf(this.#flowIsIpv4[flow]!, this.#flowIsUdp[flow]!)]!;
    const words = this.#flowHeaderBytes[flow]! >> 2;
    let different = 0;
    for (let i = 0; i < words; i++) {
      different |= (view.getInt32(packet + 4 * i) ^ view.getInt32(head + 4 * i)) & mask[i]!;
    }
    return different === 0;
  }

  /** Adds a packet with the same headers to its flow's superpacket; false if it does not fit there. */
  #join(position: number, packet: number, bytes: number, partial: boolean): boolean {
    const flow = this.#slots[position]!;
    const segmentBytes = this.#segmentBytes[flow]!;
    const payloadBytes = bytes - this.#headerBytes;
    const segments = this.#segments[flow]!;
    const total = this.#payloadBytes[flow]! + payloadBytes;
    if (payloadBytes <= 0 || payloadBytes > segmentBytes || (this.#partial[flow] === 1) !== partial)
      return false;
    if (segments === (this.#isUdp ? MAX_UDP_SEGMENTS : MAX_SEGMENTS)) return false;
    if (this.#headerBytes + total > MAX_SUPERPACKET_BYTES) return false;
    let closing = 0;
    if (this.#isUdp) {
      if (!this.#isWholeUdp(packet, bytes)) return false;
    } else {
      const tcp = packet + this.#transport;
      if (this.#view.getInt32(tcp + TCP_SEQUENCE) !== this.#nextSequence[flow]) return false;
      const flags = this.#view.getUint8(tcp + TCP_FLAGS);
      if ((flags & TCP_CWR) !== 0) return false;
      closing = flags & TCP_CLOSING_FLAGS;
    }
    if (this.#isIpv4 && !this.#ipv4Follows(flow, packet, segments)) return false;
    if (!partial && !this.#verify(flow, packet, bytes)) return false;
    const piece = flow * MAX_SEGMENTS + segments;
    this.#pieceOffset[piece] = packet + this.#headerBytes;
    this.#pieceBytes[piece] = payloadBytes;
    this.#segments[flow] = segments + 1;
    this.#payloadBytes[flow] = total;
    this.#nextSequence[flow]! += payloadBytes;
    this.#flags[flow] = closing;
    if (closing !== 0 || payloadBytes < segmentBytes) this.#close(position);
    return true;
  }

  /** A UDP packet whose length is its packet's, and which has a checksum. */
  #isWholeUdp(packet: number, bytes: number): boolean {
    const udp = packet + this.#transport;
    const view = this.#view;
    return (
      view.getUint16(udp + UDP_LENGTH) === bytes - this.#transport && view.getUint16(udp + UDP_CHECKSUM) !== 0
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
    if (this.#isUdp && dontFragment) return true;
    const distance =
      (view.getUint16(packet + IPV4_ID) - view.getUint16(this.#head[flow]! + IPV4_ID)) & 0xffff;
    if (this.#idMode[flow] === ID_UNKNOWN) {
      this.#idMode[flow] = distance === 0 && dontFragment ? ID_FIXED : ID_COUNTING;
    }
    return this.#idMode[flow] === ID_FIXED ? distance === 0 : distance === segments;
  }

  /** Whether the packet's complete checksum is right, and the head's (which is asked once). */
  #verify(flow: number, packet: number, bytes: number): boolean {
    if (this.#verified[flow] === 0) {
      const head = this.#head[flow]!;
      if (!this.#checksumIsGood(head, this.#headerBytes + this.#pieceBytes[flow * MAX_SEGMENTS]!))
        return false;
      this.#verified[flow] = 1;
    }
    return this.#checksumIsGood(packet, bytes);
  }

  #checksumIsGood(packet: number, bytes: number): boolean {
    const transportBytes = bytes - this.#transport;
    const sum = this.#pseudoHeaderSum(packet, this.#isIpv4, this.#isUdp) + transportBytes;
    return checksumFold(sum + this.#sums.sum(packet + this.#transport, transportBytes)) === 0xffff;
  }

  #pseudoHeaderSum(packet: number, isIpv4: boolean, isUdp: boolean): number {
    const protocol = isUdp ? PROTOCOL_UDP : PROTOCOL_TCP;
    return isIpv4
      ? pseudoHeaderSum4(this.#view, packet, protocol)
      : pseudoHeaderSum6(this.#view, packet, protocol);
  }

  /** Writes a flow's superpacket and frees its slot. */
  #close(position: number): void {
    const flow = this.#slots[position]!;
    this.#write(flow);
    const last = --this.#open;
    this.#slots[position] = this.#slots[last]!;
    this.#slots[last] = flow;
  }

  #write(flow: number): void {
    const head = this.#head[flow]!;
    const headerBytes = this.#flowHeaderBytes[flow]!;
    const segments = this.#segments[flow]!;
    const vtep = this.#vtep[flow]!;
    if (segments === 1) {
      const bytes = headerBytes + this.#payloadBytes[flow]!;
      this.#writePacket(
        head,
        bytes,
        this.#partial[flow] === 1,
        this.#flowTransport[flow]!,
        this.#flowIsUdp[flow] === 1,
        vtep,
      );
      return;
    }
    const isIpv4 = this.#flowIsIpv4[flow] === 1;
    const isUdp = this.#flowIsUdp[flow] === 1;
    const transport = head + this.#flowTransport[flow]!;
    const ipLengthAt = head + (isIpv4 ? IPV4_TOTAL_LENGTH : IPV6_PAYLOAD_LENGTH);
    const checksumAt = transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    // What the head's headers were, should the kernel refuse the superpacket.
    const ipLength = this.#view.getUint16(ipLengthAt);
    const ipChecksum = this.#view.getUint16(head + IPV4_CHECKSUM);
    const transportChecksum = this.#view.getUint16(checksumAt);
    this.#writeSuperHeaders(flow, head, isIpv4, isUdp);
    const written = this.#writev(flow, this.#writeIovecs(flow));
    if (written >= 0) {
      this.#parts.counters.inbound(vtep, segments, segments * headerBytes + this.#payloadBytes[flow]!);
      return;
    }
    if (written !== -EINVAL) {
      for (let i = 0; i < segments; i++) this.#parts.counters.drop(DROP.inboundWriteFailed);
      return;
    }
    this.#view.setUint16(ipLengthAt, ipLength);
    if (isIpv4) this.#view.setUint16(head + IPV4_CHECKSUM, ipChecksum);
    if (isUdp) this.#view.setUint16(transport + UDP_LENGTH, UDP_HEADER_BYTES + this.#segmentBytes[flow]!);
    else
      this.#view.setUint8(
        transport + TCP_FLAGS,
        this.#view.getUint8(transport + TCP_FLAGS) & ~TCP_CLOSING_FLAGS,
      );
    this.#view.setUint16(checksumAt, transportChecksum);
    this.#writeApart(flow);
  }

  /** The head's headers become those of the superpacket; its checksum becomes partial. */
  #writeSuperHeaders(flow: number, head: number, isIpv4: boolean, isUdp: boolean): void {
    const view = this.#view;
    const transportOffset = this.#flowTransport[flow]!;
    const headerBytes = this.#flowHeaderBytes[flow]!;
    const transport = head + transportOffset;
    const totalBytes = headerBytes + this.#payloadBytes[flow]!;
    if (isIpv4) {
      view.setUint16(head + IPV4_TOTAL_LENGTH, totalBytes);
      view.setUint16(head + IPV4_CHECKSUM, 0);
      view.setUint16(head + IPV4_CHECKSUM, checksum(view, head, IPV4_MIN_HEADER_BYTES));
    } else {
      view.setUint16(head + IPV6_PAYLOAD_LENGTH, totalBytes - IPV6_HEADER_BYTES);
    }
    const transportBytes = totalBytes - transportOffset;
    let gsoType: number = VIRTIO_GSO_UDP_L4;
    if (isUdp) {
      view.setUint16(transport + UDP_LENGTH, transportBytes);
    } else {
      const flags = view.getUint8(transport + TCP_FLAGS) | this.#flags[flow]!;
      view.setUint8(transport + TCP_FLAGS, flags);
      gsoType = isIpv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6;
      if ((flags & TCP_CWR) !== 0) gsoType |= VIRTIO_GSO_ECN;
    }
    const field = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
    view.setUint16(
      transport + field,
      checksumFold(this.#pseudoHeaderSum(head, isIpv4, isUdp) + transportBytes),
    );
    writeVirtioHeader(
      this.#scratch.view,
      flow * VIRTIO_STRIDE,
      gsoType,
      headerBytes,
      this.#segmentBytes[flow]!,
      transportOffset,
      field,
    );
  }

  /** One iovec for the head, one for each further payload; returns how many with the virtio header's. */
  #writeIovecs(flow: number): number {
    const segments = this.#segments[flow]!;
    this.#setIovec(flow, 1, this.#head[flow]!, this.#flowHeaderBytes[flow]! + this.#segmentBytes[flow]!);
    for (let i = 1; i < segments; i++) {
      const piece = flow * MAX_SEGMENTS + i;
      this.#setIovec(flow, 1 + i, this.#pieceOffset[piece]!, this.#pieceBytes[piece]!);
    }
    return 1 + segments;
  }

  /** The kernel takes no superpackets of this protocol: stop making them, and write this one's packets. */
  #writeApart(flow: number): void {
    const isUdp = this.#flowIsUdp[flow] === 1;
    // Several flows may have been open.
    if (isUdp ? this.#udp : this.#tcp) this.#parts.onOff(isUdp ? 'udp' : 'tcp');
    if (isUdp) this.#udp = false;
    else this.#tcp = false;
    const headerBytes = this.#flowHeaderBytes[flow]!;
    for (let i = 0; i < this.#segments[flow]!; i++) {
      const piece = flow * MAX_SEGMENTS + i;
      const packet = this.#pieceOffset[piece]! - headerBytes;
      const bytes = headerBytes + this.#pieceBytes[piece]!;
      this.#writePacket(
        packet,
        bytes,
        this.#partial[flow] === 1,
        this.#flowTransport[flow]!,
        isUdp,
        this.#vtep[flow]!,
      );
    }
  }

  /** Writes one packet as it is. */
  #writePacket(
    packet: number,
    bytes: number,
    partial: boolean,
    transport: number,
    isUdp: boolean,
    vtep: number,
  ): void {
    const virtio = ALONE * VIRTIO_STRIDE;
    const field = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
    if (partial) writeVirtioHeader(this.#scratch.view, virtio, VIRTIO_GSO_NONE, 0, 0, transport, field);
    else writePlainVirtioHeader(this.#scratch.view, virtio);
    this.#setIovec(ALONE, 1, packet, bytes);
    if (this.#writev(ALONE, 2) < 0) this.#parts.counters.drop(DROP.inboundWriteFailed);
    else this.#parts.counters.inbound(vtep, 1, bytes);
  }

  #writev(flow: number, count: number): number {
    for (;;) {
      const written = this.#parts.tun.writev(this.#scratch.address(iovecAt(flow, 0)), count);
      if (written === -EINTR || (written === -EAGAIN && this.#parts.turn.waitForRoom())) continue;
      return written;
    }
  }

  #setIovec(flow: number, index: number, offset: number, bytes: number): void {
    const at = iovecAt(flow, index);
    this.#scratch.setWord(at + IOVEC.base, this.#packets.address(offset));
    this.#scratch.view.setUint32(at + IOVEC.length, bytes, true);
  }
}

function iovecAt(flow: number, index: number): number {
  return IOVECS + (flow * IOVECS_PER_FLOW + index) * IOVEC.bytes;
}

/** Index into SAME_MASKS; both arguments are 0 or 1. */
function shapeOf(isIpv4: number, isUdp: number): number {
  return 2 * (1 - isIpv4) + isUdp;
}
