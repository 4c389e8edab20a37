/**
 * Which of the sockets that share a port gets a datagram: the one whose number is the sender's port modulo the
 * number of sockets. The kernel's own choice is a hash of addresses and ports (SO_REUSEPORT in socket(7)); that
 * keeps a sender at one socket too, but whether two senders come to different ones is up to chance.
 *
 * The program is classic BPF (linux/filter.h, Documentation/networking/filter.rst) and returns the socket's
 * number, in the order in which they were bound. It takes no privilege, and Linux 4.5.
 */
import {
  BPF_A,
  BPF_ABS,
  BPF_ALU,
  BPF_B,
  BPF_H,
  BPF_IND,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MOD,
  BPF_MSH,
  BPF_RET,
  SKF_NET_OFF,
  SO_ATTACH_REUSEPORT_CBPF,
} from '../sys/constants.ts';
import { attachProgram, type Instruction } from '../sys/socket-filter.ts';
import { IPV6_HEADER_BYTES } from '../wire/ipv6.ts';

/**
 * `fd` is any of the `count` sockets, all of them bound. False where the kernel or a sandbox refuses: then its
 * own choice stays, which orders packets as well, and only spreads them less evenly.
 */
export function steerBySourcePort(fd: number, family: 4 | 6, count: number): boolean {
  return attachProgram(fd, SO_ATTACH_REUSEPORT_CBPF, sourcePortModulo(family, count));
}

/**
 * The program sees the datagram from its payload on, and the headers before it at SKF_NET_OFF. An IPv6 extension
 * header would be taken for ports: a strange choice, but the same one for each datagram of that sender.
 */
function sourcePortModulo(family: 4 | 6, count: number): readonly Instruction[] {
  const loadPort: readonly Instruction[] =
    family === 4
      ? [
          [BPF_LDX | BPF_B | BPF_MSH, SKF_NET_OFF],
          [BPF_LD | BPF_H | BPF_IND, SKF_NET_OFF],
        ]
      : [[BPF_LD | BPF_H | BPF_ABS, SKF_NET_OFF + IPV6_HEADER_BYTES]];
  return [...loadPort, [BPF_ALU | BPF_MOD | BPF_K, count], [BPF_RET | BPF_A, 0]];
}
