/** Hears what the kernel tells a group of netlink listeners, in the calling thread's network namespace. Never waits. */
import { Arena } from './arena.ts';
import { checked } from './calls.ts';
import { AF_NETLINK, MSG_DONTWAIT, SO_RCVBUFFORCE, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET } from './constants.ts';
import * as libc from './libc.ts';
import { SOCKADDR_NL } from './structs.ts';

const RECEIVE_BYTES = 65_536;
const BUFFER_BYTES = 1024 * 1024;

export class NetlinkListener {
  readonly #fd: number;
  readonly #received = new Arena(RECEIVE_BYTES);
  #isOpen = true;

  /** `group`: its number, up to 32. Throws a SysError. */
  constructor(family: number, group: number) {
    const doing = 'listening to the kernel over netlink';
    this.#fd = checked(libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family), { call: 'socket', doing });
    try {
      const scratch = new Arena(SOCKADDR_NL.bytes);
      scratch.view.setInt32(0, BUFFER_BYTES, true);
      // Without the capability it stays as it is.
      libc.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, scratch.base, 4);
      scratch.bytes.fill(0);
      scratch.view.setUint16(SOCKADDR_NL.family, AF_NETLINK, true);
      scratch.view.setUint32(SOCKADDR_NL.groups, (1 << (group - 1)) >>> 0, true);
      checked(libc.bind(this.#fd, scratch.base, SOCKADDR_NL.bytes), { call: 'bind', doing });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next datagram, in memory of its own; undefined if there is none, or if some were lost. */
  receive(): Uint8Array | undefined {
    const length = libc.recv(this.#fd, this.#received.base, RECEIVE_BYTES, MSG_DONTWAIT);
    return length <= 0 ? undefined : this.#received.bytes.slice(0, length);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    libc.close(this.#fd);
  }
}
