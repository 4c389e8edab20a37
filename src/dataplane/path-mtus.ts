/**
 * How much the path to each peer carries, found out by probes (RFC 8899, dplpmtud.ts): echo requests from this node's
 * own overlay address to the peer's, through the TUN device and the tunnel. Whatever kernel is there answers, so that
 * peers which are no agents are measured, too. An answer is as long as its request, and a way back that carries less must
 * not make the way there look small: where a probe may have been lost, every other one asks the agent at the other end to
 * let its answer be divided on the way. Not all do, because some networks drop fragments.
 *
 * Answers carry a token that only who had the request can know, so neither pods nor strangers can make them up. What
 * ICMP says of the underlay is no more than an occasion to probe.
 *
 * Paths to which nothing is sent are left alone: an idle agent sends no probes. What goes to a peer is told from its
 * counter of outbound packets, less what the probing itself makes go there.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { nodeAddress } from '../attachment/addresses.ts';
import type { Clock, Timer } from '../clock.ts';
import { addressWords, formatAddress, type IpAddress } from '../ip/address.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { addressCount, type Prefix } from '../ip/prefix.ts';
import type { Logger } from '../log/logger.ts';
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';
import type { ForwardingPeer } from './dataplane.ts';
import { DPLPMTUD, Dplpmtud } from './dplpmtud.ts';

/** How often counters and the kernel's routes are looked at. */
const TICK_MS = 250;
/** How often answers are looked for while some are missing, at first and after a while. */
const POLL_MS = 10;
const LATE_POLL_MS = 50;
const LATE_AFTER_MS = 200;
/** Confirmations of all paths together; with more paths each has fewer. */
const CONFIRMATIONS_PER_SECOND = 200;
/** Sockets that could not be opened are tried again. */
const OPEN_AGAIN_MS = 60_000;
/** An answer that takes longer is none. Bounds, with the rates above, how many probes are remembered. */
const FORGET_MS = 10_000;

/** Echo requests to overlay addresses, which are one int32 or four. */
export interface Echoes {
  /** False if it could not be sent. */
  send(to: Int32Array, bytes: number, token: bigint): boolean;
  /** Takes what has come, without waiting: answers, and probes of other agents. */
  receive(onAnswer: (token: bigint, bytes: number) => void, onProbe: (from: Int32Array) => void): void;
  close(): void;
}

/** What the kernel thinks of ways on the underlay (host/route-mtu.ts). */
export interface RouteMtus {
  path(to: IpAddress): number | undefined;
  configured(to: IpAddress): number | undefined;
  close(): void;
}

export interface PathMtuParts {
  /** Throws what is missing. */
  openEchoes(own: readonly Int32Array[], identifier: number): Echoes;
  openRouteMtus(own: IpAddress): RouteMtus;
}

export interface PathMtusOptions {
  readonly parts: PathMtuParts;
  readonly clock: Clock;
  readonly log: Logger;
  /** To all peers, and to one, since the start. */
  readonly outboundPackets: (key?: string) => number;
  /** `mtu` gives others than before. */
  readonly onChange: () => void;
}

export interface PathEnds {
  readonly peers: readonly ForwardingPeer[];
  /** This node's own overlay addresses. */
  readonly ownAddresses: readonly IpAddress[];
  /** Of the underlay. */
  readonly ownUnderlay: IpAddress;
  readonly overheadBytes: number;
  /** Bytes of an inner packet that this node's end takes. */
  readonly mtu: number;
}

interface Path {
  peer: ForwardingPeer;
  readonly machine: Dplpmtud;
  /** Undefined: it has no address of a family that this node has, too. */
  readonly target: Int32Array | undefined;
  /** What both ends take. */
  endsMtu: number;
  /** What was logged and handed on last. */
  mtu: number;
  /** The probes that were sent last ask for answers that may be divided. */
  mayDivide: boolean;
  /** Of the kernel, as it was read last. */
  kernelMtu: number | undefined;
  /** Packets to the peer that probing made: our probes, and our kernel's answers to the peer's. */
  ofProbing: number;
  /** The same when it was last looked. */
  seenOfProbing: number;
  /** The most packets besides those of probing so far. */
  mostOthers: number;
}

interface Probe {
  readonly path: Path;
  readonly bytes: number;
  readonly sentMs: number;
}

export class PathMtus {
  /** Of this agent's echoes; a pod that guessed it would gain nothing (datapath/own-probes.ts). */
  readonly identifier = randomInt(1, 0x10000);
  readonly #options: PathMtusOptions;
  #ends: PathEnds | undefined;
  /** One for each peer of the forwarding table. */
  readonly #paths = new Map<string, Path>();
  /** By the words of the peer's address: whose probes come from there. As many as paths. */
  readonly #byTarget = new Map<string, Path>();
  /** Those with a machine that waits for answers. */
  readonly #busy = new Set<Path>();
  /** Those whose answers are awaited, in the order in which they were sent. */
  readonly #probes = new Map<bigint, Probe>();
  #echoes: Echoes | undefined;
  #routes: RouteMtus | undefined;
  /** It was tried, and failed: not again before. */
  #openAtMs = 0;
  #tick: Timer | undefined;
  #poll: Timer | undefined;
  #sentMs = 0;
  #seenPackets = -1;
  #activePaths = 1;
  #isClosed = false;

  constructor(options: PathMtusOptions) {
    this.#options = options;
  }

  /** Inner bytes that the path to a peer carries; undefined for one that is not known. */
  mtu(key: string): number | undefined {
    return this.#paths.get(key)?.machine.mtu;
  }

  /** Who the peers are, and what the ends of their paths take. Paths whose ends are as they were go on as they are. */
  update(ends: PathEnds): void {
    // What was under way when the data plane was told to end comes here still, and nobody would end it again.
    if (this.#isClosed) return;
    const before = this.#ends;
    this.#ends = ends;
    const text = ({ ownAddresses, ownUnderlay }: PathEnds) =>
      [...ownAddresses, ownUnderlay].map(formatAddress).join();
    if (before && text(before) !== text(ends)) this.#closeSockets();
    const keys = new Set(ends.peers.map(({ key }) => key));
    for (const [key, path] of this.#paths) {
      if (keys.has(key)) continue;
      this.#paths.delete(key);
      this.#busy.delete(path);
    }
    this.#byTarget.clear();
    for (const peer of ends.peers) {
      const path = this.#path(peer, ends);
      this.#paths.set(peer.key, path);
      if (path.target) this.#byTarget.set(path.target.join(), path);
    }
    if (this.#paths.size > 0 && ends.ownAddresses.length > 0) this.#tick ??= this.#tickLater();
    else this.#stopTimers();
  }

  close(): void {
    this.#isClosed = true;
    this.#stopTimers();
    this.#closeSockets();
    this.#paths.clear();
    this.#busy.clear();
  }

  #path(peer: ForwardingPeer, ends: PathEnds): Path {
    const known = this.#paths.get(peer.key);
    const endsMtu = Math.min(peer.mtu ?? ends.mtu, ends.mtu);
    const target = targetOf(peer.subnets, ends.ownAddresses);
    const at = ({ endpoint }: ForwardingPeer) => endpoint && formatEndpoint(endpoint);
    const isSame = known && at(known.peer) === at(peer) && known.target?.join() === target?.join();
    if (isSame) {
      known.peer = peer;
      if (known.endsMtu === endsMtu) return known;
      known.machine.limit(endsMtu);
      known.endsMtu = endsMtu;
      known.mtu = known.machine.mtu;
      // What the routing tables say counts for the new one, too.
      known.kernelMtu = undefined;
      return known;
    }
    if (known) this.#busy.delete(known);
    const hasIpv6 = ends.ownAddresses.some(({ family }) => family === 6);
    const packets = this.#options.outboundPackets(peer.key);
    return {
      peer,
      machine: new Dplpmtud(hasIpv6 ? IPV6_MIN_MTU : DPLPMTUD.baseBytes, endsMtu),
      target,
      endsMtu,
      mtu: endsMtu,
      mayDivide: false,
      kernelMtu: undefined,
      ofProbing: 0,
      seenOfProbing: 0,
      mostOthers: packets,
    };
  }

  #tickLater(): Timer {
    return this.#options.clock.after(TICK_MS, () => {
      this.#tick = this.#tickLater();
      this.#look();
    });
  }

  /** Which paths packets went to, and what is to be done about them. */
  #look(): void {
    const { outboundPackets, clock } = this.#options;
    const packets = outboundPackets();
    if (packets === this.#seenPackets) return;
    this.#seenPackets = packets;
    const nowMs = clock.now();
    const counts = new Map<Path, number>();
    for (const path of this.#paths.values()) counts.set(path, outboundPackets(path.peer.key));
    // Only now: an answer of our kernel's is never counted among the packets before the probe that it is for is known.
    this.#receive();
    const active = [...counts].filter(([path, count]) => isActive(path, count)).map(([path]) => path);
    if (active.length === 0) return;
    // It moves within the second: a path is active in some of the ticks only.
    this.#activePaths = Math.max(active.length, Math.floor(0.9 * this.#activePaths));
    this.#open(nowMs);
    for (const path of active) {
      this.#askKernel(path, nowMs);
      this.#advance(path, true, nowMs);
    }
    this.#pollLater();
    this.#handOn();
  }

  /** Answers may have come, or be missing for too long. */
  #pollAnswers(): void {
    const nowMs = this.#options.clock.now();
    for (const [token, { sentMs }] of this.#probes) {
      if (nowMs - sentMs < FORGET_MS) break;
      this.#probes.delete(token);
    }
    this.#receive();
    for (const path of [...this.#busy]) this.#advance(path, false, nowMs);
    this.#pollLater();
    this.#handOn();
  }

  #pollLater(): void {
    if (this.#poll || this.#busy.size === 0) return;
    const { clock } = this.#options;
    const delayMs = clock.now() - this.#sentMs < LATE_AFTER_MS ? POLL_MS : LATE_POLL_MS;
    this.#poll = clock.after(delayMs, () => {
      this.#poll = undefined;
      this.#pollAnswers();
    });
  }

  #receive(): void {
    const nowMs = this.#options.clock.now();
    this.#echoes?.receive(
      (token, bytes) => {
        const probe = this.#probes.get(token);
        if (probe?.bytes !== bytes) return;
        this.#probes.delete(token);
        probe.path.machine.answered(bytes, probe.sentMs, nowMs);
      },
      (from) => {
        const path = this.#byTarget.get(from.join());
        if (path) path.ofProbing++;
      },
    );
  }

  #askKernel(path: Path, nowMs: number): void {
    const { overheadBytes } = this.#ends!;
    const address = path.peer.endpoint?.address;
    if (address === undefined) return;
    const bytes = this.#routes?.path(address);
    if (bytes === undefined || bytes === path.kernelMtu) return;
    path.kernelMtu = bytes;
    const inner = bytes - overheadBytes;
    const configured = inner < path.endsMtu ? this.#configured(address) : undefined;
    path.machine.limit(
      configured !== undefined && configured > overheadBytes
        ? Math.min(path.endsMtu, configured - overheadBytes)
        : path.endsMtu,
    );
    this.#send(path, path.machine.hint(inner < path.endsMtu ? inner : undefined, nowMs), nowMs);
  }

  #configured(address: IpAddress): number | undefined {
    try {
      return this.#routes?.configured(address);
    } catch (error) {
      this.#options.log.debug({ err: error }, 'the routing tables cannot be asked for an MTU');
      return undefined;
    }
  }

  #advance(path: Path, isActiveNow: boolean, nowMs: number): void {
    if (!path.target) return;
    const timerMs = Math.max(
      DPLPMTUD.confirmationTimerMs,
      (1000 * this.#activePaths) / CONFIRMATIONS_PER_SECOND,
    );
    this.#send(path, path.machine.poll(nowMs, isActiveNow, timerMs), nowMs);
    if (path.machine.isBusy) this.#busy.add(path);
    else this.#busy.delete(path);
  }

  #send(path: Path, sizes: readonly number[], nowMs: number): void {
    // One alone is the first of its kind, which most often comes back.
    path.mayDivide = sizes.length > 1 && !path.mayDivide;
    for (const bytes of sizes) {
      const token = (randomBytes(8).readBigUInt64BE() & ~1n) | (path.mayDivide ? 1n : 0n);
      if (!path.target || !this.#echoes?.send(path.target, bytes, token)) continue;
      path.ofProbing++;
      this.#probes.set(token, { path, bytes, sentMs: nowMs });
      this.#sentMs = nowMs;
    }
  }

  /** Tells of paths whose MTU is another than before. */
  #handOn(): void {
    let isOther = false;
    for (const path of this.#paths.values()) {
      const { mtu, state } = path.machine;
      if (mtu === path.mtu) continue;
      const fields = { node: path.peer.name, mtu, before: path.mtu };
      if (state === 'ERROR') this.#options.log.warn(fields, 'the path to a peer carries less than it should');
      else this.#options.log.info(fields, 'the path to a peer carries another size');
      path.mtu = mtu;
      isOther = true;
    }
    if (isOther) this.#options.onChange();
  }

  /** With the first packet to a peer: who sends nothing needs no sockets. */
  #open(nowMs: number): void {
    if (this.#echoes || nowMs < this.#openAtMs) return;
    const { parts, log } = this.#options;
    const { ownAddresses, ownUnderlay } = this.#ends!;
    try {
      this.#routes ??= parts.openRouteMtus(ownUnderlay);
      this.#echoes = parts.openEchoes(ownAddresses.map(addressWords), this.identifier);
    } catch (error) {
      if (this.#openAtMs === 0)
        log.warn({ err: error }, 'paths cannot be measured: what ICMP says of them is believed');
      this.#openAtMs = nowMs + OPEN_AGAIN_MS;
    }
  }

  #closeSockets(): void {
    this.#echoes?.close();
    this.#routes?.close();
    this.#echoes = undefined;
    this.#routes = undefined;
    this.#openAtMs = 0;
    this.#probes.clear();
  }

  #stopTimers(): void {
    this.#tick?.cancel();
    this.#poll?.cancel();
    this.#tick = undefined;
    this.#poll = undefined;
  }
}

/** Whether packets that have nothing to do with probing went to the peer since this was asked last. */
function isActive(path: Path, packets: number): boolean {
  const others = packets - path.ofProbing;
  const isMore = others > path.mostOthers;
  // Probes that were dropped on this host, and those that our kernel left unanswered, were counted and never sent: while
  // nobody probes the count starts anew.
  const isQuiet = path.ofProbing === path.seenOfProbing;
  path.mostOthers = isQuiet ? others : Math.max(others, path.mostOthers);
  path.seenOfProbing = path.ofProbing;
  return isMore;
}

/** Where a peer answers: its own address, the first of its subnet, in a family that this node has an address of. */
function targetOf(subnets: readonly Prefix[], own: readonly IpAddress[]): Int32Array | undefined {
  for (const family of [4, 6] as const) {
    const subnet = subnets.find((prefix) => prefix.family === family);
    if (!subnet || !own.some((address) => address.family === family)) continue;
    return addressWords(addressCount(subnet) > 1n ? nodeAddress(subnet) : subnet);
  }
  return undefined;
}
