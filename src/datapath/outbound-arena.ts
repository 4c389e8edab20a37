/**
 * Where the outbound path keeps a burst:
 *
 *     packets   inner packets as read from the TUN, one behind the other, aligned to 64 bytes, each with the
 *               TUN's virtio header right before it
 *     headers   one slot per datagram: the encapsulation's header, and for a segment its own IP and transport headers
 *     iovecs    for datagrams that leave as slices, two each: the header slot, then the payload where it was read
 *     messages  a sendmmsg vector, with control messages each
 *
 * A superpacket is sent as soon as it is segmented and the next one is read into the same place, which is then
 * still in the cache; small packets gather until there are many.
 */
import { Arena } from '../sys/arena.ts';
import { IOVEC, MMSGHDR, MSGHDR } from '../sys/structs.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../wire/virtio-net.ts';
import { CONTROL_STRIDE } from './control-messages.ts';

/** The longest inner packet, superpackets included. */
export const MAX_PACKET_BYTES = 65_535;
/** Before each packet: the virtio header, and what aligns the packet. */
const HEADROOM_BYTES = 64;
const PACKETS_BYTES = 4 * 65_536;

/** Datagrams that wait to be sent at once. */
export const MAX_DATAGRAMS = 1024;
/** Messages of one sendmmsg. */
export const MAX_MESSAGES = 64;

/** Encapsulation, IP with options or extension headers, TCP with options. */
const HEADER_STRIDE = 192;
export const MAX_HEADER_BYTES = HEADER_STRIDE;
const PIECES = 2;

const HEADERS = PACKETS_BYTES;
/** One slot more: the headers that the segments of a superpacket have in common. */
const HEADER_MODEL = HEADERS + MAX_DATAGRAMS * HEADER_STRIDE;
const IOVECS = HEADER_MODEL + HEADER_STRIDE;
const MESSAGES = IOVECS + MAX_DATAGRAMS * PIECES * IOVEC.bytes;
const CONTROLS = MESSAGES + MAX_MESSAGES * MMSGHDR.bytes;
const TOTAL_BYTES = CONTROLS + MAX_MESSAGES * CONTROL_STRIDE;

export class OutboundArena {
  readonly arena = new Arena(TOTAL_BYTES, 'wasm');
  readonly view: DataView = this.arena.view;
  /** The lower halves of 64-bit fields are written through this; the upper ones stay zero. */
  readonly #words = new Int32Array(this.arena.buffer);
  #cursor = HEADROOM_BYTES;

  constructor() {
    for (let i = 0; i < MAX_MESSAGES; i++) {
      this.arena.setPointer(this.message(i) + MSGHDR.control, this.control(i));
    }
    for (let i = 0; i < MAX_DATAGRAMS; i++)
      this.arena.setPointer(this.#iovecs(i) + IOVEC.base, this.header(i));
  }

  /** Offset for the next inner packet; its virtio header goes right before. */
  get packet(): number {
    return this.#cursor;
  }

  /** Address and capacity for the next read from the TUN. */
  get readAddress(): number {
    return this.arena.address(this.#cursor - VIRTIO_NET_HEADER_BYTES);
  }

  get readCapacity(): number {
    return VIRTIO_NET_HEADER_BYTES + MAX_PACKET_BYTES;
  }

  /** Keeps the packet of `bytes` bytes that was read last. */
  keep(bytes: number): void {
    this.#cursor = (this.#cursor + bytes + 2 * HEADROOM_BYTES - 1) & -HEADROOM_BYTES;
  }

  /** Whether another whole packet might not fit. */
  get isFull(): boolean {
    return this.#cursor + MAX_PACKET_BYTES > PACKETS_BYTES;
  }

  /** Lets go of every packet. */
  reset(): void {
    this.#cursor = HEADROOM_BYTES;
  }

  /** Header slot of a datagram, MAX_HEADER_BYTES long. */
  header(datagram: number): number {
    return HEADERS + datagram * HEADER_STRIDE;
  }

  get headerModel(): number {
    return HEADER_MODEL;
  }

  /** A datagram is the first `headBytes` of its header slot and `tailBytes` at `tail`. */
  setPieces(datagram: number, headBytes: number, tail: number, tailBytes: number): void {
    const iovec = this.#iovecs(datagram);
    this.#words[(iovec + IOVEC.length) >> 2] = headBytes;
    this.arena.setPointer(iovec + IOVEC.bytes + IOVEC.base, tail);
    this.#words[(iovec + IOVEC.bytes + IOVEC.length) >> 2] = tailBytes;
  }

  /** Makes `message` carry the pieces of `size` datagrams from `first` on. */
  gatherPieces(message: number, first: number, size: number): void {
    const at = this.message(message);
    this.arena.setPointer(at + MSGHDR.iov, this.#iovecs(first));
    this.view.setUint32(at + MSGHDR.iovCount, size * PIECES, true);
  }

  /** mmsghdr `i` of the send vector. */
  message(i: number): number {
    return MESSAGES + i * MMSGHDR.bytes;
  }

  control(i: number): number {
    return CONTROLS + i * CONTROL_STRIDE;
  }

  /** First iovec of a datagram; those of consecutive datagrams follow each other. */
  #iovecs(datagram: number): number {
    return IOVECS + datagram * PIECES * IOVEC.bytes;
  }
}
