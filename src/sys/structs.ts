/**
 * Layouts of the kernel's structures on 64-bit little-endian Linux (x86-64 and arm64 agree), in bytes.
 * test/unit/sys/structs.test.ts holds each offset against a C compiler.
 *
 * musl declares `msg_iovlen`, `msg_controllen` and `cmsg_len` as 32 bits plus padding where glibc has 64 bits.
 * On a little-endian machine both lie at the same offset as long as the upper half is written as zero, so all
 * of them are written as 64 bits here.
 */

/** bits/types/struct_iovec.h */
export const IOVEC = { bytes: 16, base: 0, length: 8 } as const;

/** bits/socket.h, struct msghdr */
export const MSGHDR = {
  bytes: 56,
  name: 0,
  nameLength: 8,
  iov: 16,
  iovCount: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
} as const;

/** bits/socket.h, struct mmsghdr: a msghdr and the bytes sent or received */
export const MMSGHDR = { bytes: 64, header: 0, length: 56 } as const;

/** bits/socket.h, struct cmsghdr; the data follows at `data` */
export const CMSGHDR = { bytes: 16, length: 0, level: 8, type: 12, data: 16 } as const;

/** linux/in.h; port and address in network byte order */
export const SOCKADDR_IN = { bytes: 16, family: 0, port: 2, address: 4 } as const;

/** linux/in6.h; port and address in network byte order */
export const SOCKADDR_IN6 = { bytes: 28, family: 0, port: 2, flowInfo: 4, address: 8, scopeId: 24 } as const;

/** linux/un.h */
export const SOCKADDR_UN = { bytes: 110, family: 0, path: 2 } as const;

/** asm-generic/poll.h */
export const POLLFD = { bytes: 8, fd: 0, events: 4, revents: 6 } as const;

/** linux/if.h, struct ifreq; IFNAMSIZ is 16 with the closing NUL */
export const IFREQ = { bytes: 40, name: 0, flags: 16, nameBytes: 16 } as const;

/** linux/filter.h, struct sock_filter: one instruction of classic BPF */
export const SOCK_FILTER = { bytes: 8, code: 0, ifTrue: 2, ifFalse: 3, operand: 4 } as const;

/** linux/filter.h, struct sock_fprog: how many instructions, and where they are */
export const SOCK_FPROG = { bytes: 16, length: 0, filter: 8 } as const;

/** linux/netlink.h; port 0 is the kernel, or for bind: one that the kernel chooses */
export const SOCKADDR_NL = { bytes: 12, family: 0, port: 4, groups: 8 } as const;

/** linux/time_types.h and bits/types/struct_timeval.h, struct timeval */
export const TIMEVAL = { bytes: 16, seconds: 0, microseconds: 8 } as const;

/** linux/errqueue.h, struct sock_extended_err: why something sent did not go out; `info` is an MTU for EMSGSIZE */
export const SOCK_EXTENDED_ERR = { bytes: 16, errno: 0, info: 8 } as const;

/** linux/if_packet.h, struct sockaddr_ll; the protocol in network byte order */
export const SOCKADDR_LL = {
  bytes: 20,
  family: 0,
  protocol: 2,
  interfaceIndex: 4,
  hardwareType: 8,
  packetType: 10,
} as const;

/** linux/if_packet.h, struct tpacket_auxdata: how long a packet was, and where its network header begins */
export const TPACKET_AUXDATA = { bytes: 20, length: 4, network: 14 } as const;

/** linux/if_packet.h, struct tpacket_stats: packets since the last question, and of those what found no room */
export const TPACKET_STATS = { bytes: 8, packets: 0, drops: 4 } as const;
