/**
 * How a burst of packets lies in an arena. Each packet has a slot with headroom before the inner packet, so
 * that headers are written in place, in either direction, and the packet never moves:
 *
 *     slot                             inner packet (64-byte aligned)
 *      |<------- HEADROOM 64 ---------->|
 *      |              | virtio header 10|  inner IP packet ...         as the TUN reads and writes it
 *      |                | VXLAN-GPE 8   |  inner IP packet ...         as the underlay sends and receives it
 *
 * Behind the slots lie a recvmmsg/sendmmsg vector with one iovec and one socket address per slot, and one
 * spare message for a packet that has to be sent apart from its burst.
 */
import { Arena } from '../sys/arena.ts';
import { IOVEC, MMSGHDR, MSGHDR } from '../sys/structs.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../wire/virtio-net.ts';

/** Packets that one direction handles before the other one gets its turn. */
export const BURST_PACKETS = 64;
export const HEADROOM_BYTES = 64;

/** The message behind the burst's. */
export const SPARE_MESSAGE = BURST_PACKETS;
const MESSAGES = BURST_PACKETS + 1;

const SOCKADDR_STRIDE = 32;

export class SlotArena {
  readonly arena: Arena;
  /** Room for one inner packet. */
  readonly packetCapacity: number;
  readonly #stride: number;
  readonly #vector: number;
  readonly #iovecs: number;
  readonly #sockaddrs: number;

  constructor(packetCapacity: number) {
    this.#stride = HEADROOM_BYTES + align(packetCapacity, 64);
    this.packetCapacity = this.#stride - HEADROOM_BYTES;
    this.#vector = BURST_PACKETS * this.#stride;
    this.#iovecs = this.#vector + MESSAGES * MMSGHDR.bytes;
    this.#sockaddrs = this.#iovecs + MESSAGES * IOVEC.bytes;
    this.arena = new Arena(this.#sockaddrs + MESSAGES * SOCKADDR_STRIDE);
    for (let i = 0; i < MESSAGES; i++) {
      this.arena.setWord(this.messageOffset(i) + MSGHDR.iov, this.arena.address(this.iovecOffset(i)));
      this.arena.setWord(this.messageOffset(i) + MSGHDR.iovCount, 1);
    }
  }

  /** Offset of the inner packet in slot `i`. */
  packetOffset(i: number): number {
    return i * this.#stride + HEADROOM_BYTES;
  }

  /** Offset of where the TUN's virtio header goes in slot `i`. */
  virtioOffset(i: number): number {
    return this.packetOffset(i) - VIRTIO_NET_HEADER_BYTES;
  }

  /** Offset of mmsghdr `i`. */
  messageOffset(i: number): number {
    return this.#vector + i * MMSGHDR.bytes;
  }

  iovecOffset(i: number): number {
    return this.#iovecs + i * IOVEC.bytes;
  }

  sockaddrOffset(i: number): number {
    return this.#sockaddrs + i * SOCKADDR_STRIDE;
  }

  /** Points message `i` at `bytes` bytes from `offset` of this arena. */
  setPayload(i: number, offset: number, bytes: number): void {
    const iovec = this.iovecOffset(i);
    this.arena.setWord(iovec + IOVEC.base, this.arena.address(offset));
    this.arena.setWord(iovec + IOVEC.length, bytes);
  }

  /** Sets message `i`'s socket address. */
  setName(i: number, address: number, bytes: number): void {
    const message = this.messageOffset(i);
    this.arena.setWord(message + MSGHDR.name, address);
    this.arena.view.setUint32(message + MSGHDR.nameLength, bytes, true);
  }
}

function align(bytes: number, to: number): number {
  return Math.ceil(bytes / to) * to;
}
