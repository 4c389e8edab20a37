/**
 * Outbound: from the TUN to the underlay. In packet order:
 *
 *   1. read      inner packets from the TUN; one may be a superpacket of up to 64 KB
 *   2. parse     the IP header; what is not a whole unicast packet from our own subnets, or from a guest or to one, is dropped
 *   3. look up   the destination in the FDB: which VTEP owns it
 *   4. measure   against the path MTU to that VTEP
 *   5. enclose   write the encapsulation's header (encapsulation.ts); a superpacket is segmented (segment.ts)
 *   6. send      in as few system calls as there can be (send-queue.ts)
 *
 * A packet is an offset into the arena. What the TUN gave belongs to this file until the queue is flushed.
 */
import type { Fdb } from '../fdb/fdb.ts';
import { FDB_LOCAL, FDB_MISS } from '../fdb/snapshot.ts';
import { EINTR } from '../sys/constants.ts';
import {
  IPV4_PROTOCOL,
  ipVersion,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4IsUnicast,
  ipv4PacketLength,
  ipv4Source,
} from '../wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_BYTES,
  IPV6_NEXT_HEADER,
  IPV6_SOURCE,
  ipv6IsRoutable,
  ipv6PacketLength,
} from '../wire/ipv6.ts';
import { PROTOCOL_TCP, TCP_CHECKSUM, TCP_MIN_HEADER_BYTES, tcpHeaderBytes } from '../wire/tcp.ts';
import { PROTOCOL_UDP, UDP_CHECKSUM, UDP_HEADER_BYTES } from '../wire/udp.ts';
import {
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP_L4,
  VIRTIO_NET_HEADER_BYTES,
  virtioChecksumOffset,
  virtioChecksumStart,
  virtioGsoBytes,
  virtioGsoType,
  virtioNeedsChecksum,
} from '../wire/virtio-net.ts';
import type { WorkerCounters } from './counters.ts';
import { DROPPED } from './drop-ring.ts';
import { DropTap } from './drop-tap.ts';
import { ANSWERED, DROP, type DropReason, PASSED, type Verdict } from './drops.ts';
import type { Encapsulation, Encloser } from './encapsulation.ts';
import type { IcmpReplies } from './icmp-replies.ts';
import { MAX_HEADER_BYTES, OutboundArena } from './outbound-arena.ts';
import { PathMtu, type PathMtuParts } from './path-mtu.ts';
import type { TunQueue } from './ports.ts';
import { Segmenter, type Superpacket } from './segment.ts';
import { SendQueue, type SendQueueParts } from './send-queue.ts';
import type { Turn } from './turn.ts';
import type { VtepTable } from './vtep-table.ts';

/** Bytes that wait to be sent before more is read: what was just read should still be in the cache. */
const FLUSH_BYTES = 60 * 1024;

export interface OutboundParts
  extends Omit<SendQueueParts, 'arena' | 'encloser' | 'pathMtu'>,
    Omit<PathMtuParts, 'arena'> {
  readonly tun: TunQueue;
  readonly fdb: Fdb;
  readonly encapsulation: Encapsulation;
  /** Whatever the host routes here leaves, whoever sent it and be it to many: the FDB alone decides. */
  readonly fromAnywhere?: boolean;
}

export class Outbound {
  readonly #tun: TunQueue;
  readonly #fdb: Fdb;
  readonly #vteps: VtepTable;
  readonly #counters: WorkerCounters;
  readonly #drops: DropTap;
  readonly #replies: IcmpReplies;
  readonly #turn: Turn;
  readonly #fromAnywhere: boolean;

  readonly #arena = new OutboundArena();
  readonly #view = this.#arena.view;
  readonly #pathMtu: PathMtu;
  readonly #encloser: Encloser;
  readonly #headerBytes: number;
  readonly #queue: SendQueue;
  readonly #segmenter: Segmenter;
  /** The superpacket in hand; one object for all of them. */
  readonly #super: Superpacket = {
    packet: 0,
    bytes: 0,
    isIpv4: true,
    isUdp: false,
    transportOffset: 0,
    headerBytes: 0,
    segmentBytes: 0,
  };

  constructor(parts: OutboundParts) {
    this.#tun = parts.tun;
    this.#fdb = parts.fdb;
    this.#vteps = parts.vteps;
    this.#counters = parts.counters;
    this.#drops = parts.drops ?? new DropTap();
    this.#replies = parts.replies;
    this.#turn = parts.turn;
    this.#fromAnywhere = parts.fromAnywhere === true;
    this.#pathMtu = new PathMtu({ ...parts, arena: this.#arena });
    this.#encloser = parts.encapsulation.encloser(this.#arena);
    this.#headerBytes = parts.encapsulation.form.headerBytes;
    const queueParts = {
      ...parts,
      drops: this.#drops,
      arena: this.#arena,
      encloser: this.#encloser,
      pathMtu: this.#pathMtu,
    };
    this.#queue = new SendQueue(queueParts);
    this.#segmenter = new Segmenter(this.#arena, this.#queue, this.#encloser);
  }

  /**
   * Steps 1 to 6 for one turn. Returns the errno that ended it: 0 if it was full, EAGAIN if the TUN is empty,
   * anything else if the TUN is broken.
   */
  drain(): number {
    let errno = 0;
    this.#turn.begin();
    while (!this.#turn.isOver) {
      const packet = this.#arena.packet;
      const readBytes = this.#tun.read(this.#arena.readAddress, this.#arena.readCapacity);
      if (readBytes < 0) {
        errno = -readBytes;
        if (errno === EINTR) continue;
        break;
      }
      this.#turn.count(readBytes);
      const verdict = this.#packet(packet, readBytes - VIRTIO_NET_HEADER_BYTES);
      if (verdict >= 0) this.#drop(verdict as DropReason, packet, readBytes - VIRTIO_NET_HEADER_BYTES);
      if (verdict === PASSED) this.#arena.keep(readBytes);
      if (this.#queue.queuedBytes >= FLUSH_BYTES || this.#queue.isFull || this.#arena.isFull) this.#flush();
    }
    if (!this.#queue.isEmpty) this.#flush();
    return errno;
  }

  #flush(): void {
    this.#queue.flush();
    this.#arena.reset();
  }

  /** Step 2. */
  #packet(packet: number, readBytes: number): Verdict {
    const version = readBytes > 0 ? ipVersion(this.#view, packet) : 0;
    if (version === 4) return this.#packet4(packet, ipv4PacketLength(this.#view, packet, readBytes));
    if (version === 6) return this.#packet6(packet, ipv6PacketLength(this.#view, packet, readBytes));
    return DROP.outboundMalformed;
  }

  /** Steps 2 and 3, IPv4. `bytes` is 0 for a malformed packet. */
  #packet4(packet: number, bytes: number): Verdict {
    if (bytes === 0) return DROP.outboundMalformed;
    const destination = ipv4Destination(this.#view, packet);
    const vtep = this.#fdb.lookup4(destination);
    if (!this.#fromAnywhere) {
      if (!ipv4IsUnicast(destination)) return DROP.outboundNotUnicast;
      const source = this.#fdb.lookup4(ipv4Source(this.#view, packet));
      if (source !== FDB_LOCAL && !this.#passesOn(source, vtep)) return DROP.outboundForeignSource;
    }
    return this.#forward(packet, bytes, vtep, true);
  }

  /** Steps 2 and 3, IPv6. */
  #packet6(packet: number, bytes: number): Verdict {
    if (bytes === 0) return DROP.outboundMalformed;
    const destination = packet + IPV6_DESTINATION;
    const word0 = this.#view.getInt32(destination);
    const word1 = this.#view.getInt32(destination + 4);
    const word2 = this.#view.getInt32(destination + 8);
    const word3 = this.#view.getInt32(destination + 12);
    const vtep = this.#fdb.lookup6(word0, word1, word2, word3);
    if (!this.#fromAnywhere) {
      if (!ipv6IsRoutable(word0, word1, word2, word3)) return DROP.outboundNotUnicast;
      const source = this.#fdb.lookup6At(this.#view, packet + IPV6_SOURCE);
      if (source !== FDB_LOCAL && !this.#passesOn(source, vtep)) return DROP.outboundForeignSource;
    }
    return this.#forward(packet, bytes, vtep, false);
  }

  /** Step 2 for what came out of a tunnel: from a guest to another peer, or the other way round. */
  #passesOn(from: number, to: number): boolean {
    return from >= 0 && from !== to && (this.#vteps.isGuest(from) || this.#vteps.isGuest(to));
  }

  /** Step 3: what was found. */
  #forward(packet: number, bytes: number, vtep: number, isIpv4: boolean): Verdict {
    if (vtep === FDB_MISS || vtep === FDB_LOCAL) {
      // The kernel routes our own subnets itself, so FDB_LOCAL here is a packet that would only come back.
      this.#drop(DROP.outboundNoRoute, packet, bytes);
      this.#replies.noRoute(this.#arena.arena.bytes, packet, bytes);
      return ANSWERED;
    }
    const virtio = packet - VIRTIO_NET_HEADER_BYTES;
    const gsoType = virtioGsoType(this.#view, virtio);
    if (gsoType === VIRTIO_GSO_NONE) return this.#plain(packet, bytes, vtep, isIpv4);
    return this.#superpacket(packet, bytes, vtep, isIpv4, gsoType);
  }

  /** Steps 4 and 5 for a packet that is one datagram. */
  #plain(packet: number, bytes: number, vtep: number, isIpv4: boolean): Verdict {
    const tooBig = this.#pathMtu.isOver(vtep, packet, bytes);
    if (tooBig && !this.#pathMtu.mayFragment(packet, bytes)) return this.#answerTooBig(packet, bytes, vtep);
    const virtio = packet - VIRTIO_NET_HEADER_BYTES;
    let partialStart = 0;
    let partialIsUdp = false;
    if (virtioNeedsChecksum(this.#view, virtio)) {
      const start = virtioChecksumStart(this.#view, virtio);
      const field = virtioChecksumOffset(this.#view, virtio);
      if (start + field + 2 > bytes) return DROP.outboundMalformed;
      if (this.#mayBePartial(vtep, start) && this.#isTransportOf(packet, isIpv4, start, field)) {
        partialStart = start;
        partialIsUdp = field === UDP_CHECKSUM;
      } else {
        this.#segmenter.completeChecksum(packet, bytes, start, field);
      }
    }
    this.#encloser.writeHeader(this.#queue.headerSlot, vtep, isIpv4, partialStart, partialIsUdp);
    this.#queue.add(vtep, packet, this.#headerBytes, packet, bytes, tooBig);
    return PASSED;
  }

  /** Steps 4 and 5 for a superpacket. */
  #superpacket(packet: number, bytes: number, vtep: number, isIpv4: boolean, gsoType: number): Verdict {
    const from = this.#super;
    if (!this.#parseSuperpacket(packet, bytes, isIpv4, gsoType)) return DROP.outboundMalformed;
    const largest = from.headerBytes + from.segmentBytes;
    const tooBig = this.#pathMtu.isOver(vtep, packet, largest);
    if (tooBig && !this.#pathMtu.mayFragment(packet, largest)) return this.#answerTooBig(packet, bytes, vtep);
    this.#segmenter.segment(from, vtep, this.#mayBePartial(vtep, from.transportOffset), tooBig);
    return PASSED;
  }

  /** Fills `#super`; false if the headers are not those of what the virtio header announces. */
  #parseSuperpacket(packet: number, bytes: number, isIpv4: boolean, gsoType: number): boolean {
    const from = this.#super;
    const virtio = packet - VIRTIO_NET_HEADER_BYTES;
    from.packet = packet;
    from.bytes = bytes;
    from.isIpv4 = isIpv4;
    from.isUdp = gsoType === VIRTIO_GSO_UDP_L4;
    if (!from.isUdp && gsoType !== (isIpv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6)) return false;
    from.transportOffset = virtioChecksumStart(this.#view, virtio);
    from.segmentBytes = virtioGsoBytes(this.#view, virtio);
    const field = from.isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
    const minimum = from.transportOffset + (from.isUdp ? UDP_HEADER_BYTES : TCP_MIN_HEADER_BYTES);
    if (from.segmentBytes === 0 || minimum > bytes || !virtioNeedsChecksum(this.#view, virtio)) return false;
    if (!this.#isTransportOf(packet, isIpv4, from.transportOffset, field)) return false;
    const tcpBytes = from.isUdp ? 0 : tcpHeaderBytes(this.#view, packet + from.transportOffset);
    from.headerBytes = from.transportOffset + (from.isUdp ? UDP_HEADER_BYTES : tcpBytes);
    return (
      from.headerBytes >= minimum &&
      from.headerBytes < bytes &&
      from.headerBytes <= MAX_HEADER_BYTES - this.#headerBytes
    );
  }

  /** Whether the peer takes a partial checksum, and its header can describe one of a transport header at `start`. */
  #mayBePartial(vtep: number, start: number): boolean {
    return start <= this.#encloser.maxPartialStart && this.#vteps.takesPartialChecksums(vtep);
  }

  /** Whether TCP or UDP, as `field` says, begins at `start`: what a partial checksum can be described for. */
  #isTransportOf(packet: number, isIpv4: boolean, start: number, field: number): boolean {
    if ((start & 3) !== 0) return false;
    if (field !== TCP_CHECKSUM && field !== UDP_CHECKSUM) return false;
    const wanted = field === TCP_CHECKSUM ? PROTOCOL_TCP : PROTOCOL_UDP;
    if (isIpv4) {
      const protocol = this.#view.getUint8(packet + IPV4_PROTOCOL);
      return start === ipv4HeaderBytes(this.#view, packet) && protocol === wanted;
    }
    const next = this.#view.getUint8(packet + IPV6_NEXT_HEADER);
    // What is partial may lie in a tunnel of the pod's own, behind this UDP header: the receiver would not look there.
    if (next === PROTOCOL_TCP || next === PROTOCOL_UDP) return start === IPV6_HEADER_BYTES && next === wanted;
    // Behind IPv6 extension headers the kernel's word is taken: it wrote them, and csum start points past them.
    return start > IPV6_HEADER_BYTES;
  }

  /** Step 4. */
  #answerTooBig(packet: number, bytes: number, vtep: number): Verdict {
    this.#drop(DROP.outboundTooBig, packet, bytes);
    this.#pathMtu.answer(packet, vtep);
    return ANSWERED;
  }

  #drop(reason: DropReason, packet: number, bytes: number): void {
    this.#counters.drop(reason);
    this.#drops.packet(DROPPED.outbound, reason, this.#arena.arena.bytes, packet, bytes);
  }
}
