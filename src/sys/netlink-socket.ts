/** A netlink socket: one datagram out, datagrams in. It belongs to the network namespace that it is opened in. */
import { readdirSync } from 'node:fs';
import { Arena } from './arena.ts';
import { type CallContext, checked, setIntOption } from './calls.ts';
import {
  AF_NETLINK,
  EMSGSIZE,
  MSG_TRUNC,
  NETLINK_CAP_ACK,
  NETLINK_EXT_ACK,
  NETLINK_GET_STRICT_CHK,
  type NETLINK_NETFILTER,
  type NETLINK_ROUTE,
  SO_DOMAIN,
  SO_RCVTIMEO,
  SOCK_CLOEXEC,
  SOCK_RAW,
  SOL_NETLINK,
  SOL_SOCKET,
} from './constants.ts';
import { SysError } from './errors.ts';
import * as libc from './libc.ts';
import { SOCKADDR_NL, TIMEVAL } from './structs.ts';

/** The kernel makes a dump's datagrams of up to 32 KB, where there is room for as much. */
const RECEIVE_BYTES = 65_536;
/** The descriptors of all netlink sockets of this process. */
export function openNetlinkSockets(): number[] {
  const scratch = new Arena(8);
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      scratch.view.setInt32(4, 4, true);
      const result = libc.getsockopt(fd, SOL_SOCKET, SO_DOMAIN, scratch.address(0), scratch.address(4));
      return result === 0 && scratch.view.getInt32(0, true) === AF_NETLINK;
    });
}

/** The kernel answers within the send: this only keeps a thread from hanging for ever. */
const ANSWER_TIMEOUT_S = 5;

export class NetlinkSocket {
  readonly fd: number;
  readonly #received = new Arena(RECEIVE_BYTES);
  #sent = new Arena(4096);
  #isOpen = true;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Opens one in the calling thread's network namespace. Throws a SysError. */
  static open(family: typeof NETLINK_ROUTE | typeof NETLINK_NETFILTER): NetlinkSocket {
    const doing = 'opening a netlink socket';
    const fd = checked(libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family), { call: 'socket', doing });
    const socket = new NetlinkSocket(fd);
    try {
      socket.#configure(doing);
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  send(datagram: Uint8Array): void {
    if (datagram.length > this.#sent.bytes.length) this.#sent = new Arena(datagram.length);
    this.#sent.bytes.set(datagram);
    const context: CallContext = { call: 'send', doing: 'asking the kernel over netlink' };
    checked(libc.send(this.fd, this.#sent.base, datagram.length, 0), context);
  }

  /** The next datagram, in memory of its own. Throws a SysError, also if none comes within 5 seconds. */
  receive(): Uint8Array {
    const doing = "receiving the kernel's answer over netlink";
    const length = checked(libc.recv(this.fd, this.#received.base, RECEIVE_BYTES, MSG_TRUNC), {
      call: 'recv',
      doing,
    });
    if (length > RECEIVE_BYTES) throw new SysError('recv', EMSGSIZE, `${doing} (${length} bytes)`);
    return this.#received.bytes.slice(0, length);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    libc.close(this.fd);
  }

  #configure(doing: string): void {
    const scratch = new Arena(TIMEVAL.bytes);
    // Older kernels lack them: errors then say less, and dumps give more.
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      try {
        setIntOption(this.fd, SOL_NETLINK, option, 1, scratch, { call: 'setsockopt', doing });
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
      }
    }
    scratch.setWord(TIMEVAL.seconds, ANSWER_TIMEOUT_S);
    scratch.setWord(TIMEVAL.microseconds, 0);
    checked(libc.setsockopt(this.fd, SOL_SOCKET, SO_RCVTIMEO, scratch.base, TIMEVAL.bytes), {
      call: 'setsockopt(SO_RCVTIMEO)',
      doing,
    });
    scratch.bytes.fill(0);
    scratch.view.setUint16(SOCKADDR_NL.family, AF_NETLINK, true);
    checked(libc.bind(this.fd, scratch.base, SOCKADDR_NL.bytes), { call: 'bind', doing });
  }
}
