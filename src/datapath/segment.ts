/**
 * Segmentation: a superpacket from the TUN becomes the packets it stands for, as the kernel's own GSO would cut
 * it (tcp_gso_segment, __udp_gso_segment). The payload stays where it was read; each segment gets a copy of the
 * headers with what differs:
 *
 *   IPv4   total length, identification (one more each time), header checksum        RFC 791
 *   IPv6   payload length                                                           RFC 8200
 *   TCP    sequence number; FIN and PSH only on the last segment, CWR only on the   RFC 9293, RFC 3168
 *          first
 *   UDP    length                                                                   RFC 768
 *
 * The transport checksum comes partial, as the pseudo-header's sum with the superpacket's length. For a peer that
 * takes it so, the length is exchanged (as tcp_gso_segment does); for any other the checksum is computed over header and payload.
 */
import { checksumAdd, checksumFinish, checksumFold } from '../wire/checksum.ts';
import { IPV4_CHECKSUM, IPV4_ID, IPV4_TOTAL_LENGTH } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_PAYLOAD_LENGTH } from '../wire/ipv6.ts';
import { type PayloadChecksum, payloadChecksum } from '../wire/payload-checksum.ts';
import { TCP_CHECKSUM, TCP_CWR, TCP_FIN, TCP_FLAGS, TCP_PSH, TCP_SEQUENCE } from '../wire/tcp.ts';
import { UDP_CHECKSUM, UDP_LENGTH } from '../wire/udp.ts';
import type { Encloser } from './encapsulation.ts';
import type { OutboundArena } from './outbound-arena.ts';
import type { SendQueue } from './send-queue.ts';

/** A superpacket, checked by the caller: every header lies within it. All in bytes. */
export interface Superpacket {
  /** Offset of the inner IP header. */
  packet: number;
  bytes: number;
  isIpv4: boolean;
  isUdp: boolean;
  /** From the IP header on. */
  transportOffset: number;
  /** IP and transport headers. */
  headerBytes: number;
  /** Payload of each segment but the last. */
  segmentBytes: number;
}

export class Segmenter {
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #sums: PayloadChecksum;
  readonly #queue: SendQueue;
  readonly #encloser: Encloser;
  readonly #encapsulationBytes: number;
  readonly #model: number;

  constructor(arena: OutboundArena, queue: SendQueue, encloser: Encloser) {
    this.#view = arena.view;
    this.#words = new Int32Array(arena.arena.buffer);
    this.#sums = payloadChecksum(arena.arena.summable);
    this.#queue = queue;
    this.#encloser = encloser;
    this.#encapsulationBytes = encloser.form.headerBytes;
    this.#model = arena.headerModel;
  }

  /** Queues the segments of `from` to `vtep`. `partial`: the peer takes partial checksums, and each header says so. */
  segment(from: Superpacket, vtep: number, partial: boolean, fragment: boolean): void {
    const { packet, headerBytes, segmentBytes, isUdp, isIpv4, transportOffset } = from;
    const view = this.#view;
    const queue = this.#queue;
    const end = packet + from.bytes;
    const transportHeaderBytes = headerBytes - transportOffset;
    const checksumField = transportOffset + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    const firstId = view.getUint16(packet + IPV4_ID);
    const firstSequence = view.getInt32(packet + transportOffset + TCP_SEQUENCE);
    const flags = view.getUint8(packet + transportOffset + TCP_FLAGS);
    const ipSum = isIpv4 ? this.#constantIpSum(packet, transportOffset) : 0;
    const pseudoSum = this.#pseudoHeaderSum(packet + checksumField, from.bytes - transportOffset);
    // What every segment but the first and the last is: its headers are copied from here.
    const model = this.#model;
    const encapsulationBytes = this.#encapsulationBytes;
    const modelIp = model + encapsulationBytes;
    this.#encloser.writeHeader(model, vtep, isIpv4, partial ? transportOffset : 0, isUdp);
    this.#copyWords(packet, modelIp, headerBytes);
    if (!isUdp) view.setUint8(modelIp + transportOffset + TCP_FLAGS, flags & ~(TCP_CWR | TCP_FIN | TCP_PSH));
    this.#writeLengths(modelIp, from, segmentBytes, pseudoSum);

    let index = 0;
    for (let payload = packet + headerBytes; payload < end; payload += segmentBytes) {
      if (queue.isFull) queue.flush();
      const slot = queue.headerSlot;
      const ip = slot + encapsulationBytes;
      this.#copyWords(model, slot, encapsulationBytes + headerBytes);
      let payloadBytes = segmentBytes;
      const isLast = payload + segmentBytes >= end;
      if (isLast) {
        payloadBytes = end - payload;
        this.#writeLengths(ip, from, payloadBytes, pseudoSum);
      }
      if (isIpv4) {
        const id = (firstId + index) & 0xffff;
        view.setUint16(ip + IPV4_ID, id);
        view.setUint16(ip + IPV4_CHECKSUM, checksumFinish(ipSum + headerBytes + payloadBytes + id));
      }
      if (!isUdp) {
        view.setInt32(ip + transportOffset + TCP_SEQUENCE, firstSequence + index * segmentBytes);
        if (index === 0 || isLast) {
          const here = flags & ~(index === 0 ? 0 : TCP_CWR) & ~(isLast ? 0 : TCP_FIN | TCP_PSH);
          view.setUint8(ip + transportOffset + TCP_FLAGS, here);
        }
      }
      if (!partial) {
        const transport = ip + transportOffset;
        this.#writeChecksum(
          ip + checksumField,
          transport,
          transportHeaderBytes,
          payload,
          payloadBytes,
          pseudoSum,
          isUdp,
        );
      }
      queue.add(vtep, packet, encapsulationBytes + headerBytes, payload, payloadBytes, fragment);
      index++;
    }
  }

  /**
   * Completes the partial checksum of a plain packet in place: its field holds the pseudo-header's sum already,
   * so the sum over everything from the transport header on is the checksum.
   */
  completeChecksum(packet: number, bytes: number, start: number, field: number): void {
    const sum = checksumFinish(this.#sums.sum(packet + start, bytes - start));
    this.#view.setUint16(packet + start + field, field === UDP_CHECKSUM && sum === 0 ? 0xffff : sum);
  }

  /**
   * The pseudo-header's sum but for the length, from a superpacket's partial checksum. Not from its IP header: behind
   * a routing header (RFC 8754) that has another destination than the pseudo-header.
   */
  #pseudoHeaderSum(field: number, transportBytes: number): number {
    return checksumFold(this.#view.getUint16(field) + (~transportBytes & 0xffff));
  }

  /** The IPv4 header's sum without the fields that differ between segments. */
  #constantIpSum(packet: number, headerBytes: number): number {
    const varying =
      this.#view.getUint16(packet + IPV4_TOTAL_LENGTH) +
      this.#view.getUint16(packet + IPV4_ID) +
      this.#view.getUint16(packet + IPV4_CHECKSUM);
    return checksumAdd(-varying, this.#view, packet, headerBytes);
  }

  /** Headers are multiples of four bytes, and both places are aligned to four. */
  #copyWords(from: number, to: number, bytes: number): void {
    const words = this.#words;
    const source = from >> 2;
    const target = to >> 2;
    for (let i = 0; i < bytes >> 2; i++) words[target + i] = words[source + i]!;
  }

  /** The lengths in the headers at `ip`, and the partial checksum, for a segment of `payloadBytes`. */
  #writeLengths(ip: number, from: Superpacket, payloadBytes: number, pseudoSum: number): void {
    const view = this.#view;
    const totalBytes = from.headerBytes + payloadBytes;
    const transport = ip + from.transportOffset;
    const transportBytes = totalBytes - from.transportOffset;
    if (from.isIpv4) view.setUint16(ip + IPV4_TOTAL_LENGTH, totalBytes);
    else view.setUint16(ip + IPV6_PAYLOAD_LENGTH, totalBytes - IPV6_HEADER_BYTES);
    if (from.isUdp) view.setUint16(transport + UDP_LENGTH, transportBytes);
    const field = transport + (from.isUdp ? UDP_CHECKSUM : TCP_CHECKSUM);
    view.setUint16(field, checksumFold(pseudoSum + transportBytes));
  }

  #writeChecksum(
    field: number,
    transport: number,
    headerBytes: number,
    payload: number,
    payloadBytes: number,
    pseudoSum: number,
    isUdp: boolean,
  ): void {
    this.#view.setUint16(field, 0);
    const headerSum = checksumAdd(pseudoSum + headerBytes + payloadBytes, this.#view, transport, headerBytes);
    const sum = checksumFinish(headerSum + this.#sums.sum(payload, payloadBytes));
    this.#view.setUint16(field, isUdp && sum === 0 ? 0xffff : sum);
  }
}
