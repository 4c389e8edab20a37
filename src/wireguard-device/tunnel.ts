/**
 * A device at work: packets between its TUN queue and its socket, and the protocol with its peers, all on one thread. Whoever
 * drives it polls both, calls `drainTun`, `drainSocket` and then `settle`, and runs the timers of the clock.
 *
 * The packet path is the agent's (src/datapath), with a peer's slot as its VTEP. Other than there nobody owns the addresses of
 * this host: what the host routes to the device leaves, and what comes from the right peer goes to the host, which routes it.
 */
import type { Clock } from '../clock.ts';
import type { WorkerCounters } from '../datapath/counters.ts';
import { DROP } from '../datapath/drops.ts';
import { VTEP, VTEP_WORDS } from '../datapath/forwarding.ts';
import { IcmpReplies } from '../datapath/icmp-replies.ts';
import { Inbound } from '../datapath/inbound.ts';
import { Outbound } from '../datapath/outbound.ts';
import type { TunQueue } from '../datapath/ports.ts';
import { Turn, type TurnParts } from '../datapath/turn.ts';
import { VtepTable } from '../datapath/vtep-table.ts';
import type { AeadEngine } from '../encapsulation/wireguard/aead.ts';
import { Device } from '../encapsulation/wireguard/device.ts';
import { Nonces } from '../encapsulation/wireguard/nonces.ts';
import type { Peer, SessionUsers } from '../encapsulation/wireguard/peer.ts';
import { onePresharedKey } from '../encapsulation/wireguard/preshared-keys.ts';
import type { Timestamps } from '../encapsulation/wireguard/tai64n.ts';
import { Wireguard } from '../encapsulation/wireguard/wireguard.ts';
import { keyPairOf } from '../encapsulation/wireguard/x25519.ts';
import { Fdb } from '../fdb/fdb.ts';
import { buildFdbSnapshot, type FdbSnapshot } from '../fdb/snapshot.ts';
import type { Arena } from '../sys/arena.ts';
import { PathPeers } from './path-peers.ts';
import { Sources } from './sources.ts';
import type { PeerSettings, PeerState, TunnelSettings } from './thread-messages.ts';
import { mappedWords, senderOf, type TunnelSocket } from './tunnel-socket.ts';
import { endpointParts } from './uapi-endpoint.ts';

/** No path is known to carry less than what the TUN gives: the kernel divides. */
const ANY_MTU = 65_535;
/** A port that stands for none yet: the table leaves out a VTEP without one. */
const NO_PORT = 1;

export interface TunnelParts {
  readonly clock: Clock;
  readonly timestamps: Timestamps;
  readonly engine: AeadEngine;
  readonly tun: TunQueue;
  readonly socket: TunnelSocket;
  readonly counters: WorkerCounters;
  readonly sendRoom: TurnParts['blockForRoom'];
  readonly writeRoom: TurnParts['blockForRoom'];
  /** A handshake could not begin; it is tried again. */
  failed(error: unknown): void;
}

interface Slot {
  settings: PeerSettings;
  peer: Peer | undefined;
  endpoint: Uint8Array | undefined;
  lastHandshakeMs: number;
}

export class Tunnel {
  readonly #parts: TunnelParts;
  readonly #vteps: VtepTable;
  readonly #fdb = new Fdb();
  readonly #sources = new Sources();
  readonly #paths: PathPeers;
  readonly #wireguard: Wireguard;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  /** By slot number; bounded by the model. */
  readonly #slots = new Map<number, Slot>();
  readonly #slotOf = new Map<Peer, number>();
  #device: Device | undefined;
  #privateKey: Uint8Array | undefined;
  #isUp = true;
  #mtu = ANY_MTU;
  #fdbSnapshot = buildFdbSnapshot([]);
  #slotCount = 0;

  constructor(parts: TunnelParts) {
    const { socket, engine, clock, tun, counters } = parts;
    this.#parts = parts;
    this.#vteps = new VtepTable(socket.family);
    this.#paths = new PathPeers({
      vteps: this.#vteps,
      sources: this.#sources,
      nowMs: () => clock.now(),
      handshake: (datagram, memory, sockaddr) => this.#handshake(datagram, memory, sockaddr),
      roamed: (slot, memory, sockaddr) => this.#slots.get(slot)?.peer?.moveTo(this.#sender(memory, sockaddr)),
    });
    this.#wireguard = new Wireguard({
      engine,
      sessions: this.#paths,
      vteps: this.#vteps,
      mtu: () => this.#mtu,
    });
    const nowMs = () => clock.now();
    const shared = {
      ...{ tun, socket, counters, fdb: this.#fdb, vteps: this.#vteps, encapsulation: this.#wireguard },
      underlayFamily: socket.family,
    };
    this.#outbound = new Outbound({
      ...shared,
      replies: new IcmpReplies(tun, nowMs),
      overheadBytes: 0,
      turn: new Turn({ blockForRoom: parts.sendRoom, nowMs }),
      dscp: 0,
      segmentation: true,
      onSegmentationOff: () => {},
      controls: (view) => this.#sources.controls(view),
      fromAnywhere: true,
    });
    this.#inbound = new Inbound({
      ...shared,
      turn: new Turn({ blockForRoom: parts.writeRoom, nowMs }),
      tcp: true,
      udp: true,
      onOff: () => {},
      toAnywhere: true,
    });
  }

  /** What ended it: 0, EAGAIN, or the TUN is broken. */
  drainTun(): number {
    return this.#outbound.drain();
  }

  drainSocket(): void {
    this.#inbound.drain();
  }

  settle(): void {
    this.#paths.settle();
  }

  /** The whole of what is configured. `moved` is where peers are that were told so. */
  configure(settings: TunnelSettings): void {
    const wanted = new Map(settings.peers.map((peer) => [peer.slot, peer]));
    for (const [number, slot] of this.#slots)
      if (wanted.get(number)?.id !== slot.settings.id) this.#remove(number, slot);
    if (!sameBytes(this.#privateKey, settings.privateKey)) this.#setPrivateKey(settings.privateKey);
    this.#reserve(settings.peers);
    for (const peer of settings.peers) this.#setPeer(peer);
    for (const { slot: number, endpoint } of settings.moved) this.#move(number, endpoint);
    this.#load(settings.allowedIps ?? this.#fdbSnapshot);
    this.#tellEndpoints();
    for (const { slot, keepaliveNow } of settings.peers)
      if (keepaliveNow) this.#slots.get(slot)?.peer?.sendKeepalive();
  }

  setMtu(mtu: number): void {
    this.#mtu = mtu;
    this.#device?.setMtu(mtu);
  }

  /** While the interface is down there are no sessions, and nothing is sent. */
  setUp(isUp: boolean): void {
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    for (const [number, slot] of this.#slots) {
      if (isUp) this.#start(number, slot);
      else this.#stop(number, slot);
    }
    if (!isUp) return;
    for (const { peer, settings } of this.#slots.values())
      if (settings.persistentKeepaliveMs > 0) peer?.sendKeepalive();
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Whether they are answered from somewhere else is for the next datagram to say. */
  forgetSources(slots: readonly number[]): void {
    for (const slot of slots) this.#sources.forget(slot);
  }

  peers(): PeerState[] {
    return [...this.#slots].map(([slot, { settings, peer, endpoint, lastHandshakeMs }]) => ({
      slot,
      id: settings.id,
      endpoint: peer?.endpoint ?? endpoint,
      source: this.#sources.of(slot),
      lastHandshakeMs,
      ...this.#paths.traffic(slot),
    }));
  }

  close(): void {
    for (const [number, slot] of this.#slots) this.#remove(number, slot);
    this.#device?.close();
  }

  readonly #users: SessionUsers = {
    nonces: () => new Nonces(),
    added: (peer, session) => this.#paths.added(this.#slotOf.get(peer)!, session),
    sendWith: (peer, session) => this.#paths.sendWith(this.#slotOf.get(peer)!, session),
    ended: (session) => {
      this.#paths.ended(session);
      this.#wireguard.end(session);
    },
    moved: (peer, endpoint) => this.#moved(this.#slotOf.get(peer)!, endpoint),
    agreed: (peer) => {
      const slot = this.#slots.get(this.#slotOf.get(peer)!);
      if (slot !== undefined) slot.lastHandshakeMs = this.#parts.clock.wallTime();
    },
    sent: () => {},
    dropped: (count) => {
      for (let i = 0; i < count; i++) this.#parts.counters.drop(DROP.outboundNoSession);
    },
    handshakeReceived: (peer, bytes) => {
      const slot = this.#slotOf.get(peer)!;
      this.#paths.countReceived(slot, bytes);
      this.#paths.learnSource(slot);
    },
  };

  #handshake(datagram: Buffer, memory: Arena, sockaddr: number): void {
    const received = this.#device?.receive(datagram, this.#sender(memory, sockaddr)) ?? 'unknown-peer';
    if (received !== 'accepted') this.#parts.counters.drop(DROP.inboundHandshakeRefused);
  }

  #sender(memory: Arena, sockaddr: number): Uint8Array {
    return senderOf(memory.view, sockaddr, this.#parts.socket.family);
  }

  #send(datagram: Buffer, to: Uint8Array, peer: Peer | undefined): void {
    const slot = peer === undefined ? undefined : this.#slotOf.get(peer);
    const { socket } = this.#parts;
    const controls = (view: DataView, at: number) =>
      slot === undefined ? at : this.#sources.write(view, at, slot);
    const errno = socket.sendOne(datagram, to, controls);
    if (slot === undefined) return;
    if (errno !== 0 && this.#sources.refused(slot, errno)) socket.sendOne(datagram, to, controls);
    this.#paths.countSent(slot, datagram.length);
  }

  #setPrivateKey(privateKey: Uint8Array | undefined): void {
    for (const [number, slot] of this.#slots) this.#stop(number, slot);
    this.#device?.close();
    this.#privateKey = privateKey;
    this.#device =
      privateKey &&
      new Device({
        own: keyPairOf(privateKey),
        clock: this.#parts.clock,
        timestamps: this.#parts.timestamps,
        engine: this.#parts.engine,
        mtu: this.#mtu,
        send: (datagram, to, peer) => this.#send(datagram, to, peer),
        deliver: () => {},
        failed: (error) => this.#parts.failed(error),
        users: this.#users,
      });
    for (const [number, slot] of this.#slots) this.#start(number, slot);
  }

  #setPeer(settings: PeerSettings): void {
    const known = this.#slots.get(settings.slot);
    if (known === undefined) {
      const slot = { settings, peer: undefined, endpoint: undefined, lastHandshakeMs: 0 };
      this.#slots.set(settings.slot, slot);
      this.#paths.clearTraffic(settings.slot);
      this.#sources.forget(settings.slot);
      this.#start(settings.slot, slot);
      return;
    }
    known.settings = settings;
    known.peer?.usePresharedKeys(onePresharedKey(settings.presharedKey));
    known.peer?.setPersistentKeepalive(settings.persistentKeepaliveMs);
  }

  #start(number: number, slot: Slot): void {
    if (this.#device === undefined || !this.#isUp || slot.peer !== undefined) return;
    const peer = this.#device.addPeer({ ...slot.settings, endpoint: slot.endpoint });
    slot.peer = peer;
    this.#slotOf.set(peer, number);
    this.#paths.set(number, peer);
  }

  #stop(number: number, slot: Slot): void {
    const { peer } = slot;
    if (peer === undefined) return;
    slot.endpoint = peer.endpoint;
    slot.peer = undefined;
    this.#device?.removePeer(peer.publicKey);
    this.#slotOf.delete(peer);
    this.#paths.set(number, undefined);
  }

  #remove(number: number, slot: Slot): void {
    this.#stop(number, slot);
    this.#slots.delete(number);
  }

  /** Whoever configures the device says where a peer is. */
  #move(number: number, endpoint: Uint8Array): void {
    const slot = this.#slots.get(number);
    if (slot === undefined) return;
    this.#sources.forget(number);
    slot.endpoint = endpoint;
    if (slot.peer === undefined) this.#moved(number, endpoint);
    else slot.peer.moveTo(endpoint);
  }

  #moved(number: number, endpoint: Uint8Array): void {
    const { words, port, scope } = endpointParts(endpoint);
    const { family } = this.#parts.socket;
    if (family === 4 && words.length === 4) return;
    this.#vteps.move(number, family === 6 ? mappedWords(words) : words, port, scope);
    this.#sources.setFamily(number, words.length === 1);
  }

  #reserve(peers: readonly PeerSettings[]): void {
    const count = peers.reduce((most, { slot }) => Math.max(most, slot + 1), this.#slotCount);
    if (count === this.#slotCount) return;
    this.#slotCount = count;
    this.#sources.reserve(count);
    this.#paths.reserve(count);
    // Before any of them moves.
    this.#load(this.#fdbSnapshot);
  }

  /** `fdb` and the table of peers; addresses are the peers' own. */
  #load(fdb: FdbSnapshot): void {
    this.#fdbSnapshot = fdb;
    const vteps = new Int32Array(this.#slotCount * VTEP_WORDS);
    for (let slot = 0; slot < this.#slotCount; slot++) {
      vteps[slot * VTEP_WORDS + VTEP.port] = NO_PORT;
      vteps[slot * VTEP_WORDS + VTEP.mtu] = ANY_MTU;
    }
    this.#fdb.load(fdb);
    this.#vteps.load({ vteps, fdb, ownIpv4: undefined, ownIpv6: undefined, probeIdentifier: 0 });
    for (const [number, slot] of this.#slots) {
      const endpoint = slot.peer?.endpoint ?? slot.endpoint;
      if (endpoint !== undefined) this.#moved(number, endpoint);
    }
  }

  #tellEndpoints(): void {
    const known = [...this.#slots.values()].map(({ peer }) => peer?.endpoint);
    this.#device?.setKnownEndpoints(known.filter((endpoint) => endpoint !== undefined));
  }
}

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}
