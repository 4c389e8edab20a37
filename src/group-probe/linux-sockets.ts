/** The sockets of group probes on Linux: what is sent enters the TUN as one superpacket where it takes those (USO). */
import { createSocket } from 'node:dgram';
import { addressWords, formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { Arena } from '../sys/arena.ts';
import { checked, setIntOption } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_UDP,
  UDP_SEGMENT,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { SOCKADDR_STRIDE, sockaddrPort, writeSockaddr } from '../sys/sockaddr.ts';
import { CMSGHDR, IOVEC, MSGHDR } from '../sys/structs.ts';
import type { ProbeReceiver, ProbeSender, ProbeSockets } from './sockets.ts';

/** The longest group, and single datagrams besides. */
const MAX_BYTES = 65_536;

const ADDRESS = 0;
const MESSAGE = ADDRESS + SOCKADDR_STRIDE;
const VECTOR = MESSAGE + MSGHDR.bytes;
const CONTROL = VECTOR + IOVEC.bytes;
const CONTROL_BYTES = 24;
const DATA = CONTROL + CONTROL_BYTES;

export const linuxProbeSockets: ProbeSockets = {
  openSender: (from, port) => new LinuxProbeSender(from, port),
  openReceiver,
};

class LinuxProbeSender implements ProbeSender {
  readonly port: number;
  readonly #fd: number;
  readonly #arena = new Arena(DATA + MAX_BYTES);
  #isClosed = false;

  constructor(from: IpAddress, port: number) {
    const isV4 = from.family === 4;
    const doing = `opening a UDP socket on ${formatAddress(from)}`;
    const kind = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    this.#fd = checked(libc.socket(isV4 ? AF_INET : AF_INET6, kind, 0), { call: 'socket', doing });
    try {
      const { view } = this.#arena;
      const option = { call: 'setsockopt', doing };
      if (isV4) setIntOption(this.#fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO, this.#arena, option);
      else setIntOption(this.#fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO, this.#arena, option);
      const bytes = writeSockaddr(view, ADDRESS, addressWords(from), port);
      checked(libc.bind(this.#fd, this.#arena.address(ADDRESS), bytes), { call: 'bind', doing });
      view.setInt32(MESSAGE, SOCKADDR_STRIDE, true);
      const named = libc.getsockname(this.#fd, this.#arena.address(ADDRESS), this.#arena.address(MESSAGE));
      checked(named, { call: 'getsockname', doing });
      this.port = sockaddrPort(view, ADDRESS);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  send(to: Endpoint, datagrams: readonly Uint8Array[]): boolean {
    if (this.#isClosed) return false;
    if (datagrams.length > 1 && this.#send(to, datagrams)) return true;
    // A TUN without checksums or superpackets: one after the other is what may become a group on the way.
    return datagrams.every((datagram) => this.#send(to, [datagram]));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    libc.close(this.#fd);
  }

  #send(to: Endpoint, datagrams: readonly Uint8Array[]): boolean {
    const arena = this.#arena;
    const { view } = arena;
    let bytes = 0;
    for (const datagram of datagrams) {
      arena.bytes.set(datagram, DATA + bytes);
      bytes += datagram.length;
    }
    const addressBytes = writeSockaddr(view, ADDRESS, addressWords(to.address), to.port);
    arena.setWord(MESSAGE + MSGHDR.name, arena.address(ADDRESS));
    arena.setWord(MESSAGE + MSGHDR.nameLength, addressBytes);
    arena.setWord(MESSAGE + MSGHDR.iov, arena.address(VECTOR));
    arena.setWord(MESSAGE + MSGHDR.iovCount, 1);
    arena.setWord(VECTOR + IOVEC.base, arena.address(DATA));
    arena.setWord(VECTOR + IOVEC.length, bytes);
    const isGroup = datagrams.length > 1;
    arena.setWord(MESSAGE + MSGHDR.control, isGroup ? arena.address(CONTROL) : 0);
    arena.setWord(MESSAGE + MSGHDR.controlLength, isGroup ? CONTROL_BYTES : 0);
    arena.setWord(CONTROL + CMSGHDR.length, CMSGHDR.data + 2);
    view.setInt32(CONTROL + CMSGHDR.level, SOL_UDP, true);
    view.setInt32(CONTROL + CMSGHDR.type, UDP_SEGMENT, true);
    view.setUint16(CONTROL + CMSGHDR.data, datagrams[0]!.length, true);
    return libc.sendmsg(this.#fd, arena.address(MESSAGE), 0) === bytes;
  }
}

function openReceiver(
  at: IpAddress,
  onDatagram: (bytes: Uint8Array, from: IpAddress) => void,
): Promise<ProbeReceiver> {
  const socket = createSocket(at.family === 4 ? 'udp4' : 'udp6');
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      socket.close();
      reject(error);
    };
    socket.once('error', fail);
    socket.bind({ address: formatAddress(at), port: 0, exclusive: true }, () => {
      socket.off('error', fail);
      // Nothing that can be done about it: what does not come shows in the verdict.
      socket.on('error', () => {});
      socket.on('message', (bytes, { address }) => onDatagram(bytes, parseAddress(address)));
      resolve({ port: socket.address().port, close: () => socket.close() });
    });
  });
}
