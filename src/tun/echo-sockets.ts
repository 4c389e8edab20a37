/**
 * Echo requests of the control thread to other nodes' overlay addresses, which the kernel routes into the TUN device and
 * the peer's kernel answers: what paths are measured by. A raw socket (CAP_NET_RAW) for each of this node's own
 * addresses, which is never waited for: whoever has sent something looks a little later what has come.
 *
 * A program on the socket lets through the answers with our identifier, and probes of other agents, so that other
 * pings to this node fill no memory.
 */
import { Arena } from '../sys/arena.ts';
import { checked } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  BPF_B,
  BPF_H,
  BPF_IMM,
  BPF_IND,
  BPF_JEQ,
  BPF_JMP,
  BPF_K,
  BPF_LD,
  BPF_LDX,
  BPF_MSH,
  BPF_RET,
  BPF_W,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_PROBE,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU_DISCOVER,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SO_ATTACH_FILTER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
} from '../sys/constants.ts';
import * as libc from '../sys/libc.ts';
import { writeSockaddr } from '../sys/sockaddr.ts';
import { attachProgram, type Instruction } from '../sys/socket-filter.ts';
import { IOVEC, MMSGHDR, MSGHDR, SOCKADDR_IN, SOCKADDR_IN6 } from '../sys/structs.ts';
import {
  ICMP_ECHO_IDENTIFIER,
  ICMP_ECHO_MARK,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  PATH_PROBE_IP_BYTES,
  PATH_PROBE_MARK,
  PATH_PROBE_MIN_BYTES,
  PATH_PROBE_TOKEN,
  writePathProbe,
} from '../wire/icmp-echo.ts';
import { ipv4HeaderBytes } from '../wire/ipv4.ts';

/** What of an answer is looked at: the longest IPv4 header, and ours. */
const LOOK_BYTES = 128;
const [NAME, IOV, LOOK] = [64, 96, 112] as const;
/** Taken at once: others' probes may be many. */
const MAX_RECEIVED = 1000;

interface EchoSocket {
  readonly family: 4 | 6;
  readonly fd: number;
}

export class EchoSockets {
  readonly #identifier: number;
  readonly #sockets: EchoSocket[] = [];
  readonly #received = new Arena(LOOK + LOOK_BYTES);
  #sent = new Arena(2048);

  /** `own`: this node's addresses, as one int32 or four each. Throws a SysError. */
  constructor(own: readonly Int32Array[], identifier: number) {
    this.#identifier = identifier;
    try {
      for (const words of own) this.#open(words);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends a probe of `bytes` bytes, IP header included, to an address in words; false if that is not possible. */
  send(to: Int32Array, bytes: number, token: bigint): boolean {
    const family = to.length === 1 ? 4 : 6;
    const socket = this.#sockets.find((one) => one.family === family);
    if (!socket) return false;
    const icmpBytes = bytes - PATH_PROBE_IP_BYTES[family];
    if (32 + icmpBytes > this.#sent.bytes.length) this.#sent = new Arena(32 + icmpBytes);
    const { view } = this.#sent;
    const sockaddrBytes = writeSockaddr(view, 0, to, 0);
    writePathProbe(view, 32, family, icmpBytes, this.#identifier, token);
    const address = this.#sent.address(32);
    return libc.sendto(socket.fd, address, icmpBytes, MSG_DONTWAIT, this.#sent.base, sockaddrBytes) >= 0;
  }

  /** Takes what has come: answers with their token and size in bytes, and other agents' probes with their sender. */
  receive(onAnswer: (token: bigint, bytes: number) => void, onProbe: (from: Int32Array) => void): void {
    for (const socket of this.#sockets) {
      for (let i = 0; i < MAX_RECEIVED && this.#receiveOne(socket, onAnswer, onProbe); i++);
    }
  }

  close(): void {
    for (const { fd } of this.#sockets.splice(0)) libc.close(fd);
  }

  #open(words: Int32Array): void {
    const family = words.length === 1 ? 4 : 6;
    const doing = 'opening a socket that measures paths';
    const [domain, protocol] = family === 4 ? [AF_INET, IPPROTO_ICMP] : [AF_INET6, IPPROTO_ICMPV6];
    const fd = checked(libc.socket(domain, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), {
      call: 'socket',
      doing,
    });
    this.#sockets.push({ family, fd });
    if (!attachProgram(fd, SO_ATTACH_FILTER, onlyProbes(family, this.#identifier))) {
      checked(-1, { call: 'setsockopt(SO_ATTACH_FILTER)', doing });
    }
    const scratch = new Arena(32);
    // What the kernel thinks of the inner path comes from our own "too big", and must not divide a probe.
    const [level, discover] =
      family === 4 ? [IPPROTO_IP, IP_MTU_DISCOVER] : [IPPROTO_IPV6, IPV6_MTU_DISCOVER];
    scratch.view.setInt32(0, IP_PMTUDISC_PROBE, true);
    checked(libc.setsockopt(fd, level, discover, scratch.base, 4), {
      call: 'setsockopt(MTU_DISCOVER)',
      doing,
    });
    const sockaddrBytes = writeSockaddr(scratch.view, 0, words, 0);
    checked(libc.bind(fd, scratch.base, sockaddrBytes), { call: 'bind', doing });
  }

  #receiveOne(
    { family, fd }: EchoSocket,
    onAnswer: (token: bigint, bytes: number) => void,
    onProbe: (from: Int32Array) => void,
  ): boolean {
    const { view } = this.#received;
    this.#received.bytes.fill(0, 0, NAME);
    this.#received.setPointer(MSGHDR.name, NAME);
    view.setUint32(MSGHDR.nameLength, 32, true);
    this.#received.setPointer(MSGHDR.iov, IOV);
    this.#received.setWord(MSGHDR.iovCount, 1);
    this.#received.setPointer(IOV + IOVEC.base, LOOK);
    this.#received.setWord(IOV + IOVEC.length, LOOK_BYTES);
    if (libc.recvmmsg(fd, this.#received.base, 1, MSG_DONTWAIT | MSG_TRUNC, 0) !== 1) return false;
    const length = view.getUint32(MMSGHDR.length, true);
    // IPv4 comes with its header, IPv6 without.
    const icmp = LOOK + (family === 4 ? ipv4HeaderBytes(view, LOOK) : 0);
    if (icmp + PATH_PROBE_MIN_BYTES > LOOK + Math.min(length, LOOK_BYTES)) return true;
    if (view.getUint8(icmp) === ICMP_ECHO_REPLY[family]) {
      const bytes = length + (family === 4 ? 0 : PATH_PROBE_IP_BYTES[6]);
      onAnswer(view.getBigUint64(icmp + PATH_PROBE_TOKEN), bytes);
    } else {
      const at = NAME + (family === 4 ? SOCKADDR_IN.address : SOCKADDR_IN6.address);
      onProbe(Int32Array.from({ length: family === 4 ? 1 : 4 }, (_, i) => view.getInt32(at + 4 * i)));
    }
    return true;
  }
}

/** Answers with our identifier, and whatever agent's requests. The program sees what the socket gets. */
function onlyProbes(family: 4 | 6, identifier: number): readonly Instruction[] {
  const jumpIf = BPF_JMP | BPF_JEQ | BPF_K;
  return [
    family === 4 ? [BPF_LDX | BPF_B | BPF_MSH, 0] : [BPF_LDX | BPF_W | BPF_IMM, 0],
    [BPF_LD | BPF_B | BPF_IND, 0],
    [jumpIf, ICMP_ECHO_REPLY[family], 1, 0],
    [jumpIf, ICMP_ECHO_REQUEST[family], 2, 5],
    [BPF_LD | BPF_H | BPF_IND, ICMP_ECHO_IDENTIFIER],
    [jumpIf, identifier, 2, 3],
    [BPF_LD | BPF_W | BPF_IND, ICMP_ECHO_MARK],
    [jumpIf, PATH_PROBE_MARK, 0, 1],
    [BPF_RET | BPF_K, 0xffff],
    [BPF_RET | BPF_K, 0],
  ];
}
