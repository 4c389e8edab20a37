/**
 * What this host's kernel thinks the way to another host carries. There are two answers: what is in the routing tables,
 * which only whoever runs this host can say (`ip route ... mtu 1400`), and what the kernel has learned beside them from
 * ICMP, which anybody can send.
 */
import { addressWords, type IpAddress } from '../ip/address.ts';
import { NetlinkConversation } from '../netlink/conversation.ts';
import { decodeRouteMtu, getRouteTo } from '../netlink/route.ts';
import { Arena } from '../sys/arena.ts';
import { checked, getIntOption } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  IP_MTU,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU,
  NETLINK_ROUTE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { NetlinkSocket } from '../sys/netlink-socket.ts';
import { writeSockaddr } from '../sys/sockaddr.ts';

/** discard (RFC 863). Nothing is sent: a port is what connect wants. */
const ANY_PORT = 9;

export class LinuxRouteMtus {
  readonly #own: IpAddress;
  readonly #fd: number;
  readonly #scratch = new Arena(32);
  /** Opened by the first question that needs it. */
  #netlink: NetlinkSocket | undefined;

  /** `own`: the address that this host sends from. Throws a SysError. */
  constructor(own: IpAddress) {
    this.#own = own;
    const doing = 'opening a socket that asks for routes';
    const domain = own.family === 4 ? AF_INET : AF_INET6;
    this.#fd = checked(libc.socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0), { call: 'socket', doing });
    try {
      checked(libc.bind(this.#fd, this.#scratch.base, this.#write(own, 0)), { call: 'bind', doing });
    } catch (error) {
      libc.close(this.#fd);
      throw error;
    }
  }

  /** Of the whole way, as far as the kernel knows, ICMP included, in bytes; undefined if there is no route. */
  path(to: IpAddress): number | undefined {
    if (to.family !== this.#own.family) return undefined;
    // Each connect looks the route up anew; a socket that stays connected would keep the old one.
    if (libc.connect(this.#fd, this.#scratch.base, this.#write(to, ANY_PORT)) < 0) return undefined;
    const [level, name] = to.family === 4 ? [IPPROTO_IP, IP_MTU] : [IPPROTO_IPV6, IPV6_MTU];
    try {
      const context = { call: 'getsockopt(IP_MTU)', doing: 'reading a path MTU' };
      return getIntOption(this.#fd, level, name, this.#scratch, context);
    } catch (error) {
      if (error instanceof SysError) return undefined;
      throw error;
    }
  }

  /** What the routing tables say; undefined if nothing. Throws a SysError or NetlinkError. */
  configured(to: IpAddress): number | undefined {
    this.#netlink ??= NetlinkSocket.open(NETLINK_ROUTE);
    const conversation = new NetlinkConversation(this.#netlink);
    return decodeRouteMtu(conversation.ask({ doing: 'asking for a route', request: getRouteTo(to) }));
  }

  close(): void {
    libc.close(this.#fd);
    this.#netlink?.close();
  }

  #write(address: IpAddress, port: number): number {
    return writeSockaddr(this.#scratch.view, 0, addressWords(address), port);
  }
}
