/** Hears what the kernel tells of its devices (netlink, NETLINK_KOBJECT_UEVENT), without ever waiting for it. */
import { Arena } from './arena.ts';
import { checked } from './calls.ts';
import {
  AF_NETLINK,
  EAGAIN,
  MSG_DONTWAIT,
  NETLINK_KOBJECT_UEVENT,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from './constants.ts';
import * as libc from './libc.ts';
import { SOCKADDR_NL } from './structs.ts';

/** The kernel's own limit for one event (UEVENT_BUFFER_SIZE) is 2048 bytes, before its header. */
const RECEIVE_BYTES = 4096;
/** The multicast group of what the kernel itself says; group 2 is what udev makes of it. */
const UEVENT_GROUP_KERNEL = 1;
/** Events read at once: after a storm of them the rest is for the next time. */
const MAX_EVENTS = 1000;

export class UeventSocket {
  readonly #fd: number;
  readonly #received = new Arena(RECEIVE_BYTES);
  #isOpen = true;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws a SysError. */
  static open(): UeventSocket {
    const doing = "listening to the kernel's device events";
    const type = SOCK_RAW | SOCK_CLOEXEC;
    const fd = checked(libc.socket(AF_NETLINK, type, NETLINK_KOBJECT_UEVENT), { call: 'socket', doing });
    const socket = new UeventSocket(fd);
    try {
      const scratch = new Arena(SOCKADDR_NL.bytes);
      scratch.view.setUint16(SOCKADDR_NL.family, AF_NETLINK, true);
      scratch.view.setUint32(SOCKADDR_NL.groups, UEVENT_GROUP_KERNEL, true);
      checked(libc.bind(fd, scratch.base, SOCKADDR_NL.bytes), { call: 'bind', doing });
    } catch (error) {
      socket.close();
      throw error;
    }
    return socket;
  }

  /** Takes what has come; true if one of the events is such a one, or some were lost and it may have been. */
  drain(isSuchAnOne: (event: Uint8Array) => boolean): boolean {
    let isThere = false;
    for (let read = 0; read < MAX_EVENTS && this.#isOpen; read++) {
      const length = libc.recv(this.#fd, this.#received.base, RECEIVE_BYTES, MSG_DONTWAIT);
      if (length < 0) return isThere || libc.errno() !== EAGAIN;
      if (isSuchAnOne(this.#received.bytes.subarray(0, length))) isThere = true;
    }
    return isThere;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    libc.close(this.#fd);
  }
}
