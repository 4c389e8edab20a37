/**
 * One node's packet path in the test's own thread, on real kernel objects that need no privileges: a unix
 * socket pair in the TUN's place (packets in, packets out, borders kept) and UDP on loopback as the
 * underlay. Everything is driven step by step: nothing runs on its own.
 */
import koffi from 'koffi';
import { WorkerCounters } from '../../src/datapath/counters.ts';
import { DropTap } from '../../src/datapath/drop-tap.ts';
import { DROP_NAMES, type DropReason } from '../../src/datapath/drops.ts';
import type { Encapsulation } from '../../src/datapath/encapsulation.ts';
import { MAPPED_WORD } from '../../src/datapath/forwarding.ts';
import { IcmpReplies } from '../../src/datapath/icmp-replies.ts';
import { Inbound } from '../../src/datapath/inbound.ts';
import { Outbound } from '../../src/datapath/outbound.ts';
import { Turn } from '../../src/datapath/turn.ts';
import { VtepTable } from '../../src/datapath/vtep-table.ts';
import { VxlanGpe } from '../../src/encapsulation/vxlan-gpe/vxlan-gpe.ts';
import { Fdb } from '../../src/fdb/fdb.ts';
import { buildFdbSnapshot, FDB_LOCAL } from '../../src/fdb/snapshot.ts';
import { addressWords, parseAddress } from '../../src/ip/address.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { Arena } from '../../src/sys/arena.ts';
import {
  IP_RECVTOS,
  IP_TOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVTCLASS,
  IPV6_TCLASS,
  SOCK_NONBLOCK,
  SOL_UDP,
  UDP_SEGMENT,
} from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { writeSockaddr } from '../../src/sys/sockaddr.ts';
import { CMSGHDR, IOVEC, MMSGHDR, MSGHDR } from '../../src/sys/structs.ts';
import { LinuxTunQueue } from '../../src/tun/tun-queue.ts';
import { boundPort, LinuxUnderlaySocket, openUnderlaySockets } from '../../src/underlay/underlay-socket.ts';
import { type Frame, PLAIN, readFrame, VIRTIO_BYTES, type VirtioHeader, writeFrame } from './tun-frame.ts';

const AF_UNIX = 1;
/** Keeps the borders of packets, and is bounded by bytes, not by ten packets as datagrams are. */
const SOCK_SEQPACKET = 5;
const socketpair = koffi.load(null).func('int socketpair(int domain, int type, int protocol, uintptr_t fds)');

export const VNI = 42;
export const OVERHEAD_BYTES = 36;
export const PROBE_IDENTIFIER = 4711;

const vxlanGpe = (vteps: VtepTable, underlayFamily: 4 | 6) =>
  new VxlanGpe({ vni: VNI, vteps, underlayFamily });

/** What is handed to the TUN; the default is a plain packet. */
export interface TunFrame {
  readonly packet: Uint8Array;
  readonly virtio: Partial<VirtioHeader>;
}

/** A datagram, or a group of them (UDP_SEGMENT), that is to be sent. */
export interface SentMessage {
  /** Of the peer. */
  readonly port: number;
  readonly bytes: number;
  /** Of each datagram; 0 if it is one alone. */
  readonly segmentBytes: number;
  /** Pieces of memory that it is gathered from. */
  readonly iovecs: number;
  /** Outer type of service or traffic class. */
  readonly ecn: number;
}

/** The underlay's kernel, as far as a test has another one in mind. */
export interface KernelOptions {
  /** The errno that a message meets; 0: it is sent. */
  readonly refuse?: (message: SentMessage) => number;
  /** What the kernel says of the link. */
  readonly linkMtu?: () => number;
  /** Whether it lets the socket fragment. */
  readonly allowsFragmentation?: boolean;
}

class UnderlaySocketInTest extends LinuxUnderlaySocket {
  readonly #kernel: KernelOptions;
  readonly calls = { linkMtu: 0, allowFragmentation: 0 };

  constructor(fd: number, family: 4 | 6, kernel: KernelOptions) {
    super(fd, family);
    this.#kernel = kernel;
  }

  override send(vector: number, count: number): number {
    for (let i = 0; i < count; i++) {
      const errno = this.#kernel.refuse?.(readMessage(vector + i * MMSGHDR.bytes)) ?? 0;
      if (errno !== 0) return i === 0 ? -errno : super.send(vector, i);
    }
    return super.send(vector, count);
  }

  override allowFragmentation(allowed: boolean): boolean {
    this.calls.allowFragmentation++;
    return (this.#kernel.allowsFragmentation ?? true) && super.allowFragmentation(allowed);
  }

  override linkMtu(sockaddr: number, sockaddrBytes: number): number {
    this.calls.linkMtu++;
    return this.#kernel.linkMtu?.() ?? super.linkMtu(sockaddr, sockaddrBytes);
  }
}

function readMessage(message: number): SentMessage {
  const uint32 = (at: number) => koffi.decode(BigInt(at), 'uint32_t') as number;
  const pointer = (at: number) => Number(koffi.decode(BigInt(at), 'uint64_t'));
  const networkPort = (uint32(pointer(message + MSGHDR.name)) >>> 16) & 0xffff;
  let bytes = 0;
  const iovecs = uint32(message + MSGHDR.iovCount);
  for (let i = 0; i < iovecs; i++)
    bytes += uint32(pointer(message + MSGHDR.iov) + i * IOVEC.bytes + IOVEC.length);
  const controls = controlsOf(
    pointer(message + MSGHDR.control),
    uint32(message + MSGHDR.controlLength),
    uint32,
  );
  const segmentBytes = (controls[SOL_UDP] ?? 0) & 0xffff;
  const ecn = controls[IPPROTO_IP] ?? controls[IPPROTO_IPV6] ?? 0;
  return { port: ((networkPort & 0xff) << 8) | (networkPort >>> 8), bytes, segmentBytes, iovecs, ecn };
}

/** The values of control messages by their level, of which each has one kind here. */
function controlsOf(at: number, bytes: number, uint32: (at: number) => number): Record<number, number> {
  const values: Record<number, number> = {};
  for (let next = at; next < at + bytes; next += (uint32(next + CMSGHDR.length) + 7) & ~7)
    values[uint32(next + CMSGHDR.level)] = uint32(next + CMSGHDR.data);
  return values;
}

class TunInTest extends LinuxTunQueue {
  readonly #refuse: (packets: number) => number;

  constructor(fd: number, refuse: (packets: number) => number) {
    super(fd, fd);
    this.#refuse = refuse;
  }

  override writev(iovecs: number, count: number): number {
    const errno = this.#refuse(count - 1);
    return errno === 0 ? super.writev(iovecs, count) : -errno;
  }
}

/** A UDP socket of a (pretended) peer. */
export class PeerSocket {
  readonly #socket: LinuxUnderlaySocket;
  readonly #isIpv4: boolean;
  readonly port: number;
  readonly #node: { address: string; port: number };

  constructor(address: string, node: { address: string; port: number }) {
    const fd = bind(address, 0);
    this.#isIpv4 = !address.includes(':');
    this.#socket = new LinuxUnderlaySocket(fd, this.#isIpv4 ? 4 : 6);
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

  /** Type of service or traffic class of what is sent from now on. */
  setTos(tos: number): void {
    const [level, name] = this.#isIpv4 ? [IPPROTO_IP, IP_TOS] : [IPPROTO_IPV6, IPV6_TCLASS];
    setOption(this.#socket.fd, level, name, tos);
  }

  /** `receiveWithTos` works from now on. */
  receiveTos(): void {
    const [level, name] = this.#isIpv4 ? [IPPROTO_IP, IP_RECVTOS] : [IPPROTO_IPV6, IPV6_RECVTCLASS];
    setOption(this.#socket.fd, level, name, 1);
  }

  /** The next datagram that waits, with the outer type of service or traffic class. */
  receiveWithTos(): { readonly datagram: Buffer; readonly tos: number } {
    return receiveWithControl(this.#socket.fd);
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
  readonly dropTap = new DropTap();
  nowMs = 0;
  readonly offloadsOff: string[] = [];
  readonly #fdb = new Fdb();
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #replies: IcmpReplies;
  readonly #socket: UnderlaySocketInTest;
  readonly #fds: number[];
  readonly #podFd: number;
  readonly #mtu: number;

  constructor(
    options: {
      address?: string;
      /** Default: vxlan-gpe. */
      encapsulation?: (vteps: VtepTable, underlayFamily: 4 | 6) => Encapsulation;
      mtu?: number;
      /** Default: 0. */
      dscp?: number | 'copy';
      segmentation?: boolean;
      coalesce?: boolean;
      udpGro?: boolean;
      /** Of each protocol, where they differ. */
      coalesceTcp?: boolean;
      underlay?: KernelOptions;
      /** The errno that a write of so many packets to the TUN as one meets; 0: it is written. */
      refuseWrite?: (packets: number) => number;
      /**
       * What happens while a full socket or TUN is waited for (the virtual clock goes on by itself); whether the
       * control thread wants to be heard.
       */
      onWait?: (timeoutMs: number, watchesWake: boolean) => boolean;
    } = {},
  ) {
    const address = options.address ?? '127.0.0.1';
    this.#mtu = options.mtu ?? 1464;
    const family: 4 | 6 = address.includes(':') ? 6 : 4;
    const pair = new Arena(8);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair.address(0)) !== 0)
      throw new Error('socketpair failed');
    const tunFd = pair.view.getInt32(0, true);
    this.#podFd = pair.view.getInt32(4, true);
    const socketFd = bind(address, 0, options.udpGro ?? true);
    this.#fds = [tunFd, this.#podFd, socketFd];
    this.node = { address, port: boundPort(socketFd) };
    const tun = new TunInTest(tunFd, options.refuseWrite ?? (() => 0));
    this.#socket = new UnderlaySocketInTest(socketFd, family, options.underlay ?? {});
    this.vteps = new VtepTable(family);
    this.#replies = new IcmpReplies(tun, () => this.nowMs);
    const shared = {
      tun,
      socket: this.#socket,
      fdb: this.#fdb,
      vteps: this.vteps,
      counters: this.counters,
      drops: this.dropTap,
      encapsulation: (options.encapsulation ?? vxlanGpe)(this.vteps, family),
      underlayFamily: family,
      dscp: options.dscp ?? 0,
      overheadBytes: OVERHEAD_BYTES,
    };
    const blockForRoom = (timeoutMs: number, watchesWake: boolean) => {
      this.nowMs += timeoutMs;
      return options.onWait?.(timeoutMs, watchesWake) ?? false;
    };
    const nowMs = () => this.nowMs;
    this.#outbound = new Outbound({
      ...shared,
      replies: this.#replies,
      turn: new Turn({ blockForRoom, nowMs }),
      segmentation: options.segmentation ?? true,
      onSegmentationOff: () => this.offloadsOff.push('udpSegment'),
    });
    this.#inbound = new Inbound({
      ...shared,
      turn: new Turn({ blockForRoom, nowMs }),
      tcp: options.coalesceTcp ?? options.coalesce ?? true,
      udp: options.coalesce ?? true,
      onOff: (protocol) => this.offloadsOff.push(protocol),
    });
  }

  /** `owners`: prefix -> index of a VTEP, or 'local'. The node's own addresses are 10.42.1.1 and fd42:0:0:1::1. */
  load(
    vteps: readonly { address: string; port: number; flags?: number }[],
    owners: Record<string, number | 'local'>,
    groupProbePort?: number,
  ): void {
    const words = vteps.flatMap(({ address, port, flags }) => {
      const parsed = [...addressWords(parseAddress(address))];
      return [
        flags ?? 0,
        port,
        this.#mtu,
        ...(parsed.length === 1 ? [0, 0, MAPPED_WORD, parsed[0]!] : parsed),
      ];
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
      probeIdentifier: PROBE_IDENTIFIER,
      groupProbePort,
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
  fromTun(...frames: TunFrame[]): void {
    this.intoTun(...frames);
    this.drainTun();
  }

  /** The outbound path runs once; the errno that ended its turn, 0 if the turn was over. */
  drainTun(): number {
    return this.#outbound.drain();
  }

  /** The TUN has these packets to hand over. */
  intoTun(...frames: TunFrame[]): void {
    for (const { packet, virtio } of frames) {
      const framed = new Arena(VIRTIO_BYTES + packet.length);
      framed.bytes.set(writeFrame(packet, { ...PLAIN, ...virtio }));
      if (libc.write(this.#podFd, framed.address(0), framed.bytes.length) < 0)
        throw new Error(`the socket pair in the TUN's place is full: errno ${libc.errno()}`);
    }
  }

  /** How often the underlay socket was asked for something other than packets. */
  get socketCalls(): Readonly<UnderlaySocketInTest['calls']> {
    return this.#socket.calls;
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
  toTun(): Frame[] {
    const frames: Frame[] = [];
    for (let next = receive(this.#podFd); next; next = receive(this.#podFd)) frames.push(readFrame(next));
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

const received = new Arena(70_000);

function receive(fd: number): Buffer | undefined {
  const bytes = libc.read(fd, received.address(0), received.bytes.length);
  return bytes < 0 ? undefined : Buffer.from(received.bytes.subarray(0, bytes));
}

function setOption(fd: number, level: number, name: number, value: number): void {
  const scratch = new Arena(4);
  scratch.view.setInt32(0, value, true);
  if (libc.setsockopt(fd, level, name, scratch.address(0), 4) !== 0) throw new Error(`setsockopt(${name})`);
}

function receiveWithControl(fd: number): { datagram: Buffer; tos: number } {
  const [iovec, message, control, payload] = [0, 16, 80, 128];
  const arena = new Arena(payload + 70_000);
  arena.setPointer(iovec + IOVEC.base, payload);
  arena.setWord(iovec + IOVEC.length, 70_000);
  arena.setPointer(message + MSGHDR.iov, iovec);
  arena.setWord(message + MSGHDR.iovCount, 1);
  arena.setPointer(message + MSGHDR.control, control);
  arena.setWord(message + MSGHDR.controlLength, 48);
  if (libc.recvmmsg(fd, arena.address(message), 1, 0, 0) !== 1)
    throw new Error(`recvmmsg: errno ${libc.errno()}`);
  const bytes = arena.view.getUint32(message + MMSGHDR.length, true);
  const uint32 = (at: number) => arena.view.getUint32(at, true);
  const controls = controlsOf(control, uint32(message + MSGHDR.controlLength), uint32);
  const tos = (controls[IPPROTO_IP] ?? controls[IPPROTO_IPV6] ?? 0) & 0xff;
  return { datagram: Buffer.from(arena.bytes.subarray(payload, payload + bytes)), tos };
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
