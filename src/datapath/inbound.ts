/**
 * Inbound: from the underlay to the TUN. In packet order:
 *
 *   1. receive    a burst of messages; each is one datagram, or (UDP_GRO) many of one size from one sender
 *   2. source     the outer source may send at all
 *   3. open       the encapsulation (encapsulation.ts): what is in it, and who sent it
 *   4. parse      the inner IP header: the version that was announced, and whole
 *   5. belong     the inner source is in the subnets of that sender, the inner destination in our own; a guest of this node may
 *                 also send to other peers, and they to it (VTEP_GUEST)
 *   6. mark       congestion that the outer header tells of goes on in the inner one (RFC 6040)
 *   7. write      the inner packets to the TUN, consecutive segments of a flow as one (coalesce.ts)
 *
 * Nothing reaches a pod that has not passed every step, segment by segment. Step 5 is what keeps one node from
 * speaking for the pods of another (Nebula's GO-2025-4068; Flannel's `udp` backend had none of it).
 */
import type { Fdb } from '../fdb/fdb.ts';
import { FDB_LOCAL } from '../fdb/snapshot.ts';
import { EAGAIN, EINTR } from '../sys/constants.ts';
import { MMSGHDR, MSGHDR } from '../sys/structs.ts';
import { decapsulatedEcn, ipv4Ecn, ipv6Ecn, NOT_ECT, setIpv4Ecn, setIpv6Ecn } from '../wire/ecn.ts';
import {
  IPV4_PROTOCOL,
  ipVersion,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4PacketLength,
  ipv4Source,
} from '../wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HEADER_BYTES,
  IPV6_NEXT_HEADER,
  IPV6_SOURCE,
  ipv6PacketLength,
} from '../wire/ipv6.ts';
import { PROTOCOL_TCP, TCP_CHECKSUM } from '../wire/tcp.ts';
import { PROTOCOL_UDP, UDP_CHECKSUM } from '../wire/udp.ts';
import { Coalescer, type CoalescerParts } from './coalesce.ts';
import { ReceivedControls } from './control-messages.ts';
import type { WorkerCounters } from './counters.ts';
import { DROPPED } from './drop-ring.ts';
import { DropTap } from './drop-tap.ts';
import { DROP, type DropReason, PASSED, type Verdict } from './drops.ts';
import type { Encapsulation, Opener } from './encapsulation.ts';
import { InboundArena, RECEIVE_MESSAGES } from './inbound-arena.ts';
import type { UnderlaySocket } from './ports.ts';
import type { Turn } from './turn.ts';
import type { VtepTable } from './vtep-table.ts';

/**
 * After a message of at least this many bytes the next receive asks for one alone: what is received is then
 * written while it is still in the cache. Small messages are worth a batch.
 */
const LARGE_MESSAGE_BYTES = 8192;

export interface InboundParts extends Omit<CoalescerParts, 'packets'> {
  readonly socket: UnderlaySocket;
  readonly fdb: Fdb;
  readonly vteps: VtepTable;
  readonly encapsulation: Encapsulation;
  readonly underlayFamily: 4 | 6;
  /** What the FDB does not have as this node's own is forwarded too: the host routes, and the sender is all that counts. */
  readonly toAnywhere?: boolean;
}

/** No sender has this number. */
const NOBODY = -1;

export class Inbound {
  readonly #socket: UnderlaySocket;
  readonly #fdb: Fdb;
  readonly #vteps: VtepTable;
  readonly #counters: WorkerCounters;
  readonly #drops: DropTap;
  readonly #family: 4 | 6;
  readonly #arena: InboundArena;
  readonly #opener: Opener;
  readonly #controls: ReceivedControls;
  readonly #view: DataView;
  readonly #coalescer: Coalescer;
  readonly #turn: Turn;
  readonly #toAnywhere: boolean;
  #batch = RECEIVE_MESSAGES;
  /** The message in hand. */
  #current = 0;

  /** The IPv4 packet that passed step 5 last, within one turn: the next one is mostly of the same flow. */
  #lastSender = NOBODY;
  #lastSource = 0;
  #lastDestination = 0;
  #lastVtep = 0;

  constructor(parts: InboundParts) {
    this.#socket = parts.socket;
    this.#fdb = parts.fdb;
    this.#vteps = parts.vteps;
    this.#counters = parts.counters;
    this.#drops = parts.drops ?? new DropTap();
    this.#family = parts.underlayFamily;
    this.#arena = new InboundArena(parts.underlayFamily, parts.encapsulation.form.headerBytes);
    this.#view = this.#arena.view;
    this.#opener = parts.encapsulation.opener(this.#arena.arena);
    this.#controls = new ReceivedControls(this.#view);
    this.#coalescer = new Coalescer({ ...parts, drops: this.#drops, packets: this.#arena.arena });
    this.#turn = parts.turn;
    this.#toAnywhere = parts.toAnywhere === true;
  }

  /** Steps 1 to 7 for one turn, or until the socket has no more. */
  drain(): void {
    // The forwarding state may have changed since the last turn.
    this.#lastSender = NOBODY;
    this.#turn.begin();
    while (this.#burst() && !this.#turn.isOver);
  }

  /** Receives once and writes what came; false if that was all there is. */
  #burst(): boolean {
    const batch = this.#batch;
    this.#arena.prepare(batch);
    const received = this.#socket.receive(this.#arena.arena.address(this.#arena.message(0)), batch);
    if (received < 0) {
      if (received !== -EAGAIN && received !== -EINTR) this.#counters.drop(DROP.inboundReceiveFailed);
      return false;
    }
    let bytes = 0;
    for (let i = 0; i < received; i++) {
      bytes = this.#view.getInt32(this.#arena.message(i) + MMSGHDR.length, true);
      this.#turn.count(bytes);
      this.#message(i, bytes);
    }
    this.#coalescer.flush();
    this.#batch = bytes >= LARGE_MESSAGE_BYTES ? 1 : RECEIVE_MESSAGES;
    return received === batch;
  }

  /** Step 2, then the message's datagrams one by one. An unknown source counts once per message. */
  #message(i: number, bytes: number): void {
    const controls = this.#controls;
    controls.read(
      this.#arena.control(i),
      this.#view.getUint32(this.#arena.message(i) + MSGHDR.controlLength, true),
    );
    const source = this.#opener.source(this.#arena.sockaddr(i), controls.packetInfo);
    const start = this.#arena.datagram(i);
    this.#current = i;
    if (source < 0) {
      this.#dropDatagram(~source as Verdict, start, bytes);
      return;
    }
    const end = start + bytes;
    const datagramBytes = controls.segmentBytes === 0 ? bytes : controls.segmentBytes;
    let datagram = start;
    do {
      this.#open(datagram, Math.min(datagramBytes, end - datagram), source);
      datagram += datagramBytes;
    } while (datagram < end);
  }

  /** Step 3. */
  #open(datagram: number, datagramBytes: number, source: number): void {
    const opener = this.#opener;
    const opened = opener.open(datagram, datagramBytes, source);
    if (opened !== PASSED) {
      this.#dropDatagram(opened, datagram, datagramBytes);
      return;
    }
    const verdict = opener.isIpv4 ? this.#packet4(opener) : this.#packet6(opener);
    if (verdict >= 0) this.#dropPacket(verdict as DropReason, opener.packet, opener.bytes);
  }

  #dropPacket(reason: DropReason, packet: number, bytes: number): void {
    this.#counters.drop(reason);
    this.#drops.packet(DROPPED.inbound, reason, this.#arena.arena.bytes, packet, bytes);
  }

  /** What could not be opened, if it is a drop at all. */
  #dropDatagram(verdict: Verdict, datagram: number, bytes: number): void {
    if (verdict < 0) return;
    const reason = verdict as DropReason;
    this.#counters.drop(reason);
    const sockaddr = this.#arena.sockaddr(this.#current);
    const memory = this.#arena.arena.bytes;
    this.#drops.datagram(reason, memory, this.#view, datagram, bytes, sockaddr, this.#family);
  }

  /** Steps 4 to 7, IPv4. */
  #packet4(opened: Opener): Verdict {
    const { packet, partialStart, partialIsUdp, sender } = opened;
    const bytes = ipv4PacketLength(this.#view, packet, opened.bytes);
    if (bytes === 0 || ipVersion(this.#view, packet) !== 4) return DROP.inboundMalformed;
    const source = ipv4Source(this.#view, packet);
    const destination = ipv4Destination(this.#view, packet);
    if (source !== this.#lastSource || destination !== this.#lastDestination || sender !== this.#lastSender) {
      const found = this.#fdb.lookup4(source);
      if (found < 0 || !opened.isFrom(found, sender)) return DROP.inboundForeignSource;
      if (!this.#toAnywhere) {
        const to = this.#fdb.lookup4(destination);
        if (to !== FDB_LOCAL && !this.#passesOn(found, to)) return DROP.inboundNotLocal;
      }
      this.#lastSource = source;
      this.#lastDestination = destination;
      this.#lastSender = sender;
      this.#lastVtep = found;
    }
    const vtep = this.#lastVtep;
    if (partialStart !== 0) {
      const protocol = this.#view.getUint8(packet + IPV4_PROTOCOL);
      if (partialStart !== ipv4HeaderBytes(this.#view, packet)) return DROP.inboundBadHeader;
      if (protocol !== (partialIsUdp ? PROTOCOL_UDP : PROTOCOL_TCP)) return DROP.inboundBadHeader;
      if (!this.#mayBePartial(vtep, partialStart, partialIsUdp, bytes)) return DROP.inboundBadHeader;
    }
    if (this.#controls.ecn !== NOT_ECT && !this.#mark4(packet)) return DROP.inboundCongestion;
    this.#coalescer.take(packet, bytes, true, partialStart, partialIsUdp, vtep);
    return PASSED;
  }

  /** Steps 4 to 7, IPv6. */
  #packet6(opened: Opener): Verdict {
    const { packet, partialStart, partialIsUdp } = opened;
    const bytes = ipv6PacketLength(this.#view, packet, opened.bytes);
    if (bytes === 0 || ipVersion(this.#view, packet) !== 6) return DROP.inboundMalformed;
    const vtep = this.#fdb.lookup6At(this.#view, packet + IPV6_SOURCE);
    if (vtep < 0 || !opened.isFrom(vtep, opened.sender)) return DROP.inboundForeignSource;
    if (!this.#toAnywhere) {
      const to = this.#fdb.lookup6At(this.#view, packet + IPV6_DESTINATION);
      if (to !== FDB_LOCAL && !this.#passesOn(vtep, to)) return DROP.inboundNotLocal;
    }
    if (partialStart !== 0) {
      const next = this.#view.getUint8(packet + IPV6_NEXT_HEADER);
      const isTransport = next === PROTOCOL_TCP || next === PROTOCOL_UDP;
      // A transport header right behind the fixed one must be the one described; behind extension headers the
      // sender's word is taken, within the packet's bounds.
      if (partialStart < IPV6_HEADER_BYTES || isTransport !== (partialStart === IPV6_HEADER_BYTES)) {
        return DROP.inboundBadHeader;
      }
      if (isTransport && (next === PROTOCOL_UDP) !== partialIsUdp) return DROP.inboundBadHeader;
      if (!this.#mayBePartial(vtep, partialStart, partialIsUdp, bytes)) return DROP.inboundBadHeader;
    }
    if (this.#controls.ecn !== NOT_ECT && !this.#mark6(packet)) return DROP.inboundCongestion;
    this.#coalescer.take(packet, bytes, false, partialStart, partialIsUdp, vtep);
    return PASSED;
  }

  /** Step 5 for what is not for this node itself: from a guest to another peer, or the other way round. */
  #passesOn(from: number, to: number): boolean {
    return to >= 0 && to !== from && (this.#vteps.isGuest(from) || this.#vteps.isGuest(to));
  }

  /** Step 6, IPv4; false if the packet is to be dropped. */
  #mark4(packet: number): boolean {
    const before = ipv4Ecn(this.#view, packet);
    const after = decapsulatedEcn(before, this.#controls.ecn);
    if (after >= 0 && after !== before) setIpv4Ecn(this.#view, packet, after);
    return after >= 0;
  }

  /** Step 6, IPv6. */
  #mark6(packet: number): boolean {
    const before = ipv6Ecn(this.#view, packet);
    const after = decapsulatedEcn(before, this.#controls.ecn);
    if (after >= 0 && after !== before) setIpv6Ecn(this.#view, packet, after);
    return after >= 0;
  }

  /** A partial checksum comes from peers alone that announced it, and its field lies within the packet. */
  #mayBePartial(vtep: number, start: number, isUdp: boolean, bytes: number): boolean {
    return (
      this.#vteps.takesPartialChecksums(vtep) && start + (isUdp ? UDP_CHECKSUM : TCP_CHECKSUM) + 2 <= bytes
    );
  }
}
