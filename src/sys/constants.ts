/** Numbers of the Linux ABI, alike on x86-64 and arm64. Each group names the header it comes from. */

// asm-generic/fcntl.h
export const O_WRONLY = 0o1;
export const O_RDWR = 0o2;
export const O_NOCTTY = 0o400;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

// asm-generic/poll.h
export const POLLIN = 0x01;
export const POLLOUT = 0x04;

// linux/eventfd.h
export const EFD_CLOEXEC = O_CLOEXEC;
export const EFD_NONBLOCK = O_NONBLOCK;

// linux/if_tun.h
export const TUNSETIFF = 0x400454ca;
export const TUNGETIFF = 0x800454d2;
/** Linux 5.2: gives a descriptor of the network namespace that the device is in. */
export const TUNGETDEVNETNS = 0x54e3;
export const TUNSETPERSIST = 0x400454cb;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const TUNSETQUEUE = 0x400454d9;
export const TUN_F_CSUM = 0x01;
export const TUN_F_TSO4 = 0x02;
export const TUN_F_TSO6 = 0x04;
export const TUN_F_TSO_ECN = 0x08;
/** Linux 6.2. */
export const TUN_F_USO4 = 0x20;
export const TUN_F_USO6 = 0x40;
export const IFF_TUN = 0x0001;
export const IFF_MULTI_QUEUE = 0x0100;
export const IFF_DETACH_QUEUE = 0x0400;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;

// asm-generic/socket.h, linux/net.h
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_NETLINK = 16;
export const AF_PACKET = 17;
export const SOCK_DGRAM = 2;
/** Keeps the borders of messages, and is bounded in bytes alone. */
export const SOCK_SEQPACKET = 5;
export const SOCK_RAW = 3;
export const SOCK_NONBLOCK = O_NONBLOCK;
export const SOCK_CLOEXEC = O_CLOEXEC;
export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEPORT = 15;
/** Each packet comes with the time at which the kernel had it, as SCM_TIMESTAMPNS; of 64-bit programs. */
export const SO_TIMESTAMPNS = 35;
export const SO_DOMAIN = 39;
export const SO_RCVTIMEO = 20;
export const SO_MARK = 36;
export const SO_ATTACH_FILTER = 26;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const SO_ATTACH_REUSEPORT_CBPF = 51;
/** Linux 4.12. An array of int32, linux/sock_diag.h. */
export const SO_MEMINFO = 55;
export const SK_MEMINFO_DROPS = 8;
export const SK_MEMINFO_VARS = 9;
/** Of recv on a netlink socket: gives the datagram's length, also where it was cut off. */
export const MSG_TRUNC = 0x20;
/** Reads from the socket's queue of errors. */
export const MSG_ERRQUEUE = 0x2000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
/** The datagram goes on with the next send, and is not sent before. */
export const MSG_MORE = 0x8000;

// linux/bpf_common.h, linux/filter.h
export const BPF_LD = 0x00;
export const BPF_LDX = 0x01;
export const BPF_ALU = 0x04;
export const BPF_JMP = 0x05;
export const BPF_RET = 0x06;
export const BPF_W = 0x00;
export const BPF_H = 0x08;
export const BPF_B = 0x10;
export const BPF_IMM = 0x00;
export const BPF_ABS = 0x20;
export const BPF_IND = 0x40;
/** Four times the lower half of a byte: the length of an IPv4 header. */
export const BPF_MSH = 0xa0;
export const BPF_ADD = 0x00;
export const BPF_AND = 0x50;
export const BPF_MOD = 0x90;
export const BPF_JA = 0x00;
export const BPF_JEQ = 0x10;
export const BPF_JGE = 0x30;
export const BPF_JSET = 0x40;
export const BPF_K = 0x00;
export const BPF_A = 0x10;
/** Offsets from here on are no data but what the kernel knows of a packet. */
export const SKF_AD_OFF = -0x1000;
export const SKF_AD_PROTOCOL = 0;
/** Offsets from here on count from the network header. */
export const SKF_NET_OFF = -0x100000;

// linux/in.h, linux/in6.h
export const IPPROTO_IP = 0;
export const IPPROTO_ICMP = 1;
export const IPPROTO_ICMPV6 = 58;
export const IPPROTO_RAW = 255;
export const IPPROTO_IPV6 = 41;
/** Type of service, ECN included; 4.13 takes it as a control message. */
export const IP_TOS = 1;
export const IP_MTU_DISCOVER = 10;
/** What goes wrong with what was sent is queued, with the reason (MSG_ERRQUEUE). */
export const IP_RECVERR = 11;
/** Whether IP_TOS comes with each datagram. */
export const IP_RECVTOS = 13;
export const IP_MTU = 14;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_MTU = 24;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
/** The address that a datagram came to comes with it (IPV6_PKTINFO), that of IPv4 as mapped. */
export const IPV6_RECVPKTINFO = 49;
/** Of a datagram: the address of this host, and an interface. */
export const IPV6_PKTINFO = 50;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;
/** Never fragment on our own; a datagram over the path MTU is refused with EMSGSIZE. */
export const IP_PMTUDISC_DO = 2;
/** Never fragment; a datagram over the link's MTU is refused with EMSGSIZE, whatever the path's is thought to be. */
export const IP_PMTUDISC_PROBE = 3;
/** Fragment as needed. */
export const IP_PMTUDISC_DONT = 0;

// linux/udp.h
export const SOL_UDP = 17;
/** Linux 4.18: one send is cut into datagrams of a given size. */
export const UDP_SEGMENT = 103;
/** Linux 5.0 (5.12 with UDP_SEGMENT senders beyond this host): datagrams of one flow arrive as one. */
export const UDP_GRO = 104;

// linux/socket.h, linux/netlink.h
export const SOL_NETLINK = 270;
export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const RTMGRP_LINK = 0x1;
export const RTMGRP_IPV4_IFADDR = 0x10;
export const RTMGRP_IPV4_ROUTE = 0x40;
export const RTMGRP_IPV4_RULE = 0x80;
export const RTMGRP_IPV6_IFADDR = 0x100;
export const RTMGRP_IPV6_ROUTE = 0x400;
/** Of groups without a bit of their own there: the number from 1 on. */
export const RTNLGRP_IPV6_RULE = 19;
export const NETLINK_KOBJECT_UEVENT = 15;
/** Linux 4.2: an error does not repeat the whole of what was asked. */
export const NETLINK_CAP_ACK = 10;
/** Linux 4.12: an error comes with the kernel's own words. */
export const NETLINK_EXT_ACK = 11;
/** Linux 5.0: a dump gives what the request's header asks for. */
export const NETLINK_GET_STRICT_CHK = 12;

// linux/if_packet.h, linux/if_ether.h, linux/if_arp.h
export const SOL_PACKET = 263;
export const PACKET_STATISTICS = 6;
export const PACKET_AUXDATA = 8;
/** A virtio header stands before each packet: it tells of groups. */
export const PACKET_VNET_HDR = 15;
/** Of a packet: this host sends it. */
export const PACKET_OUTGOING = 4;
export const ETH_P_ALL = 0x0003;
export const ETH_P_IP = 0x0800;
export const ARPHRD_ETHER = 1;
export const ARPHRD_LOOPBACK = 772;

// linux/sched.h
export const CLONE_NEWNET = 0x4000_0000;

// linux/mount.h, sys/mount.h
export const MS_BIND = 4096;
export const MS_REC = 16384;
export const MS_SHARED = 1 << 20;
/** The mount is gone at once; what still uses it goes on. */
export const MNT_DETACH = 2;

// sys/file.h
export const LOCK_EX = 2;
export const LOCK_NB = 4;

// asm-generic/errno-base.h, asm-generic/errno.h
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EPROTO = 71;
export const EAFNOSUPPORT = 97;
export const ENAMETOOLONG = 36;
export const EMSGSIZE = 90;
export const EADDRINUSE = 98;
