/**
 * One node's packet path in the test's own thread, on real kernel objects that need no privileges: a unix
 * datagram socket pair in the TUN's place (packets in, packets out, borders kept) and UDP on loopback as the
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
import { SOCK_DGRAM, SOCK_NONBLOCK } from '../../src/sys/constants.ts';
import * as libc from '../../src/sys/libc.ts';
import { writeSockaddr } from '../../src/sys/sockaddr.ts';
import { IOVEC, MSGHDR } from '../../src/sys/structs.ts';
import { LinuxTunQueue } from '../../src/tun/tun-queue.ts';
import { boundPort, LinuxUnderlaySocket, openUnderlaySockets } from '../../src/underlay/underlay-socket.ts';
import { VIRTIO_NET_HEADER_BYTES } from '../../src/wire/virtio-net.ts';

const AF_UNIX = 1;
const socketpair = koffi.load(null).func('int socketpair(int domain, int type, int protocol, uintptr_t fds)');

export const VNI = 42;
export const OVERHEAD_BYTES = 36;

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

  /** The next datagram that waits, or undefined. */
  receive(): Buffer | undefined {
    return receive(this.#socket.fd);
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
    } = {},
  ) {
    const address = options.address ?? '127.0.0.1';
    const mtu = options.mtu ?? 1464;
    const family = address.includes(':') ? 6 : 4;
    const pair = new Arena(8);
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair.address(0)) !== 0)
      throw new Error('socketpair failed');
    const tunFd = pair.view.getInt32(0, true);
    this.#podFd = pair.view.getInt32(4, true);
    const socketFd = bind(address, 0, options.udpGro ?? true);
    this.#fds = [tunFd, this.#podFd, socketFd];
    this.node = { address, port: boundPort(socketFd) };
    const tun = new LinuxTunQueue(tunFd);
    this.vteps = new VtepTable(family, mtu);
    this.#replies = new IcmpReplies(tun, () => this.nowMs);
    const shared = {
      tun,
      socket: new LinuxUnderlaySocket(socketFd, family as 4 | 6),
      fdb: this.#fdb,
      vteps: this.vteps,
      counters: this.counters,
      vni: VNI,
      underlayFamily: family as 4 | 6,
      overheadBytes: OVERHEAD_BYTES,
    };
    this.#outbound = new Outbound({
      ...shared,
      replies: this.#replies,
      waitWritable: () => false,
      nowMs: () => this.nowMs,
      segmentation: options.segmentation ?? true,
      onSegmentationOff: () => this.offloadsOff.push('udpSegment'),
    });
    this.#inbound = new Inbound({
      ...shared,
      waitWritable: () => false,
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
    for (const packet of packets) {
      const framed = new Arena(VIRTIO_NET_HEADER_BYTES + packet.length);
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
    const packets: Buffer[] = [];
    for (let next = receive(this.#podFd); next; next = receive(this.#podFd)) {
      packets.push(next.subarray(VIRTIO_NET_HEADER_BYTES));
    }
    return packets;
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

function sendTo(fd: number, address: string, port: number, bytes: Uint8Array): void {
  const arena = new Arena(128 + bytes.length);
  const [sockaddr, iovec, message, payload] = [0, 32, 48, 128];
  const sockaddrBytes = writeSockaddr(arena.view, sockaddr, addressWords(parseAddress(address)), port);
  arena.bytes.set(bytes, payload);
  arena.setWord(iovec + IOVEC.base, arena.address(payload));
  arena.setWord(iovec + IOVEC.length, bytes.length);
  arena.setWord(message + MSGHDR.name, arena.address(sockaddr));
  arena.view.setUint32(message + MSGHDR.nameLength, sockaddrBytes, true);
  arena.setWord(message + MSGHDR.iov, arena.address(iovec));
  arena.setWord(message + MSGHDR.iovCount, 1);
  if (libc.sendmsg(fd, arena.address(message), 0) !== bytes.length)
    throw new Error(`sendmsg: errno ${libc.errno()}`);
}
