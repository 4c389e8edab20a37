/** Hears that links, addresses, routes or rules of the calling thread's network namespace have changed (rtnetlink(7)). */
import { Arena } from './arena.ts';
import { checked } from './calls.ts';
import {
  AF_NETLINK,
  EAGAIN,
  MSG_DONTWAIT,
  NETLINK_ROUTE,
  RTMGRP_IPV4_IFADDR,
  RTMGRP_IPV4_ROUTE,
  RTMGRP_IPV4_RULE,
  RTMGRP_IPV6_IFADDR,
  RTMGRP_IPV6_ROUTE,
  RTMGRP_LINK,
  RTNLGRP_IPV6_RULE,
  SOCK_CLOEXEC,
  SOCK_RAW,
} from './constants.ts';
import * as libc from './libc.ts';
import { SOCKADDR_NL } from './structs.ts';

const GROUPS =
  RTMGRP_LINK |
  RTMGRP_IPV4_IFADDR |
  RTMGRP_IPV6_IFADDR |
  RTMGRP_IPV4_ROUTE |
  RTMGRP_IPV6_ROUTE |
  RTMGRP_IPV4_RULE |
  (1 << (RTNLGRP_IPV6_RULE - 1));
const RECEIVE_BYTES = 32_768;
/** Events read at once: after a storm of them the rest is for the next time. */
const MAX_EVENTS = 1_000;

export class RouteEvents {
  readonly fd: number;
  readonly #received = new Arena(RECEIVE_BYTES);

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** Throws a SysError. */
  static open(): RouteEvents {
    const doing = 'listening for changes of links, addresses and routes';
    const fd = checked(libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), {
      call: 'socket',
      doing,
    });
    try {
      const scratch = new Arena(SOCKADDR_NL.bytes);
      scratch.view.setUint16(SOCKADDR_NL.family, AF_NETLINK, true);
      scratch.view.setUint32(SOCKADDR_NL.groups, GROUPS, true);
      checked(libc.bind(fd, scratch.base, SOCKADDR_NL.bytes), { call: 'bind', doing });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    return new RouteEvents(fd);
  }

  /** Takes what has come; true if there was something, or may have been and was lost. Never waits. */
  drain(): boolean {
    for (let read = 0; read < MAX_EVENTS; read++) {
      const length = libc.recv(this.fd, this.#received.base, RECEIVE_BYTES, MSG_DONTWAIT);
      if (length < 0) return read > 0 || libc.errno() !== EAGAIN;
    }
    return true;
  }

  close(): void {
    libc.close(this.fd);
  }
}
