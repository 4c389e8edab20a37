/**
 * The MTU of the link that leads to an address. IP_MTU does not tell: it is what the kernel thinks of the whole path,
 * which anybody can lower by a forged ICMP. But a socket that ignores that (IP_PMTUDISC_PROBE) has a datagram refused
 * that no link takes, and the reason in its queue of errors names the link's MTU (IP_RECVERR, ip(7)).
 */
import { Arena } from '../sys/arena.ts';
import {
  AF_INET,
  AF_INET6,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_PROBE,
  IP_RECVERR,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
  IPV6_RECVERR,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  MSG_MORE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { CMSGHDR, MMSGHDR, MSGHDR, SOCK_EXTENDED_ERR } from '../sys/structs.ts';

/** The longest UDP payload in IPv4. Only a loopback device takes it, and even there it never leaves (MSG_MORE). */
const TOO_LONG_BYTES = 65_507;
const CONTROL = MMSGHDR.bytes;
const CONTROL_BYTES = 256;

/** In bytes, outer headers included; 0 if it cannot be told. */
export function linkMtu(family: 4 | 6, sockaddr: number, sockaddrBytes: number): number {
  const isV4 = family === 4;
  const level = isV4 ? IPPROTO_IP : IPPROTO_IPV6;
  const fd = libc.socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  const scratch = new Arena(TOO_LONG_BYTES);
  const set = (name: number, value: number): boolean => {
    scratch.view.setInt32(0, value, true);
    return libc.setsockopt(fd, level, name, scratch.base, 4) === 0;
  };
  try {
    if (!set(isV4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, IP_PMTUDISC_PROBE)) return 0;
    if (!set(isV4 ? IP_RECVERR : IPV6_RECVERR, 1)) return 0;
    const flags = MSG_DONTWAIT | MSG_MORE;
    if (libc.sendto(fd, scratch.base, TOO_LONG_BYTES, flags, sockaddr, sockaddrBytes) >= 0) return 0;
    return refusedMtu(fd, scratch);
  } finally {
    libc.close(fd);
  }
}

/** What the first error in the queue of `fd` names. */
function refusedMtu(fd: number, scratch: Arena): number {
  scratch.bytes.fill(0, 0, CONTROL + CONTROL_BYTES);
  scratch.setPointer(MSGHDR.control, CONTROL);
  scratch.setWord(MSGHDR.controlLength, CONTROL_BYTES);
  if (libc.recvmmsg(fd, scratch.base, 1, MSG_ERRQUEUE | MSG_DONTWAIT, 0) !== 1) return 0;
  const length = scratch.view.getUint32(CONTROL + CMSGHDR.length, true);
  if (length < CMSGHDR.data + SOCK_EXTENDED_ERR.bytes) return 0;
  return scratch.view.getUint32(CONTROL + CMSGHDR.data + SOCK_EXTENDED_ERR.info, true);
}
