/**
 * A packet socket (packet(7)): copies of what passes one interface, in both directions, as the kernel has it. It takes
 * CAP_NET_RAW, and belongs to the network namespace that it is opened in.
 */
import { Arena } from '../sys/arena.ts';
import { type CallContext, checked, setIntOption } from '../sys/calls.ts';
import {
  AF_PACKET,
  ARPHRD_ETHER,
  ARPHRD_LOOPBACK,
  ETH_P_ALL,
  MSG_DONTWAIT,
  PACKET_AUXDATA,
  PACKET_OUTGOING,
  PACKET_STATISTICS,
  PACKET_VNET_HDR,
  SO_ATTACH_FILTER,
  SO_RCVBUFFORCE,
  SO_TIMESTAMPNS,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOL_PACKET,
  SOL_SOCKET,
} from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { attachProgram, type Instruction } from '../sys/socket-filter.ts';
import {
  CMSGHDR,
  IOVEC,
  MMSGHDR,
  MSGHDR,
  SOCKADDR_LL,
  TPACKET_AUXDATA,
  TPACKET_STATS,
} from '../sys/structs.ts';
import {
  VIRTIO_GSO_UDP_L4,
  VIRTIO_NET_HEADER_BYTES,
  virtioGsoBytes,
  virtioGsoType,
} from '../wire/virtio-net.ts';
import type { SeenPacket } from './recorder.ts';

/** Packets that one call takes. */
const BATCH = 16;
/** A superpacket with the headers before it. */
const PACKET_BYTES = 65_536 + 256;
const CONTROL_BYTES = 128;
/** For bursts, until the thread has its turn. */
const RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024;
const SCM_TIMESTAMPNS = SO_TIMESTAMPNS;

const VECTORS = 0;
const IOVECS = VECTORS + BATCH * MMSGHDR.bytes;
const NAMES = IOVECS + BATCH * IOVEC.bytes;
const NAME_STRIDE = 32;
const CONTROLS = NAMES + BATCH * NAME_STRIDE;
const PACKETS = CONTROLS + BATCH * CONTROL_BYTES;

export interface PacketSocketOptions {
  readonly interfaceName: string;
  /** Of what is let through, so many bytes are kept: at most this. */
  readonly program: readonly Instruction[];
  /** Whether groups of datagrams are to be told as such. */
  readonly tellsGroups: boolean;
}

export class PacketSocket {
  readonly fd: number;
  /** Whether packets begin with an Ethernet header. */
  readonly isEthernet: boolean;
  readonly #headerBytes: number;
  readonly #arena = new Arena(PACKETS + BATCH * PACKET_BYTES);
  #lost = 0;

  /** Throws a SysError. */
  constructor({ interfaceName, program, tellsGroups }: PacketSocketOptions) {
    const doing = `capturing on ${interfaceName}`;
    const context = (call: string): CallContext => ({
      call,
      doing,
      hints: {
        EPERM: 'capturing takes CAP_NET_RAW',
        EAFNOSUPPORT: 'as a service, AF_PACKET must be allowed',
      },
    });
    const type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
    // Protocol 0: nothing comes before the filter is there.
    this.fd = checked(libc.socket(AF_PACKET, type, 0), context('socket(AF_PACKET)'));
    const scratch = new Arena(64);
    try {
      const index = libc.ifNameToIndex(interfaceName);
      if (index === 0) throw new SysError('if_nametoindex', libc.errno(), doing);
      if (!attachProgram(this.fd, SO_ATTACH_FILTER, program)) {
        throw new SysError('setsockopt(SO_ATTACH_FILTER)', libc.errno(), doing);
      }
      setIntOption(this.fd, SOL_SOCKET, SO_TIMESTAMPNS, 1, scratch, context('setsockopt(SO_TIMESTAMPNS)'));
      setIntOption(this.fd, SOL_PACKET, PACKET_AUXDATA, 1, scratch, context('setsockopt(PACKET_AUXDATA)'));
      this.#headerBytes = tellsGroups && this.#asksForGroups(scratch) ? VIRTIO_NET_HEADER_BYTES : 0;
      scratch.view.setInt32(0, RECEIVE_BUFFER_BYTES, true);
      // Without the capability it stays as it is.
      libc.setsockopt(this.fd, SOL_SOCKET, SO_RCVBUFFORCE, scratch.base, 4);
      scratch.bytes.fill(0);
      scratch.view.setUint16(SOCKADDR_LL.family, AF_PACKET, true);
      scratch.view.setUint16(SOCKADDR_LL.protocol, ETH_P_ALL);
      scratch.view.setInt32(SOCKADDR_LL.interfaceIndex, index, true);
      checked(libc.bind(this.fd, scratch.base, SOCKADDR_LL.bytes), context('bind'));
      scratch.view.setInt32(32, SOCKADDR_LL.bytes, true);
      checked(libc.getsockname(this.fd, scratch.base, scratch.address(32)), context('getsockname'));
      const kind = scratch.view.getUint16(SOCKADDR_LL.hardwareType, true);
      this.isEthernet = kind === ARPHRD_ETHER || kind === ARPHRD_LOOPBACK;
    } catch (error) {
      libc.close(this.fd);
      throw error;
    }
    this.#layOut();
  }

  /** Hands over what has come, up to `most` packets, each until the next call; false if that was all there is. */
  receive(most: number, take: (packet: SeenPacket) => void): boolean {
    const { view } = this.#arena;
    for (let all = 0; all < most; ) {
      for (let i = 0; i < BATCH; i++) {
        view.setUint32(VECTORS + i * MMSGHDR.bytes + MSGHDR.nameLength, SOCKADDR_LL.bytes, true);
        this.#arena.setWord(VECTORS + i * MMSGHDR.bytes + MSGHDR.controlLength, CONTROL_BYTES);
      }
      const count = libc.recvmmsg(this.fd, this.#arena.address(VECTORS), BATCH, MSG_DONTWAIT, 0);
      if (count <= 0) return false;
      for (let i = 0; i < count; i++) take(this.#packet(i));
      all += count;
      if (count < BATCH) return false;
    }
    return true;
  }

  /** Packets that found no room in the socket, since it was opened. */
  lost(): number {
    const scratch = new Arena(16);
    scratch.view.setInt32(TPACKET_STATS.bytes, TPACKET_STATS.bytes, true);
    const lengthAt = scratch.address(TPACKET_STATS.bytes);
    if (libc.getsockopt(this.fd, SOL_PACKET, PACKET_STATISTICS, scratch.base, lengthAt) === 0) {
      // The kernel counts from the last question on.
      this.#lost += scratch.view.getUint32(TPACKET_STATS.drops, true);
    }
    return this.#lost;
  }

  close(): void {
    libc.close(this.fd);
  }

  #asksForGroups(scratch: Arena): boolean {
    scratch.view.setInt32(0, 1, true);
    return libc.setsockopt(this.fd, SOL_PACKET, PACKET_VNET_HDR, scratch.base, 4) === 0;
  }

  #layOut(): void {
    const arena = this.#arena;
    for (let i = 0; i < BATCH; i++) {
      const message = VECTORS + i * MMSGHDR.bytes;
      const iovec = IOVECS + i * IOVEC.bytes;
      arena.setPointer(iovec + IOVEC.base, PACKETS + i * PACKET_BYTES);
      arena.setWord(iovec + IOVEC.length, PACKET_BYTES);
      arena.setPointer(message + MSGHDR.name, NAMES + i * NAME_STRIDE);
      arena.setPointer(message + MSGHDR.iov, iovec);
      arena.setWord(message + MSGHDR.iovCount, 1);
      arena.setPointer(message + MSGHDR.control, CONTROLS + i * CONTROL_BYTES);
    }
  }

  #packet(i: number): SeenPacket {
    const { view, bytes } = this.#arena;
    const message = VECTORS + i * MMSGHDR.bytes;
    const start = PACKETS + i * PACKET_BYTES;
    const received = view.getUint32(message + MMSGHDR.length, true);
    const isGroup = this.#headerBytes > 0 && virtioGsoType(view, start) === VIRTIO_GSO_UDP_L4;
    const packet = bytes.subarray(start + this.#headerBytes, start + received);
    const told = this.#controls(
      CONTROLS + i * CONTROL_BYTES,
      view.getUint32(message + MSGHDR.controlLength, true),
    );
    return {
      atUs: told.atUs,
      ip: Math.min(told.network, packet.length),
      length: told.length || packet.length,
      isOutbound: view.getUint8(NAMES + i * NAME_STRIDE + SOCKADDR_LL.packetType) === PACKET_OUTGOING,
      bytes: packet,
      segmentBytes: isGroup ? virtioGsoBytes(view, start) : 0,
      isEthernet: this.isEthernet,
    };
  }

  #controls(at: number, bytes: number): { atUs: number; length: number; network: number } {
    const { view } = this.#arena;
    const told = { atUs: 0, length: 0, network: 0 };
    for (let next = at; next + CMSGHDR.data < at + bytes; ) {
      const length = view.getUint32(next + CMSGHDR.length, true);
      if (length <= CMSGHDR.data) break;
      const level = view.getInt32(next + CMSGHDR.level, true);
      const type = view.getInt32(next + CMSGHDR.type, true);
      const data = next + CMSGHDR.data;
      if (level === SOL_SOCKET && type === SCM_TIMESTAMPNS) {
        const seconds = Number(view.getBigInt64(data, true));
        told.atUs = seconds * 1e6 + Math.floor(view.getUint32(data + 8, true) / 1000);
      } else if (level === SOL_PACKET && type === PACKET_AUXDATA) {
        told.length = view.getUint32(data + TPACKET_AUXDATA.length, true);
        told.network = view.getUint16(data + TPACKET_AUXDATA.network, true);
      }
      next += (length + 7) & ~7;
    }
    return told;
  }
}
