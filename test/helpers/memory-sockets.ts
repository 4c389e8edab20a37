/**
 * UDP sockets and TUN queues in memory, behind the packet path's own ports (src/datapath/ports.ts): what it hands
 * over are the kernel's structures at plain addresses, which are read and written here as the kernel would.
 */
import koffi from 'koffi';
import type { TunQueue, UnderlaySocket } from '../../src/datapath/ports.ts';
import { addressFromBytes, addressWords, type IpAddress } from '../../src/ip/address.ts';
import { type Endpoint, formatEndpoint } from '../../src/ip/endpoint.ts';
import { Arena } from '../../src/sys/arena.ts';
import { EAGAIN, EMSGSIZE, SOL_UDP } from '../../src/sys/constants.ts';
import { writeSockaddr } from '../../src/sys/sockaddr.ts';
import { CMSGHDR, IOVEC, MMSGHDR, MSGHDR } from '../../src/sys/structs.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../src/wire/virtio-net.ts';

const library = koffi.load(null);
const copyOut = library.func('void *memcpy(void *to, uintptr_t from, size_t bytes)');
const copyIn = library.func('void *memcpy(uintptr_t to, const void *from, size_t bytes)');

function read(address: number, bytes: number): Buffer {
  const copy = Buffer.alloc(bytes);
  if (bytes > 0) copyOut(copy, address, bytes);
  return copy;
}

function write(address: number, bytes: Uint8Array): void {
  if (bytes.length > 0) copyIn(address, Buffer.from(bytes), bytes.length);
}

function pointer(address: number): number {
  return Number(read(address, 8).readBigUInt64LE());
}

function gather(iovecs: number, count: number): Buffer {
  return Buffer.concat(
    Array.from({ length: count }, (_, i) => {
      const iovec = iovecs + i * IOVEC.bytes;
      return read(pointer(iovec + IOVEC.base), pointer(iovec + IOVEC.length));
    }),
  );
}

/** What UDP_SEGMENT says among control messages, if it is there. */
function segmentBytes(controls: Buffer): number | undefined {
  for (let at = 0; at < controls.length; at += (controls.readUInt32LE(at + CMSGHDR.length) + 7) & ~7) {
    if (controls.readInt32LE(at + CMSGHDR.level) === SOL_UDP) return controls.readUInt16LE(at + CMSGHDR.data);
  }
  return undefined;
}

export interface SentDatagram {
  /** It is one of several that were sent at once. */
  readonly isGrouped: boolean;
  /** A router on the way may divide it. */
  readonly mayFragment: boolean;
}

/** Carries datagrams between sockets; the borrower decides when, and whether at all. */
export interface Carrier {
  /** Bytes of the largest outer IP packet from this address. */
  linkMtu(from: IpAddress): number;
  carry(from: Endpoint, to: Endpoint, datagram: Uint8Array, sent: SentDatagram): void;
}

/** Outer IP and UDP headers. */
export const OUTER_BYTES = { 4: 28, 6: 48 } as const;

export class MemorySocket implements UnderlaySocket {
  readonly fd: number;
  readonly endpoint: Endpoint;
  readonly #carrier: Carrier;
  /** Bounded by what a test sends. */
  readonly #received: { readonly from: Endpoint; readonly bytes: Uint8Array }[] = [];
  #mayFragment = false;
  /** Called when there is something to receive. */
  onReadable: () => void = () => {};

  constructor(fd: number, endpoint: Endpoint, carrier: Carrier) {
    this.fd = fd;
    this.endpoint = endpoint;
    this.#carrier = carrier;
  }

  deliver(from: Endpoint, bytes: Uint8Array): void {
    this.#received.push({ from, bytes });
    this.onReadable();
  }

  send(vector: number, count: number): number {
    for (let i = 0; i < count; i++) {
      const errno = this.#sendOne(vector + i * MMSGHDR.bytes);
      if (errno !== 0) return i === 0 ? -errno : i;
    }
    return count;
  }

  #sendOne(message: number): number {
    const to = readSockaddr(read(pointer(message + MSGHDR.name), 28));
    const bytes = gather(pointer(message + MSGHDR.iov), pointer(message + MSGHDR.iovCount));
    const controlBytes = pointer(message + MSGHDR.controlLength);
    const size = segmentBytes(read(pointer(message + MSGHDR.control), controlBytes)) ?? bytes.length;
    const isGroup = size < bytes.length;
    const outerBytes = OUTER_BYTES[to.address.family] + size;
    if (!this.#mayFragment && outerBytes > this.#carrier.linkMtu(this.endpoint.address)) return EMSGSIZE;
    for (let at = 0; at < bytes.length; at += size) {
      this.#carrier.carry(this.endpoint, to, bytes.subarray(at, at + size), {
        isGrouped: isGroup,
        mayFragment: this.#mayFragment,
      });
    }
    return 0;
  }

  /** The next datagram, for whoever reads without a packet path. */
  take(): { readonly from: Endpoint; readonly bytes: Uint8Array } | undefined {
    return this.#received.shift();
  }

  sendTo(to: Endpoint, bytes: Uint8Array): void {
    this.#carrier.carry(this.endpoint, to, new Uint8Array(bytes), { isGrouped: false, mayFragment: false });
  }

  receive(vector: number, count: number): number {
    let filled = 0;
    for (; filled < count; filled++) {
      const next = this.#received.shift();
      if (!next) break;
      const message = vector + filled * MMSGHDR.bytes;
      const sockaddr = new Arena(32);
      writeSockaddr(sockaddr.view, 0, addressWords(next.from.address), next.from.port);
      const sockaddrBytes = read(message + MSGHDR.nameLength, 4).readUInt32LE();
      write(pointer(message + MSGHDR.name), sockaddr.bytes.subarray(0, sockaddrBytes));
      write(pointer(pointer(message + MSGHDR.iov) + IOVEC.base), next.bytes);
      write(message + MSGHDR.controlLength, new Uint8Array(8));
      const length = Buffer.alloc(4);
      length.writeUInt32LE(next.bytes.length);
      write(message + MMSGHDR.length, length);
    }
    return filled === 0 ? -EAGAIN : filled;
  }

  allowFragmentation(allowed: boolean): boolean {
    this.#mayFragment = allowed;
    return true;
  }

  linkMtu(): number {
    return this.#carrier.linkMtu(this.endpoint.address);
  }
}

export class MemoryTun implements TunQueue {
  readonly fd: number;
  /** Bounded by what a test sends. */
  readonly #queue: Uint8Array[] = [];
  readonly #onPacket: (packet: Uint8Array) => void;
  /** Set once the device was deleted: every call meets it. */
  errno = 0;
  onReadable: () => void = () => {};

  /** `onPacket`: the packet path has written a packet, which is the host's now. */
  constructor(fd: number, onPacket: (packet: Uint8Array) => void) {
    this.fd = fd;
    this.#onPacket = onPacket;
  }

  /** The host routes a packet into the device. */
  push(packet: Uint8Array, virtio: Uint8Array = new Uint8Array(VIRTIO_NET_HEADER_BYTES)): void {
    this.#queue.push(Buffer.concat([virtio, packet]));
    this.onReadable();
  }

  read(address: number, capacityBytes: number): number {
    if (this.errno !== 0) return -this.errno;
    const framed = this.#queue.shift();
    if (!framed) return -EAGAIN;
    write(address, framed.subarray(0, capacityBytes));
    return Math.min(framed.length, capacityBytes);
  }

  write(address: number, bytes: number): number {
    return this.#written(read(address, bytes));
  }

  writev(iovecs: number, count: number): number {
    return this.#written(gather(iovecs, count));
  }

  #written(frame: Buffer): number {
    if (this.errno !== 0) return -this.errno;
    this.#onPacket(new Uint8Array(frame.subarray(VIRTIO_NET_HEADER_BYTES)));
    return frame.length;
  }
}

function readSockaddr(bytes: Buffer): Endpoint {
  const port = bytes.readUInt16BE(2);
  const isV4 = bytes.readUInt16LE(0) === 2;
  return { port, address: addressFromBytes(isV4 ? bytes.subarray(4, 8) : bytes.subarray(8, 24)) };
}

export function endpointKey(endpoint: Endpoint): string {
  return formatEndpoint(endpoint);
}
