/**
 * Writes what was coalesced to the TUN: the head's headers become those of the superpacket, in place, and one writev
 * takes a virtio header, the head and the other segments' payloads from where they lie. A kernel that takes no such
 * superpacket gets its packets one by one.
 */
import { Arena } from '../sys/arena.ts';
import { EAGAIN, EINTR, EINVAL } from '../sys/constants.ts';
import { IOVEC } from '../sys/structs.ts';
import { checksum, checksumFold } from '../wire/checksum.ts';
import { IPV4_CHECKSUM, IPV4_MIN_HEADER_BYTES, IPV4_TOTAL_LENGTH } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.ts';
import { TCP_CHECKSUM, TCP_CWR, TCP_FLAGS } from '../wire/tcp.ts';
import { UDP_CHECKSUM, UDP_HEADER_BYTES, UDP_LENGTH } from '../wire/udp.ts';
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
import { DROPPED } from './drop-ring.ts';
import type { DropTap } from './drop-tap.ts';
import { DROP } from './drops.ts';
import { pseudoHeaderSum, TCP_CLOSING_FLAGS } from './flow-headers.ts';
import { MAX_FLOWS, MAX_SEGMENTS, type OpenFlows, pieceAt } from './open-flows.ts';
import type { TunQueue } from './ports.ts';
import type { Turn } from './turn.ts';

const IOVECS_PER_FLOW = MAX_SEGMENTS + 1;
const VIRTIO_STRIDE = 16;
/** A spare flow's place in the scratch arena, for packets that are written alone. */
const ALONE = MAX_FLOWS;
const IOVECS = (MAX_FLOWS + 1) * VIRTIO_STRIDE;

export interface SuperpacketWriterParts {
  /** The arena that the packets lie in. */
  readonly packets: Arena;
  readonly flows: OpenFlows;
  readonly tun: TunQueue;
  readonly counters: WorkerCounters;
  readonly drops?: DropTap;
  readonly turn: Turn;
  /** The kernel refused a superpacket of that protocol. */
  readonly onRefused: (protocol: 'tcp' | 'udp') => void;
}

export class SuperpacketWriter {
  readonly #packets: Arena;
  readonly #view: DataView;
  readonly #flows: OpenFlows;
  readonly #tun: TunQueue;
  readonly #counters: WorkerCounters;
  readonly #drops: DropTap | undefined;
  readonly #turn: Turn;
  readonly #onRefused: (protocol: 'tcp' | 'udp') => void;
  readonly #scratch = new Arena(IOVECS + (MAX_FLOWS + 1) * IOVECS_PER_FLOW * IOVEC.bytes);

  constructor({ packets, flows, tun, counters, drops, turn, onRefused }: SuperpacketWriterParts) {
    this.#packets = packets;
    this.#view = packets.view;
    this.#flows = flows;
    this.#tun = tun;
    this.#counters = counters;
    this.#drops = drops;
    this.#turn = turn;
    this.#onRefused = onRefused;
    for (let flow = 0; flow <= ALONE; flow++) {
      this.#scratch.setPointer(iovecAt(flow, 0) + IOVEC.base, flow * VIRTIO_STRIDE);
      this.#scratch.setWord(iovecAt(flow, 0) + IOVEC.length, VIRTIO_NET_HEADER_BYTES);
    }
  }

  /** Writes what a flow has: a superpacket, or the one packet as it came. */
  write(flow: number): void {
    const head = this.#flows.head[flow]!;
    const headerBytes = this.#flows.headerBytes[flow]!;
    const segments = this.#flows.segments[flow]!;
    const vtep = this.#flows.vtep[flow]!;
    if (segments === 1) {
      const bytes = headerBytes + this.#flows.payloadBytes[flow]!;
      this.writePacket(
        head,
        bytes,
        this.#flows.partial[flow]! === 1,
        this.#flows.transport[flow]!,
        this.#flows.isUdp[flow]! === 1,
        vtep,
      );
      return;
    }
    const isIpv4 = this.#flows.isIpv4[flow]! === 1;
    const isUdp = this.#flows.isUdp[flow]! === 1;
    const transport = head + this.#flows.transport[flow]!;
    const ipLengthAt = head + (isIpv4 ? IPV4_TOTAL_LENGTH : IPV6_PAYLOAD_LENGTH);
    const checksumAt = transport + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    // What the head's headers were, should the kernel refuse the superpacket.
    const ipLength = this.#view.getUint16(ipLengthAt);
    const ipChecksum = this.#view.getUint16(head + IPV4_CHECKSUM);
    const transportChecksum = this.#view.getUint16(checksumAt);
    this.#writeSuperHeaders(flow, head, isIpv4, isUdp);
    const written = this.#writev(flow, this.#writeIovecs(flow));
    if (written >= 0) {
      this.#counters.inbound(vtep, segments, segments * headerBytes + this.#flows.payloadBytes[flow]!);
      return;
    }
    if (written !== -EINVAL) {
      for (let i = 0; i < segments; i++) this.#counters.drop(DROP.inboundWriteFailed);
      this.#showDropped(head);
      return;
    }
    this.#view.setUint16(ipLengthAt, ipLength);
    if (isIpv4) this.#view.setUint16(head + IPV4_CHECKSUM, ipChecksum);
    if (isUdp)
      this.#view.setUint16(transport + UDP_LENGTH, UDP_HEADER_BYTES + this.#flows.segmentBytes[flow]!);
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
    const transportOffset = this.#flows.transport[flow]!;
    const headerBytes = this.#flows.headerBytes[flow]!;
    const transport = head + transportOffset;
    const totalBytes = headerBytes + this.#flows.payloadBytes[flow]!;
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
      const flags = view.getUint8(transport + TCP_FLAGS) | this.#flows.flags[flow]!;
      view.setUint8(transport + TCP_FLAGS, flags);
      gsoType = isIpv4 ? VIRTIO_GSO_TCPV4 : VIRTIO_GSO_TCPV6;
      if ((flags & TCP_CWR) !== 0) gsoType |= VIRTIO_GSO_ECN;
    }
    const field = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
    view.setUint16(
      transport + field,
      checksumFold(pseudoHeaderSum(view, head, isIpv4, isUdp) + transportBytes),
    );
    writeVirtioHeader(
      this.#scratch.view,
      flow * VIRTIO_STRIDE,
      gsoType,
      headerBytes,
      this.#flows.segmentBytes[flow]!,
      transportOffset,
      field,
    );
  }

  /** One iovec for the head, one for each further payload; returns how many with the virtio header's. */
  #writeIovecs(flow: number): number {
    const segments = this.#flows.segments[flow]!;
    this.#setIovec(
      flow,
      1,
      this.#flows.head[flow]!,
      this.#flows.headerBytes[flow]! + this.#flows.segmentBytes[flow]!,
    );
    for (let i = 1; i < segments; i++) {
      const piece = pieceAt(flow, i);
      this.#setIovec(flow, 1 + i, this.#flows.pieceOffset[piece]!, this.#flows.pieceBytes[piece]!);
    }
    return 1 + segments;
  }

  /** The kernel takes no superpackets of this protocol: stop making them, and write this one's packets. */
  #writeApart(flow: number): void {
    const isUdp = this.#flows.isUdp[flow]! === 1;
    this.#onRefused(isUdp ? 'udp' : 'tcp');
    const headerBytes = this.#flows.headerBytes[flow]!;
    for (let i = 0; i < this.#flows.segments[flow]!; i++) {
      const piece = pieceAt(flow, i);
      const packet = this.#flows.pieceOffset[piece]! - headerBytes;
      const bytes = headerBytes + this.#flows.pieceBytes[piece]!;
      this.writePacket(
        packet,
        bytes,
        this.#flows.partial[flow]! === 1,
        this.#flows.transport[flow]!,
        isUdp,
        this.#flows.vtep[flow]!,
      );
    }
  }

  /** Writes one packet as it is; `transport` and `isUdp` count where its checksum is partial. */
  writePacket(
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
    if (this.#writev(ALONE, 2) >= 0) {
      this.#counters.inbound(vtep, 1, bytes);
      return;
    }
    this.#counters.drop(DROP.inboundWriteFailed);
    this.#showDropped(packet);
  }

  #showDropped(packet: number): void {
    const { bytes, view } = this.#packets;
    this.#drops?.wholePacket(DROPPED.inbound, DROP.inboundWriteFailed, bytes, view, packet);
  }

  #writev(flow: number, count: number): number {
    for (;;) {
      const written = this.#tun.writev(this.#scratch.address(iovecAt(flow, 0)), count);
      if (written === -EINTR || (written === -EAGAIN && this.#turn.waitForRoom())) continue;
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
