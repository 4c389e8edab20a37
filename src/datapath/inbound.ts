/**
 * Inbound: from the underlay to the TUN. In packet order:
 *
 *   1. receive    a burst of datagrams with one recvmmsg
 *   2. source     the outer source is the address of a known VTEP
 *   3. open       the VXLAN-GPE header: flags, VNI, next protocol
 *   4. parse      the inner IP header: the version that was announced, and whole
 *   5. belong     the inner source is in the subnets of that VTEP, the inner destination in our own
 *   6. write      the inner packet to the TUN
 *
 * Nothing reaches a pod that has not passed every step. Step 5 is what keeps one node from speaking for the
 * pods of another (Nebula's GO-2025-4068; Flannel's `udp` backend had none of it).
 */
import type { Fdb } from '../fdb/fdb.ts';
import { FDB_LOCAL } from '../fdb/snapshot.ts';
import { EAGAIN, EINTR, MSG_TRUNC } from '../sys/constants.ts';
import { MMSGHDR, MSGHDR, SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import { ipVersion, ipv4Destination, ipv4PacketLength, ipv4Source } from '../wire/ipv4.ts';
import { IPV6_DESTINATION, IPV6_SOURCE, ipv6PacketLength } from '../wire/ipv6.ts';
import { VIRTIO_NET_HEADER_BYTES, writePlainVirtioHeader } from '../wire/virtio-net.ts';
import {
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  VXLAN_GPE_BYTES,
  vniWord,
  vxlanGpeFirstWord,
  vxlanGpeFlagsAreValid,
  vxlanGpeSecondWord,
} from '../wire/vxlan-gpe.ts';
import type { WorkerCounters } from './counters.ts';
import { DROP, PASSED, type Verdict } from './drops.ts';
import type { TunQueue, UnderlaySocket } from './ports.ts';
import { BURST_PACKETS, SlotArena } from './slots.ts';
import { UNKNOWN_ADDRESS, type VtepTable } from './vtep-table.ts';

/** A peer's MTU may be larger than ours; the kernel then answers its packets with "too big". */
const MIN_PACKET_CAPACITY = 9216;

export interface InboundParts {
  readonly tun: TunQueue;
  readonly socket: UnderlaySocket;
  readonly fdb: Fdb;
  readonly vteps: VtepTable;
  readonly counters: WorkerCounters;
  readonly vni: number;
  readonly underlayFamily: 4 | 6;
  /** The TUN's MTU, in bytes. */
  readonly tunMtu: number;
}

export class Inbound {
  readonly #tun: TunQueue;
  readonly #socket: UnderlaySocket;
  readonly #fdb: Fdb;
  readonly #vteps: VtepTable;
  readonly #counters: WorkerCounters;
  readonly #vniWord: number;
  readonly #underlayFamily: 4 | 6;
  readonly #slots: SlotArena;
  readonly #view: DataView;

  constructor(parts: InboundParts) {
    this.#tun = parts.tun;
    this.#socket = parts.socket;
    this.#fdb = parts.fdb;
    this.#vteps = parts.vteps;
    this.#counters = parts.counters;
    this.#vniWord = vniWord(parts.vni);
    this.#underlayFamily = parts.underlayFamily;
    this.#slots = new SlotArena(Math.max(parts.tunMtu, MIN_PACKET_CAPACITY));
    this.#view = this.#slots.arena.view;
    // The receive vector never changes: every datagram lands so that its inner packet is a slot's packet. The
    // kernel writes back each address's length, which is the same every time on a socket of one family.
    const sockaddrBytes = this.#underlayFamily === 4 ? SOCKADDR_IN.bytes : SOCKADDR_IN6.bytes;
    for (let slot = 0; slot < BURST_PACKETS; slot++) {
      const offset = this.#slots.packetOffset(slot) - VXLAN_GPE_BYTES;
      this.#slots.setPayload(slot, offset, VXLAN_GPE_BYTES + this.#slots.packetCapacity);
      this.#slots.setName(slot, this.#slots.arena.address(this.#slots.sockaddrOffset(slot)), sockaddrBytes);
    }
  }

  /** Steps 1 to 6 for at most BURST_PACKETS datagrams. */
  drain(): void {
    const vector = this.#slots.arena.address(this.#slots.messageOffset(0));
    const received = this.#socket.receive(vector, BURST_PACKETS);
    if (received < 0) {
      if (received !== -EAGAIN && received !== -EINTR) this.#counters.drop(DROP.inboundReceiveFailed);
      return;
    }
    for (let slot = 0; slot < received; slot++) this.#counters.count(this.#datagram(slot));
  }

  /** Step 2. */
  #datagram(slot: number): Verdict {
    const message = this.#slots.messageOffset(slot);
    const address = this.#sourceAddress(this.#slots.sockaddrOffset(slot));
    if (address === UNKNOWN_ADDRESS) return DROP.inboundUnknownSource;
    if ((this.#view.getInt32(message + MSGHDR.flags, true) & MSG_TRUNC) !== 0) {
      return DROP.inboundTooBig;
    }
    return this.#open(slot, address, this.#view.getInt32(message + MMSGHDR.length, true));
  }

  /** The number of the outer source address, see VtepTable.findAddress. */
  #sourceAddress(sockaddr: number): number {
    const view = this.#view;
    if (this.#underlayFamily === 4)
      return this.#vteps.findIpv4(view.getInt32(sockaddr + SOCKADDR_IN.address));
    const at = sockaddr + SOCKADDR_IN6.address;
    return this.#vteps.findAddress(
      view.getInt32(at),
      view.getInt32(at + 4),
      view.getInt32(at + 8),
      view.getInt32(at + 12),
    );
  }

  /** Step 3. */
  #open(slot: number, address: number, datagramBytes: number): Verdict {
    if (datagramBytes < VXLAN_GPE_BYTES) return DROP.inboundTruncated;
    const packet = this.#slots.packetOffset(slot);
    const firstWord = vxlanGpeFirstWord(this.#view, packet - VXLAN_GPE_BYTES);
    if (!vxlanGpeFlagsAreValid(firstWord)) return DROP.inboundBadHeader;
    const secondWord = vxlanGpeSecondWord(this.#view, packet - VXLAN_GPE_BYTES);
    if (secondWord !== this.#vniWord) {
      return (secondWord & 0xff) !== 0 ? DROP.inboundBadHeader : DROP.inboundWrongVni;
    }
    const bytes = datagramBytes - VXLAN_GPE_BYTES;
    if (firstWord === FIRST_WORD_IPV4) return this.#packet4(slot, packet, address, bytes);
    if (firstWord === FIRST_WORD_IPV6) return this.#packet6(slot, packet, address, bytes);
    return DROP.inboundUnknownProtocol;
  }

  /** Steps 4 and 5, IPv4. */
  #packet4(slot: number, packet: number, address: number, availableBytes: number): Verdict {
    const bytes = ipv4PacketLength(this.#view, packet, availableBytes);
    if (bytes === 0 || ipVersion(this.#view, packet) !== 4) return DROP.inboundMalformed;
    const vtep = this.#fdb.lookup4(ipv4Source(this.#view, packet));
    if (vtep < 0 || this.#vteps.addressOf(vtep) !== address) return DROP.inboundForeignSource;
    if (this.#fdb.lookup4(ipv4Destination(this.#view, packet)) !== FDB_LOCAL) {
      return DROP.inboundNotLocal;
    }
    return this.#write(slot, vtep, bytes);
  }

  /** Steps 4 and 5, IPv6. */
  #packet6(slot: number, packet: number, address: number, availableBytes: number): Verdict {
    const bytes = ipv6PacketLength(this.#view, packet, availableBytes);
    if (bytes === 0 || ipVersion(this.#view, packet) !== 6) return DROP.inboundMalformed;
    const vtep = this.#fdb.lookup6At(this.#view, packet + IPV6_SOURCE);
    if (vtep < 0 || this.#vteps.addressOf(vtep) !== address) return DROP.inboundForeignSource;
    if (this.#fdb.lookup6At(this.#view, packet + IPV6_DESTINATION) !== FDB_LOCAL) {
      return DROP.inboundNotLocal;
    }
    return this.#write(slot, vtep, bytes);
  }

  /** Step 6. Only the inner packet is written: bytes behind its end do not get through. */
  #write(slot: number, vtep: number, bytes: number): Verdict {
    const start = this.#slots.virtioOffset(slot);
    writePlainVirtioHeader(this.#view, start);
    const written = this.#tun.write(this.#slots.arena.address(start), VIRTIO_NET_HEADER_BYTES + bytes);
    if (written < 0) return DROP.inboundWriteFailed;
    this.#counters.inbound(vtep, bytes);
    return PASSED;
  }
}
