/**
 * Outbound: from the TUN to the underlay. In packet order:
 *
 *   1. read      a burst of inner packets from the TUN, one system call each
 *   2. parse     the IP header; what is not a whole unicast packet from our own subnets is dropped
 *   3. look up   the destination in the FDB: which VTEP owns it
 *   4. measure   against the path MTU to that VTEP
 *   5. enclose   write the VXLAN-GPE header into the headroom, in place
 *   6. send      the whole burst with one sendmmsg
 *
 * A packet is a slot number of the arena. The slots of a burst belong to this file until `#send` returns.
 */

import type { Fdb } from '../fdb/fdb.ts';
import { FDB_LOCAL, FDB_MISS } from '../fdb/snapshot.ts';
import { EAGAIN, EINTR, EMSGSIZE } from '../sys/constants.ts';
import {
  IPV4_DONT_FRAGMENT,
  IPV4_FRAGMENT,
  ipVersion,
  ipv4Destination,
  ipv4IsUnicast,
  ipv4PacketLength,
  ipv4Source,
} from '../wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_MIN_MTU,
  IPV6_SOURCE,
  ipv6IsRoutable,
  ipv6PacketLength,
} from '../wire/ipv6.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../wire/virtio-net.ts';
import {
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  VXLAN_GPE_BYTES,
  vniWord,
  writeVxlanGpe,
} from '../wire/vxlan-gpe.ts';
import type { WorkerCounters } from './counters.ts';
import { DROP, PASSED, type Verdict } from './drops.ts';
import type { IcmpReplies } from './icmp-replies.ts';
import type { TunQueue, UnderlaySocket } from './ports.ts';
import { BURST_PACKETS, SlotArena, SPARE_MESSAGE } from './slots.ts';
import type { VtepTable } from './vtep-table.ts';

export interface OutboundParts {
  readonly tun: TunQueue;
  readonly socket: UnderlaySocket;
  readonly fdb: Fdb;
  readonly vteps: VtepTable;
  readonly counters: WorkerCounters;
  readonly replies: IcmpReplies;
  /** Blocks until the socket takes datagrams again; false if it did not within a bounded time. */
  readonly waitWritable: () => boolean;
  readonly nowMs: () => number;
  readonly vni: number;
  /** Longest inner packet that the TUN can hand over, in bytes. */
  readonly tunMtu: number;
  /** Outer IP, UDP and VXLAN-GPE headers, in bytes. */
  readonly overheadBytes: number;
}

export class Outbound {
  readonly #tun: TunQueue;
  readonly #socket: UnderlaySocket;
  readonly #fdb: Fdb;
  readonly #vteps: VtepTable;
  readonly #counters: WorkerCounters;
  readonly #replies: IcmpReplies;
  readonly #waitWritable: () => boolean;
  readonly #nowMs: () => number;
  readonly #vniWord: number;
  readonly #overheadBytes: number;

  readonly #slots: SlotArena;
  readonly #view: DataView;
  /** By position in the send vector: the slot, inner length and VTEP of the packets that wait to be sent. */
  readonly #queuedSlot = new Int32Array(BURST_PACKETS);
  readonly #queuedBytes = new Int32Array(BURST_PACKETS);
  readonly #queuedVtep = new Int32Array(BURST_PACKETS);
  #queued = 0;

  constructor(parts: OutboundParts) {
    this.#tun = parts.tun;
    this.#socket = parts.socket;
    this.#fdb = parts.fdb;
    this.#vteps = parts.vteps;
    this.#counters = parts.counters;
    this.#replies = parts.replies;
    this.#waitWritable = parts.waitWritable;
    this.#nowMs = parts.nowMs;
    this.#vniWord = vniWord(parts.vni);
    this.#overheadBytes = parts.overheadBytes;
    this.#slots = new SlotArena(parts.tunMtu);
    this.#view = this.#slots.arena.view;
  }

  /**
   * Steps 1 to 6 for at most BURST_PACKETS packets. Returns the errno that ended the burst: 0 if it was full,
   * EAGAIN if the TUN is empty, anything else if the TUN is broken.
   */
  drain(): number {
    const { arena } = this.#slots;
    const capacity = VIRTIO_NET_HEADER_BYTES + this.#slots.packetCapacity;
    let errno = 0;
    for (let slot = 0; slot < BURST_PACKETS; slot++) {
      const readBytes = this.#tun.read(arena.address(this.#slots.virtioOffset(slot)), capacity);
      if (readBytes < 0) {
        errno = -readBytes;
        if (errno === EINTR) continue;
        break;
      }
      this.#counters.count(this.#packet(slot, readBytes - VIRTIO_NET_HEADER_BYTES));
    }
    this.#send();
    return errno;
  }

  /** Step 2. */
  #packet(slot: number, readBytes: number): Verdict {
    const offset = this.#slots.packetOffset(slot);
    const version = readBytes > 0 ? ipVersion(this.#view, offset) : 0;
    if (version === 4) return this.#packet4(slot, offset, ipv4PacketLength(this.#view, offset, readBytes));
    if (version === 6) return this.#packet6(slot, offset, ipv6PacketLength(this.#view, offset, readBytes));
    return DROP.outboundMalformed;
  }

  /** Steps 2 and 3, IPv4. `bytes` is 0 for a malformed packet. */
  #packet4(slot: number, offset: number, bytes: number): Verdict {
    if (bytes === 0) return DROP.outboundMalformed;
    const destination = ipv4Destination(this.#view, offset);
    if (!ipv4IsUnicast(destination)) return DROP.outboundNotUnicast;
    if (this.#fdb.lookup4(ipv4Source(this.#view, offset)) !== FDB_LOCAL) {
      return DROP.outboundForeignSource;
    }
    return this.#forward(slot, offset, bytes, this.#fdb.lookup4(destination), FIRST_WORD_IPV4);
  }

  /** Steps 2 and 3, IPv6. */
  #packet6(slot: number, offset: number, bytes: number): Verdict {
    if (bytes === 0) return DROP.outboundMalformed;
    const destination = offset + IPV6_DESTINATION;
    const word0 = this.#view.getInt32(destination);
    const word1 = this.#view.getInt32(destination + 4);
    const word2 = this.#view.getInt32(destination + 8);
    const word3 = this.#view.getInt32(destination + 12);
    if (!ipv6IsRoutable(word0, word1, word2, word3)) return DROP.outboundNotUnicast;
    if (this.#fdb.lookup6At(this.#view, offset + IPV6_SOURCE) !== FDB_LOCAL) {
      return DROP.outboundForeignSource;
    }
    return this.#forward(slot, offset, bytes, this.#fdb.lookup6(word0, word1, word2, word3), FIRST_WORD_IPV6);
  }

  /** Steps 3 to 5. */
  #forward(slot: number, offset: number, bytes: number, vtep: number, firstWord: number): Verdict {
    if (vtep === FDB_MISS || vtep === FDB_LOCAL) {
      // The kernel routes our own subnets itself, so FDB_LOCAL here is a packet that would only come back.
      this.#replies.noRoute(this.#slots.arena.bytes, offset, bytes);
      return DROP.outboundNoRoute;
    }
    writeVxlanGpe(this.#view, offset - VXLAN_GPE_BYTES, firstWord, this.#vniWord);
    if (bytes > this.#vteps.mtu(vtep) && !this.#vteps.expireMtu(vtep, this.#nowMs())) {
      return this.#tooBig(offset, bytes, vtep);
    }
    const position = this.#queued++;
    this.#queuedSlot[position] = slot;
    this.#queuedBytes[position] = bytes;
    this.#queuedVtep[position] = vtep;
    this.#slots.setPayload(position, offset - VXLAN_GPE_BYTES, VXLAN_GPE_BYTES + bytes);
    this.#slots.setName(position, this.#vteps.sockaddr(vtep), this.#vteps.sockaddrBytes);
    return PASSED;
  }

  /** Step 6. The kernel stops at the first message that it refuses; the next call tells why. */
  #send(): void {
    const count = this.#queued;
    let next = 0;
    while (next < count) {
      const vector = this.#slots.arena.address(this.#slots.messageOffset(next));
      const sent = this.#socket.send(vector, count - next);
      for (let i = next; i < next + sent; i++)
        this.#counters.outbound(this.#queuedVtep[i]!, this.#queuedBytes[i]!);
      if (sent > 0) next += sent;
      else if (sent !== -EINTR && !(sent === -EAGAIN && this.#waitWritable())) {
        this.#counters.count(this.#refused(next, -sent));
        next++;
      }
    }
    this.#queued = 0;
  }

  /** What becomes of the packet at `position`, which the kernel did not take. */
  #refused(position: number, errno: number): Verdict {
    if (errno !== EMSGSIZE) return DROP.outboundSendFailed;
    this.#learnMtu(position);
    const offset = this.#slots.packetOffset(this.#queuedSlot[position]!);
    return this.#tooBig(offset, this.#queuedBytes[position]!, this.#queuedVtep[position]!);
  }

  /** A path on the underlay carries less than our own link: ask the kernel how much. */
  #learnMtu(position: number): void {
    const vtep = this.#queuedVtep[position]!;
    const pathMtu = this.#socket.pathMtu(this.#vteps.sockaddr(vtep), this.#vteps.sockaddrBytes);
    // An answer that would have let the packet through is no answer: believe the refusal.
    const mtu = Math.min(pathMtu - this.#overheadBytes, this.#queuedBytes[position]! - 1);
    if (pathMtu > this.#overheadBytes) this.#vteps.lowerMtu(vtep, mtu, this.#nowMs());
  }

  /**
   * A packet that may be fragmented goes out in outer fragments, which costs it speed but not its life; any
   * other is answered with the MTU (RFC 2003, section 5.1 for tunnels; RFC 8200, section 5 for 1280 bytes).
   * The header is in place already.
   */
  #tooBig(offset: number, bytes: number, vtep: number): Verdict {
    const mayFragment =
      ipVersion(this.#view, offset) === 4
        ? (this.#view.getUint16(offset + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT) === 0
        : bytes <= IPV6_MIN_MTU;
    if (!mayFragment) {
      this.#replies.tooBig(this.#slots.arena.bytes, offset, bytes, this.#vteps.mtu(vtep));
      return DROP.outboundTooBig;
    }
    if (!this.#sendFragmented(offset, bytes, vtep)) return DROP.outboundSendFailed;
    this.#counters.outbound(vtep, bytes);
    return PASSED;
  }

  #sendFragmented(offset: number, bytes: number, vtep: number): boolean {
    this.#slots.setPayload(SPARE_MESSAGE, offset - VXLAN_GPE_BYTES, VXLAN_GPE_BYTES + bytes);
    this.#slots.setName(SPARE_MESSAGE, this.#vteps.sockaddr(vtep), this.#vteps.sockaddrBytes);
    this.#socket.allowFragmentation(true);
    const sent = this.#socket.send(this.#slots.arena.address(this.#slots.messageOffset(SPARE_MESSAGE)), 1);
    this.#socket.allowFragmentation(false);
    return sent === 1;
  }
}
