/**
 * A host in memory: interfaces with addresses, a TUN device, sockets, and just enough of a network stack to take
 * packets from its pods to the right place. Whatever the agent does to a Linux host by commands and system calls it
 * does here to plain values, which tests look at and tamper with.
 */
import type { Clock } from '../../src/clock.ts';
import type { DatapathOptions } from '../../src/dataplane/packet-threads.ts';
import type { UserspaceParts } from '../../src/dataplane/userspace-parts.ts';
import { MESSAGE } from '../../src/encapsulation/wireguard/data-message.ts';
import { WarrenError } from '../../src/errors.ts';
import type { Host } from '../../src/host/host.ts';
import type { TunFault, TunNetwork } from '../../src/host/tun-network.ts';
import type { Underlay } from '../../src/host/underlay-route.ts';
import {
  addressFromBytes,
  addressFromWords,
  formatAddress,
  type IpAddress,
  sameAddress,
} from '../../src/ip/address.ts';
import type { Endpoint } from '../../src/ip/endpoint.ts';
import { type Prefix, prefixContains } from '../../src/ip/prefix.ts';
import type { TunDevice } from '../../src/tun/tun-device.ts';
import type { UnderlaySockets } from '../../src/underlay/underlay-socket.ts';
import { InProcessPath } from './in-process-path.ts';
import { answerTo, MemoryEchoes, pathProbe } from './memory-echoes.ts';
import { MemoryKeyExchange } from './memory-key-exchange.ts';
import { type Carrier, endpointKey, MemorySocket, MemoryTun } from './memory-sockets.ts';
import type { MemoryThread } from './memory-thread.ts';

export interface MemoryInterface {
  mtu: number;
  addresses: IpAddress[];
}

/** The steps of `UserspaceParts` and `Host` that a test can make fail. */
export type FailingStep =
  | 'openTun'
  | 'openSockets'
  | 'switchTunOffloads'
  | 'switchSocketOffloads'
  | 'startKeyExchange'
  | 'startPath'
  | 'openEchoes'
  | 'configureTun'
  | 'enableForwarding'
  | 'resolveUnderlay';

/** asm-generic/errno.h: what a read meets once the device was deleted. */
const EBADFD = 77;

/** One for all hosts of a process: a descriptor names one thing. */
let nextFd = 1000;

export class MemoryHost implements Host {
  readonly interfaces = new Map<string, MemoryInterface>();
  /** What the TUN device carries; undefined if there is no device. */
  tun: { network: TunNetwork | undefined } | undefined;
  /** Packets that reached the node's own overlay address. */
  readonly received: Uint8Array[] = [];
  /** Whether its kernel answers echo requests. */
  answersEchoes = true;
  /** What its routing tables say of ways to other hosts, and what its kernel has learned from ICMP; by address. */
  readonly configuredMtus = new Map<string, number>();
  readonly learnedMtus = new Map<string, number>();
  /** What its kernel has dropped: of the TUN device, and of each socket by its descriptor. Bounded by the sockets of a test. */
  tunDrops = 0;
  readonly socketDrops = new Map<number, number>();
  /** Told of those packets too. */
  readonly listeners = new Set<(packet: Uint8Array) => void>();
  /** Of the packet path that was started last. */
  thread: MemoryThread | undefined;
  /** Where packets for its pods go; false if there is no such pod. */
  toPod: (address: IpAddress, packet: Uint8Array) => boolean = () => false;
  /** Thrown by the step when it is next called; it stays until it is deleted. */
  readonly failing = new Map<FailingStep, Error>();
  /** The names of all steps in the order in which they were called. */
  readonly steps: string[] = [];
  readonly #carrier: Carrier;
  readonly #nowMs: () => number;
  readonly #clock: Clock | undefined;
  /** The highest timestamps of handshakes, by file; they outlive an agent. */
  readonly ceilings = new Map<string, number>();
  keyExchange: MemoryKeyExchange | undefined;
  readonly #handshakes = new Map<string, MemorySocket>();
  readonly #sockets = new Map<string, MemorySocket>();
  readonly #byFd = new Map<number, MemorySocket | MemoryTun>();
  readonly #watchers = new Set<() => void>();
  readonly #locks = new Set<string>();
  #queue: MemoryTun | undefined;
  #echoes: MemoryEchoes | undefined;

  /** `clock`: of hosts whose tunnels have keys. */
  constructor(carrier: Carrier, nowMs: () => number, clock?: Clock) {
    this.#clock = clock;
    this.#carrier = carrier;
    this.#nowMs = nowMs;
  }

  /** Which datagrams arrive where: the carrier's other end. */
  deliver(from: Endpoint, to: Endpoint, datagram: Uint8Array): void {
    const key = endpointKey(to);
    const handshakes = this.#handshakes.get(key);
    const isHandshake = handshakes !== undefined && datagram[0]! < MESSAGE.data;
    (isHandshake ? handshakes : this.#sockets.get(key))?.deliver(from, datagram);
  }

  /** How many watch it for changes. */
  get watchers(): number {
    return this.#watchers.size;
  }

  /** The sockets that are open, oldest first. */
  get openSockets(): readonly number[] {
    return [...this.#byFd].filter(([, one]) => one instanceof MemorySocket).map(([fd]) => fd);
  }

  get openDescriptors(): number {
    return this.#byFd.size;
  }

  // What others do to the host.

  addInterface(name: string, mtu: number, ...addresses: IpAddress[]): void {
    this.interfaces.set(name, { mtu, addresses });
    this.changed();
  }

  setMtu(name: string, mtu: number): void {
    this.interfaces.get(name)!.mtu = mtu;
    this.changed();
  }

  replaceAddress(name: string, ...addresses: IpAddress[]): void {
    this.interfaces.get(name)!.addresses = addresses;
    this.changed();
  }

  deleteTun(): void {
    this.tun = undefined;
    this.tunDrops = 0;
    if (this.#queue) {
      this.#queue.errno = EBADFD;
      this.#queue.onReadable();
    }
    this.changed();
  }

  changed(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /** A program of this host, or one of its pods, sends an IP packet. */
  send(packet: Uint8Array): void {
    const to = destinationOf(packet);
    if (this.#isOwn(to)) this.#toOwn(packet);
    else if (!this.toPod(to, packet) && this.#leadsIntoTun(to)) this.#queue?.push(packet);
  }

  /** The same for a frame as the TUN hands it over: a superpacket. */
  sendFrame(packet: Uint8Array, virtio: Uint8Array): void {
    if (this.#leadsIntoTun(destinationOf(packet))) this.#queue?.push(packet, virtio);
  }

  hasOverlayAddress(address: IpAddress): boolean {
    return this.#isOwn(address);
  }

  // Host

  async resolveUnderlay(): Promise<Underlay> {
    this.#step('resolveUnderlay');
    for (const [interfaceName, { mtu, addresses }] of this.interfaces) {
      if (addresses[0]) return { address: addresses[0], interfaceName, mtu };
    }
    throw new WarrenError('UNDERLAY_ADDRESS_UNKNOWN', 'no interface has an address');
  }

  async underlayAt(address: IpAddress): Promise<Underlay | undefined> {
    for (const [interfaceName, { mtu, addresses }] of this.interfaces) {
      if (addresses.some((one) => sameAddress(one, address))) return { address, interfaceName, mtu };
    }
    return undefined;
  }

  watch(onChange: () => void): { stop(): void } {
    this.#watchers.add(onChange);
    return { stop: () => this.#watchers.delete(onChange) };
  }

  // The userspace data plane's parts

  readonly parts: UserspaceParts = {
    lockTun: (name) => {
      if (this.#locks.has(name)) throw new WarrenError('TUN_TAKEN', `another agent holds ${name}`);
      this.#locks.add(name);
      return { release: () => this.#locks.delete(name) };
    },
    openTun: (_name, queues, offloads) => {
      this.#step('openTun');
      this.tun ??= { network: undefined };
      const fds = Array.from({ length: queues }, () => {
        const queue = new MemoryTun(nextFd++, (packet) => this.#fromTun(packet));
        this.#byFd.set(queue.fd, queue);
        this.#queue = queue;
        return queue.fd;
      });
      return { readFds: fds, writeFds: fds, offloads };
    },
    closeTun: (device: TunDevice) => {
      for (const fd of device.readFds) this.#byFd.delete(fd);
    },
    switchTunOffloads: (_name, device, offloads) => {
      this.#step('switchTunOffloads');
      return { ...device, offloads };
    },
    switchSocketOffloads: (sockets, wanted) => {
      this.#step('switchSocketOffloads');
      return { ...sockets, offloads: { ...wanted, udpGro: false } };
    },
    openSockets: ({ words, port, count, wanted, hasHandshakes }) => {
      this.#step('openSockets');
      const endpoint = { address: addressFromWords(words), port };
      const isHere = [...this.interfaces.values()].some(({ addresses }) =>
        addresses.some((one) => sameAddress(one, endpoint.address)),
      );
      if (!isHere)
        throw new WarrenError(
          'UNDERLAY_ADDRESS_MISSING',
          `no interface has ${formatAddress(endpoint.address)}`,
        );
      const open = (sockets: Map<string, MemorySocket>) => {
        const socket = new MemorySocket(nextFd++, endpoint, this.#carrier);
        this.#byFd.set(socket.fd, socket);
        sockets.set(endpointKey(endpoint), socket);
        return socket.fd;
      };
      const descriptors = Array.from({ length: count }, () => open(this.#sockets));
      const handshakes = hasHandshakes ? open(this.#handshakes) : undefined;
      return { descriptors, handshakes, offloads: { ...wanted, udpGro: false } };
    },
    closeSockets: ({ descriptors, handshakes }: UnderlaySockets) => {
      for (const fd of handshakes === undefined ? descriptors : [...descriptors, handshakes]) {
        const socket = this.#byFd.get(fd) as MemorySocket;
        this.#byFd.delete(fd);
        const key = endpointKey(socket.endpoint);
        for (const sockets of [this.#sockets, this.#handshakes])
          if (sockets.get(key) === socket) sockets.delete(key);
      }
    },
    startKeyExchange: async (options) => {
      this.#step('startKeyExchange');
      const socketOf = (fd: number) => this.#byFd.get(fd) as MemorySocket;
      this.keyExchange = new MemoryKeyExchange(options, this.#clock!, this.ceilings, socketOf);
      return this.keyExchange;
    },
    socketDrops: (fd) => (this.#byFd.has(fd) ? (this.socketDrops.get(fd) ?? 0) : undefined),
    tunDrops: () => this.tun && this.tunDrops,
    startPath: async (options: DatapathOptions) => {
      this.#step('startPath');
      const tun = this.#byFd.get(options.tunReadFds[0]!) as MemoryTun;
      const socket = this.#byFd.get(options.socketFds[0]!) as MemorySocket;
      const path = new InProcessPath(options, tun, socket, this.#nowMs);
      this.thread = path.thread;
      return path;
    },
    enableForwarding: async () => {
      this.#step('enableForwarding');
      return [];
    },
    configureTun: async (network) => {
      this.#step('configureTun');
      if (!this.tun) throw new WarrenError('HOST_COMMAND_FAILED', 'Cannot find device');
      this.tun.network = network;
    },
    inspectTun: async (network) => {
      if (!this.tun) return undefined;
      return faultsOf(this.tun.network, network);
    },
    openEchoes: (_own, identifier) => {
      this.#step('openEchoes');
      this.#echoes = new MemoryEchoes(identifier, (to, packet) => {
        const source = this.tun?.network?.addresses.find(({ family }) => family === to.family);
        if (source) this.send(packet(source));
        return source !== undefined;
      });
      return this.#echoes;
    },
    openRouteMtus: () => ({
      path: (to) => {
        const text = formatAddress(to);
        const mtus = [...this.interfaces.values()].map(({ mtu }) => mtu);
        return this.learnedMtus.get(text) ?? this.configuredMtus.get(text) ?? mtus[0];
      },
      configured: (to) => this.configuredMtus.get(formatAddress(to)),
      close: () => {},
    }),
  };

  #fromTun(packet: Uint8Array): void {
    const to = destinationOf(packet);
    if (this.#isOwn(to)) this.#toOwn(packet);
    // What is for nobody here is forwarded: back into the tunnel.
    else if (!this.toPod(to, packet) && this.#leadsIntoTun(to)) this.#queue?.push(packet);
  }

  #toOwn(packet: Uint8Array): void {
    const echo = pathProbe(packet);
    if (!echo) {
      this.received.push(packet);
      for (const listener of this.listeners) listener(packet);
      return;
    }
    this.#echoes?.take(packet);
    if (echo.isRequest && this.answersEchoes) this.send(answerTo(packet));
  }

  #isOwn(address: IpAddress): boolean {
    return this.tun?.network?.addresses.some((own) => sameAddress(own, address)) ?? false;
  }

  #leadsIntoTun(address: IpAddress): boolean {
    const network = this.tun?.network;
    if (!network) return false;
    const isIn = (ranges: readonly Prefix[]) => ranges.some((range) => prefixContains(range, address));
    if (isIn(network.extraPrefixes)) return true;
    return isIn(network.podRanges) && !isIn(network.ownSubnets);
  }

  #step(name: FailingStep): void {
    this.steps.push(name);
    const error = this.failing.get(name);
    if (error) throw error;
  }
}

function faultsOf(present: TunNetwork | undefined, wanted: TunNetwork): TunFault[] {
  const text = (addresses: readonly IpAddress[] = []) => addresses.map(formatAddress).join();
  const faults: TunFault[] = [];
  if (present?.mtu !== wanted.mtu || present.gsoMaxSegments !== wanted.gsoMaxSegments) faults.push('link');
  if (text(present?.addresses) !== text(wanted.addresses)) faults.push('address');
  const prefixes = (network: TunNetwork | undefined) =>
    JSON.stringify([network?.podRanges, network?.ownSubnets, network?.extraPrefixes], (_key, value) =>
      typeof value === 'bigint' ? String(value) : value,
    );
  if (prefixes(present) !== prefixes(wanted)) faults.push('route');
  return faults;
}

/** The destination of an IP packet of either family. */
export function destinationOf(packet: Uint8Array): IpAddress {
  const isV4 = packet[0]! >> 4 === 4;
  return addressFromBytes(isV4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
}
