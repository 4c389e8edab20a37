/** Opens the UDP socket of a device (tunnel-socket.ts). */
import { Arena } from '../sys/arena.ts';
import { checked, setIntOption } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  EAFNOSUPPORT,
  IP_RECVTOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_V6ONLY,
  SO_MARK,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { sockaddrPort, writeSockaddr } from '../sys/sockaddr.ts';

/** A burst of superpackets in each direction; the default of 208 KiB holds three. */
const BUFFER_BYTES = 4 * 1024 * 1024;
const DOING = "opening the device's UDP socket";

export interface OpenSocket {
  readonly fd: number;
  /** That is in use. */
  readonly port: number;
}

/** 6: for both families. */
export function socketFamily(): 4 | 6 {
  const fd = libc.socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 && libc.errno() === EAFNOSUPPORT) return 4;
  if (fd >= 0) libc.close(fd);
  return 6;
}

/** Throws a SysError: EADDRINUSE where another program has the port. */
export function openTunnelSocket(family: 4 | 6, port: number, fwmark: number): OpenSocket {
  const scratch = new Arena(64);
  const domain = family === 4 ? AF_INET : AF_INET6;
  const context = (call: string) => ({ call, doing: DOING });
  const fd = checked(libc.socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), context('socket'));
  try {
    const set = (level: number, name: number, value: number) =>
      setIntOption(fd, level, name, value, scratch, context('setsockopt'));
    const may = (level: number, name: number, value: number) => {
      scratch.view.setInt32(0, value, true);
      return libc.setsockopt(fd, level, name, scratch.address(0), 4) === 0;
    };
    if (family === 6) {
      set(IPPROTO_IPV6, IPV6_V6ONLY, 0);
      set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
      may(IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    }
    may(IPPROTO_IP, IP_RECVTOS, 1);
    may(SOL_UDP, UDP_GRO, 1);
    // Beyond the limits with CAP_NET_ADMIN, up to them without (socket(7)).
    if (!may(SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)) may(SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
    if (!may(SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)) may(SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
    setMark(fd, fwmark);
    const words = new Int32Array(family === 4 ? 1 : 4);
    const bytes = writeSockaddr(scratch.view, 0, words, port);
    checked(libc.bind(fd, scratch.address(0), bytes), context('bind'));
    scratch.view.setUint32(32, 32, true);
    checked(libc.getsockname(fd, scratch.address(0), scratch.address(32)), context('getsockname'));
    return { fd, port: sockaddrPort(scratch.view, 0) };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** What leaves has this mark from now on; 0: none. Throws a SysError: EPERM without CAP_NET_ADMIN. */
export function setMark(fd: number, fwmark: number): void {
  const scratch = new Arena(4);
  setIntOption(fd, SOL_SOCKET, SO_MARK, fwmark | 0, scratch, { call: 'setsockopt(SO_MARK)', doing: DOING });
}
