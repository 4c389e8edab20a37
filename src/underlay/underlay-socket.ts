/** The UDP socket between nodes: opened by the control thread, used by one packet path thread. */
import type { UnderlaySocket } from '../datapath/ports.ts';
import { WarrenError } from '../errors.ts';
import { Arena } from '../sys/arena.ts';
import { type CallContext, checked, setIntOption } from '../sys/calls.ts';
import {
  AF_INET,
  AF_INET6,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DONT,
  IP_PMTUDISC_PROBE,
  IP_RECVTOS,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU,
  IPV6_MTU_DISCOVER,
  IPV6_RECVTCLASS,
  IPV6_V6ONLY,
  MSG_DONTWAIT,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_REUSEPORT,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_SOCKET,
  SOL_UDP,
  UDP_GRO,
  UDP_SEGMENT,
} from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { sockaddrPort, writeSockaddr } from '../sys/sockaddr.ts';
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';
import { linkMtu } from './link-mtu.ts';
import { steerBySourcePort } from './port-steering.ts';
import { steerBySession } from './session-steering.ts';

/** A burst of superpackets in each direction; the default of 208 KiB holds three. */
const BUFFER_BYTES = 4 * 1024 * 1024;
/** The kernel makes as much of it as it must (SOCK_MIN_RCVBUF, some 2 KB). */
const LEAST_BUFFER_BYTES = 1;

/** How often to look for free ports in a row. */
const ROW_ATTEMPTS = 16;

const BIND_HINTS = {
  EADDRINUSE: 'another program uses this port; stop it, or set another encapsulation.port',
  EADDRNOTAVAIL: 'no interface has this address; set underlay.address to one that "ip address" shows',
  EACCES: 'ports below 1024 need root or CAP_NET_BIND_SERVICE',
};

export interface UnderlaySocketOptions {
  /** The local address as one int32 (IPv4) or four (IPv6). */
  readonly words: Int32Array;
  /** What the sockets share. 0: each has one of its own, in a row if that can be had. */
  readonly port: number;
  /** How an error names the address. */
  readonly displayName: string;
  /** One per packet path thread. */
  readonly count: number;
  /** They are never read from: what others send there must not stay in memory. */
  readonly sendsOnly?: boolean;
  /** One more socket on the port, for handshakes, and data to the socket of the thread that has the session. */
  readonly hasHandshakes?: boolean;
  /** With that: what is neither goes to the first thread, instead of to where handshakes go. */
  readonly acceptsOthers?: boolean;
  readonly wanted: UnderlayOffloads;
}

export interface UnderlayOffloads {
  /** UDP_SEGMENT, Linux 4.18. */
  readonly udpSegment: boolean;
  /** UDP_GRO, Linux 5.0. */
  readonly udpGro: boolean;
}

export interface UnderlaySockets {
  /** `closeUnderlaySockets` closes them. */
  readonly descriptors: readonly number[];
  /** Where handshakes come, if they come apart; to be closed with them. */
  readonly handshakes?: number | undefined;
  /** What of the wanted offloads the kernel has. */
  readonly offloads: UnderlayOffloads;
}

/** Opens and binds the sockets. */
export function openUnderlaySockets(options: UnderlaySocketOptions): UnderlaySockets {
  if (options.hasHandshakes) return openWithHandshakes(options);
  const descriptors = options.port === 0 ? openInARow(options) : openOnOnePort(options);
  return switchUnderlayOffloads({ descriptors, offloads: options.wanted }, options.wanted);
}

/** The same sockets, which use what `wanted` says, and the kernel has, from now on. */
export function switchUnderlayOffloads(
  { descriptors, handshakes }: UnderlaySockets,
  wanted: UnderlayOffloads,
): UnderlaySockets {
  // A kernel that does not know it has it off, and a datagram alone is what is received then.
  const isSet = descriptors.map((fd) => setGro(fd, wanted.udpGro)).every(Boolean);
  const udpSegment = wanted.udpSegment && hasSegmentation(descriptors[0]!);
  return { descriptors, handshakes, offloads: { udpSegment, udpGro: wanted.udpGro && isSet } };
}

/** The socket for handshakes does without UDP_GRO, so the kernel merges none of them with data. */
function openWithHandshakes(options: UnderlaySocketOptions): UnderlaySockets {
  const { port, count, wanted } = options;
  closeUnderlaySockets([openSocket(options, port, false)]);
  const all = openAll(
    options,
    Array.from({ length: count + 1 }, () => port),
    true,
  );
  const [handshakes, ...descriptors] = all;
  if (!steerBySession(handshakes!, count, options.acceptsOthers === true)) {
    closeUnderlaySockets(all);
    throw new WarrenError(
      'STEERING_REFUSED',
      'the kernel lets no program choose between the underlay sockets',
      {
        hint: 'A sandbox may refuse SO_ATTACH_REUSEPORT_CBPF: let it through, or set encapsulation.type: vxlan-gpe, which is clear text.',
      },
    );
  }
  return switchUnderlayOffloads({ descriptors, handshakes, offloads: wanted }, wanted);
}

function openOnOnePort(options: UnderlaySocketOptions): number[] {
  const isShared = options.count > 1;
  // Ports are only shared among our own sockets: the first one, without SO_REUSEPORT, fails if another program has the port.
  if (isShared) closeUnderlaySockets([openSocket(options, options.port, false)]);
  const ports = Array.from({ length: options.count }, () => options.port);
  const descriptors = openAll(options, ports, isShared);
  if (isShared) steerBySourcePort(descriptors[0]!, familyOf(options), options.count);
  return descriptors;
}

/**
 * Ports in a row come to sockets in a row at a peer that spreads by port (port-steering.ts), however many it has.
 * With others in between it will do without: any ports keep the order, they only spread less evenly.
 */
function openInARow(options: UnderlaySocketOptions): number[] {
  for (let attempt = 0; attempt < ROW_ATTEMPTS; attempt++) {
    const first = openSocket(options, 0, false);
    const port = boundPort(first);
    const others = Array.from({ length: options.count - 1 }, (_, i) => port + 1 + i);
    try {
      return [first, ...openAll(options, others, false)];
    } catch (error) {
      closeUnderlaySockets([first]);
      if (!(error instanceof SysError && error.code === 'EADDRINUSE')) throw error;
    }
  }
  return openAll(
    options,
    Array.from({ length: options.count }, () => 0),
    false,
  );
}

/** A socket on each of `ports`, or none. */
function openAll(options: UnderlaySocketOptions, ports: readonly number[], sharePort: boolean): number[] {
  const descriptors: number[] = [];
  try {
    for (const port of ports) descriptors.push(openSocket(options, port, sharePort));
    return descriptors;
  } catch (error) {
    closeUnderlaySockets(descriptors);
    throw error;
  }
}

function familyOf({ words }: UnderlaySocketOptions): 4 | 6 {
  return words.length === 1 ? 4 : 6;
}

export function closeUnderlaySockets(descriptors: readonly number[]): void {
  for (const descriptor of descriptors) libc.close(descriptor);
}

function setGro(fd: number, isOn: boolean): boolean {
  const scratch = new Arena(8);
  scratch.view.setInt32(0, isOn ? 1 : 0, true);
  return libc.setsockopt(fd, SOL_UDP, UDP_GRO, scratch.address(0), 4) === 0;
}

/** With each datagram comes its outer ECN codepoint; where that is refused, none counts as marked. */
function receiveEcn(fd: number, isV4: boolean): void {
  const scratch = new Arena(8);
  scratch.view.setInt32(0, 1, true);
  const [level, name] = isV4 ? [IPPROTO_IP, IP_RECVTOS] : [IPPROTO_IPV6, IPV6_RECVTCLASS];
  libc.setsockopt(fd, level, name, scratch.address(0), 4);
}

/** A kernel that knows the option can be asked for it. */
function hasSegmentation(fd: number): boolean {
  const scratch = new Arena(8);
  scratch.view.setInt32(4, 4, true);
  return libc.getsockopt(fd, SOL_UDP, UDP_SEGMENT, scratch.address(0), scratch.address(4)) === 0;
}

/** The port that a socket is bound to. */
export function boundPort(fd: number): number {
  const scratch = new Arena(64);
  scratch.view.setInt32(32, 32, true);
  checked(libc.getsockname(fd, scratch.address(0), scratch.address(32)), {
    call: 'getsockname',
    doing: 'reading the underlay port',
  });
  return sockaddrPort(scratch.view, 0);
}

function openSocket(options: UnderlaySocketOptions, port: number, sharePort: boolean): number {
  const isV4 = familyOf(options) === 4;
  const doing = `binding the underlay socket to ${options.displayName}`;
  const context = (call: string): CallContext => ({ call, doing, hints: call === 'bind' ? BIND_HINTS : {} });
  const scratch = new Arena(64);
  const fd = checked(
    libc.socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
    context('socket'),
  );
  try {
    const set = (level: number, name: number, value: number, label: string): void =>
      setIntOption(fd, level, name, value, scratch, context(`setsockopt(${label})`));
    if (!isV4) set(IPPROTO_IPV6, IPV6_V6ONLY, 1, 'IPV6_V6ONLY');
    if (sharePort) set(SOL_SOCKET, SO_REUSEPORT, 1, 'SO_REUSEPORT');
    if (options.sendsOnly) set(SOL_SOCKET, SO_RCVBUF, LEAST_BUFFER_BYTES, 'SO_RCVBUF');
    else {
      growBuffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, scratch);
      receiveEcn(fd, isV4);
    }
    growBuffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, scratch);
    const [level, discover] = isV4 ? [IPPROTO_IP, IP_MTU_DISCOVER] : [IPPROTO_IPV6, IPV6_MTU_DISCOVER];
    set(level, discover, IP_PMTUDISC_PROBE, 'MTU_DISCOVER');
    const sockaddrBytes = writeSockaddr(scratch.view, 0, options.words, port);
    checked(libc.bind(fd, scratch.address(0), sockaddrBytes), context('bind'));
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Beyond net.core.rmem_max with CAP_NET_ADMIN, up to it without (socket(7)). */
function growBuffer(fd: number, forced: number, plain: number, scratch: Arena): void {
  scratch.view.setInt32(0, BUFFER_BYTES, true);
  if (libc.setsockopt(fd, SOL_SOCKET, forced, scratch.address(0), 4) === 0) return;
  libc.setsockopt(fd, SOL_SOCKET, plain, scratch.address(0), 4);
}

export class LinuxUnderlaySocket implements UnderlaySocket {
  readonly fd: number;
  readonly #isV4: boolean;
  readonly #scratch = new Arena(64);

  constructor(fd: number, family: 4 | 6) {
    this.fd = fd;
    this.#isV4 = family === 4;
  }

  send(vector: number, count: number): number {
    const sent = libc.sendmmsg(this.fd, vector, count, MSG_DONTWAIT);
    return sent < 0 ? -libc.errno() : sent;
  }

  receive(vector: number, count: number): number {
    const received = libc.recvmmsg(this.fd, vector, count, MSG_DONTWAIT, 0);
    return received < 0 ? -libc.errno() : received;
  }

  allowFragmentation(allowed: boolean): boolean {
    const mode = allowed ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE;
    if (this.#isV4) return this.#set(IPPROTO_IP, IP_MTU_DISCOVER, mode);
    // No router divides what is too big for it: the pieces have to fit the least that a link takes.
    const pieceBytes = allowed ? IPV6_MIN_MTU : 0;
    return this.#set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, mode) && this.#set(IPPROTO_IPV6, IPV6_MTU, pieceBytes);
  }

  linkMtu(sockaddr: number, sockaddrBytes: number): number {
    return linkMtu(this.#isV4 ? 4 : 6, sockaddr, sockaddrBytes);
  }

  #set(level: number, name: number, value: number): boolean {
    this.#scratch.view.setInt32(0, value, true);
    return libc.setsockopt(this.fd, level, name, this.#scratch.address(0), 4) === 0;
  }
}
