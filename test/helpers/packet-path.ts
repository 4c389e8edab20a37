/**
 * One node's packet path in the test's own thread, on real kernel objects that need no privileges: a unix
 * socket pair in the TUN's place (packets in, packets out, borders kept) and UDP on loopback as the
 * underlay. Everything is driven step by step: nothing runs on its own.
 */
import koffi from 'koffi';
import { WorkerCounters } from '../../src/datapath/counters.ts';
import { DROP_NAMES, type DropReason } from '../../src/datapath/drops.ts';
import { MAPPED_WORD } from '../../src/datapath/forwarding.ts';
import { IcmpReplies } from '../../src/datapath/icmp-replies.ts';
import { Inbound } from '../../src/datapath/inbound.ts';
import { Outbound } from '../../src/datapath/outbound.ts';
import { VtepTable } from '../../src/datapath/vtep-table.ts';
import { Fdb } from '../../src/fdb/fdb.ts';
import { buildFdbSnapshot, FDB_LOCAL } from '../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../src/ip/address.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { Arena } from '../../src/sys/arena.ts';
import { EAGAIN, EINVAL, EIO, SOCK_NONBLOCK, SOL_UDP, UDP_SEGMENT } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { writeSockaddr } from '../../src/sys/sockaddr.ts';
import { CMSGHDR, IOVEC, MMSGHDR, MSGHDR } from '../../src/sys/structs.ts';
import { LinuxTunQueue } from '../../src/tun/tun-queue.ts';
import { boundPort, LinuxUnderlaySocket, openUnderlaySockets } from '../../src/underlay/underlay-socket.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../src/wire/virtio-net.ts';

const AF_UNIX = 1;
/** Keeps the borders of packets, and is bounded by bytes, not by ten packets as datagrams are. */
const SOCK_SEQPACKET = 5;
const socketpair = koffi.load(null).func('int socketpair(int domain, int type, int protocol, uintptr_t fds)');

export const VNI = 42;
export const OVERHEAD_BYTES = 36;

/** struct virtio_net_hdr (linux/virtio_net.h). */
export interface VirtioHeader {
  readonly needsChecksum: boolean;
  readonly gsoType: number;
  readonly headerBytes: number;
  readonly gsoBytes: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

/** A kernel or device that cannot segment: EIO for every UDP_SEGMENT send (udp_send_skb). */
class SocketWithoutSegmentation extends LinuxUnderlaySocket {
  override send(vector: number, count: number): number {
    for (let i = 0; i < count; i++) {
      const controlLength = BigInt(vector + i * MMSGHDR.bytes + MSGHDR.controlLength);
      if (koffi.decode(controlLength, 'uint32_t') === 0) continue;
      return i === 0 ? -EIO : super.send(vector, i);
    }
    return super.send(vector, count);
  }
}

/** A socket whose buffer is full at first. */
class FullSocket extends LinuxUnderlaySocket {
  #fullSends: number;

  constructor(fd: number, family: 4 | 6, fullSends: number) {
    super(fd, family);
    this.#fullSends = fullSends;
  }

  override send(vector: number, count: number): number {
    return this.#fullSends-- > 0 ? -EAGAIN : super.send(vector, count);
  }
}

/** A kernel that takes no superpackets: EINVAL for every write of more than one packet. */
class TunWithoutSuperpackets extends LinuxTunQueue {
  override writev(iovecs: number, count: number): number {
    return count > 2 ? -EINVAL : super.writev(iovecs, count);
  }
}

/** A UDP socket of a (pretended) peer. */
export class PeerSocket {
  readonly #socket: LinuxUnderlaySocket;
  readonly port: number;
  readonly #node: { address: string; port: number };

  constructor(address: string, node: { address: string; port: number }) {
    const fd = bind(address, 0);
    this.#socket = new LinuxUnderlaySocket(fd, address.includes(':') ? 6 : 4);
    this.port = boundPort(fd);
    this.#node = node;
  }

  /** Sends a datagram to the node. */
  send(bytes: Uint8Array): void {
    sendTo(this.#socket.fd, this.#node.address, this.#node.port, bytes);
  }

  /** Sends datagrams of one size (the last may be shorter) as one, as a peer with UDP_SEGMENT does. */
  sendSegmented(datagrams: readonly Uint8Array[]): void {
    sendTo(
      this.#socket.fd,
      this.#node.address,
      this.#node.port,
      Buffer.concat(datagrams),
      datagrams[0]!.length,
    );
  }

  /** The next datagram that waits, or undefined. */
  receive(): Buffer | undefined {
    return receive(this.#socket.fd);
  }

  /** All datagrams that wait. */
  receiveAll(): Buffer[] {
    const all: Buffer[] = [];
    for (let next = this.receive(); next; next = this.receive()) all.push(next);
    return all;
  }

  close(): void {
    libc.close(this.#socket.fd);
  }
}

export class PacketPathHarness {
  readonly counters = new WorkerCounters();
  readonly vteps: VtepTable;
  readonly node: { address: string; port: number };
  nowMs = 0;
  readonly offloadsOff: string[] = [];
  readonly #fdb = new Fdb();
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #replies: IcmpReplies;
  readonly #fds: number[];
  readonly #podFd: number;

  constructor(
    options: {
      address?: string;
      mtu?: number;
      segmentation?: boolean;
      coalesce?: boolean;
      udpGro?: boolean;
      /** The underlay socket is full for so many sends. */
      fullSends?: number;
      /** What happens while a full socket or TUN is waited for; whether it got room. */
      waitWritable?: () => boolean;
      /** A kernel that refuses UDP_SEGMENT sends, and superpackets on the TUN. */
      refuseOffloads?: boolean;
    } = {},
  ) {
    const address = options.address ?? '127.0.0.1';
    const mtu = options.mtu ?? 1464;
    const family: 4 | 6 = address.includes(':') ? 6 : 4;
    const pair = new Arena(8);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair.address(0)) !== 0)
      throw new Error('socketpair failed');
    const tunFd = pair.view.getInt32(0, true);
    this.#podFd = pair.view.getInt32(4, true);
    const socketFd = bind(address, 0, options.udpGro ?? true);
    this.#fds = [tunFd, this.#podFd, socketFd];
    this.node = { address, port: boundPort(socketFd) };
    const tun = options.refuseOffloads ? new TunWithoutSuperpackets(tunFd) : new LinuxTunQueue(tunFd);
    this.vteps = new VtepTable(family, mtu);
    this.#replies = new IcmpReplies(tun, () => this.nowMs);
    const shared = {
      tun,
      socket: options.refuseOffloads
        ? new SocketWithoutSegmentation(socketFd, family)
        : new FullSocket(socketFd, family, options.fullSends ?? 0),
      fdb: this.#fdb,
      vteps: this.vteps,
      counters: this.counters,
      vni: VNI,
      underlayFamily: family,
      overheadBytes: OVERHEAD_BYTES,
    };
    this.#outbound = new Outbound({
      ...shared,
      replies: this.#replies,
      waitWritable: options.waitWritable ?? (() => false),
      nowMs: () => this.nowMs,
      segmentation: options.segmentation ?? true,
      onSegmentationOff: () => this.offloadsOff.push('udpSegment'),
    });
    this.#inbound = new Inbound({
      ...shared,
      waitWritable: options.waitWritable ?? (() => false),
      tcp: options.coalesce ?? true,
      udp: options.coalesce ?? true,
      onOff: (protocol) => this.offloadsOff.push(protocol),
    });
  }

  /** `owners`: prefix -> index of a VTEP, or 'local'. The node's own addresses are 10.42.1.1 and fd42:0:0:1::1. */
  load(
    vteps: readonly { address: string; port: number; flags?: number }[],
    owners: Record<string, number | 'local'>,
  ): void {
    const words = vteps.flatMap(({ address, port, flags }) => {
      const parsed = [...addressWords(parseAddress(address))];
      return [flags ?? 0, port, ...(parsed.length === 1 ? [0, 0, MAPPED_WORD, parsed[0]!] : parsed)];
    });
    const entries = Object.entries(owners).map(([text, owner]) => {
      const prefix = parsePrefix(text);
      return {
        words: addressWords(prefix),
        length: prefix.length,
        value: owner === 'local' ? FDB_LOCAL : owner,
      };
    });
    const state = {
      vteps: Int32Array.from(words),
      fdb: buildFdbSnapshot(entries),
      ownIpv4: addressWords(parseAddress('10.42.1.1'))[0],
      ownIpv6: addressWords(parseAddress('fd42:0:0:1::1')),
    };
    this.#fdb.load(state.fdb);
    this.vteps.load(state);
    this.#replies.load(state);
  }

  /** A pod sends these packets, and the outbound path runs once. */
  fromPods(...packets: Uint8Array[]): void {
    this.fromTun(...packets.map((packet) => ({ packet, virtio: {} })));
  }

  /** The TUN hands over these packets with their virtio headers, and the outbound path runs once. */
  fromTun(...frames: { packet: Uint8Array; virtio: Partial<VirtioHeader> }[]): void {
    for (const { packet, virtio } of frames) {
      const framed = new Arena(VIRTIO_NET_HEADER_BYTES + packet.length);
      framed.view.setUint8(0, virtio.needsChecksum ? 1 : 0);
      framed.view.setUint8(1, virtio.gsoType ?? 0);
      framed.view.setUint16(2, virtio.headerBytes ?? 0, true);
      framed.view.setUint16(4, virtio.gsoBytes ?? 0, true);
      framed.view.setUint16(6, virtio.checksumStart ?? 0, true);
      framed.view.setUint16(8, virtio.checksumOffset ?? 0, true);
      framed.bytes.set(packet, VIRTIO_NET_HEADER_BYTES);
      libc.write(this.#podFd, framed.address(0), framed.bytes.length);
    }
    this.#outbound.drain();
  }

  /** The inbound path runs once. */
  receive(): void {
    this.#inbound.drain();
  }

  /** The packets that came out of the TUN since the last call, without their virtio headers. */
  toPods(): Buffer[] {
    return this.toTun().map(({ packet }) => packet);
  }

  /** What was written to the TUN since the last call. */
  toTun(): { packet: Buffer; virtio: VirtioHeader }[] {
    const frames: { packet: Buffer; virtio: VirtioHeader }[] = [];
    for (let next = receive(this.#podFd); next; next = receive(this.#podFd)) {
      const virtio = {
        needsChecksum: next[0] === 1,
        gsoType: next[1]!,
        headerBytes: next.readUInt16LE(2),
        gsoBytes: next.readUInt16LE(4),
        checksumStart: next.readUInt16LE(6),
        checksumOffset: next.readUInt16LE(8),
      };
      frames.push({ packet: next.subarray(VIRTIO_NET_HEADER_BYTES), virtio });
    }
    return frames;
  }

  /** Reasons that were counted, without those at 0. */
  drops(): Record<string, number> {
    const counts = DROP_NAMES.map(
      (name, reason) => [name, this.counters.dropped(reason as DropReason)] as const,
    );
    return Object.fromEntries(counts.filter(([, count]) => count > 0));
  }

  close(): void {
    for (const fd of this.#fds) libc.close(fd);
  }
}

function bind(address: string, port: number, udpGro = false): number {
  const words = addressWords(parseAddress(address));
  const wanted = { udpSegment: true, udpGro };
  return openUnderlaySockets({ words, port, displayName: address, count: 1, wanted }).descriptors[0]!;
}

function receive(fd: number): Buffer | undefined {
  const arena = new Arena(70_000);
  const bytes = libc.read(fd, arena.address(0), arena.bytes.length);
  return bytes < 0 ? undefined : Buffer.from(arena.bytes.subarray(0, bytes));
}

function sendTo(fd: number, address: string, port: number, bytes: Uint8Array, segmentBytes = 0): void {
  const [sockaddr, iovec, message, control, payload] = [0, 32, 48, 112, 144];
  const arena = new Arena(payload + bytes.length);
  const sockaddrBytes = writeSockaddr(arena.view, sockaddr, addressWords(parseAddress(address)), port);
  arena.bytes.set(bytes, payload);
  arena.setPointer(iovec + IOVEC.base, payload);
  arena.setWord(iovec + IOVEC.length, bytes.length);
  arena.setPointer(message + MSGHDR.name, sockaddr);
  arena.view.setUint32(message + MSGHDR.nameLength, sockaddrBytes, true);
  arena.setPointer(message + MSGHDR.iov, iovec);
  arena.setWord(message + MSGHDR.iovCount, 1);
  if (segmentBytes > 0) {
    arena.setPointer(message + MSGHDR.control, control);
    arena.setWord(message + MSGHDR.controlLength, CMSGHDR.bytes + 8);
    arena.setWord(control + CMSGHDR.length, CMSGHDR.bytes + 2);
    arena.view.setInt32(control + CMSGHDR.level, SOL_UDP, true);
    arena.view.setInt32(control + CMSGHDR.type, UDP_SEGMENT, true);
    arena.view.setUint16(control + CMSGHDR.data, segmentBytes, true);
  }
  if (libc.sendmsg(fd, arena.address(message), 0) !== bytes.length)
    throw new Error(`sendmsg: errno ${libc.errno()}`);
}
