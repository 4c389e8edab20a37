/**
 * Handshakes, sessions and timers of all peers, for packet paths that seal and open on threads of their own: what Device does,
 * with the sessions in memory that is shared with those threads, and with what they have done brought to the timers.
 *
 * It is driven from outside: `receive` for datagrams of types 1 to 3, `take` for what packet paths tell. Whatever comes in,
 * nothing here throws.
 */
import { type Clock, TimerGroup } from '../../clock.ts';
import type { WorkerCounters } from '../../datapath/counters.ts';
import { DROP } from '../../datapath/drops.ts';
import type { AeadEngine } from './aead.ts';
import { MESSAGE } from './data-message.ts';
import { Device, type Received } from './device.ts';
import { messageType } from './messages.ts';
import type { Notice } from './notices.ts';
import type { Peer, SessionUsers } from './peer.ts';
import { NO_KEYS_YET, NO_PRESHARED_KEY, type PresharedKeys } from './preshared-keys.ts';
import type { SharedSessions } from './shared-sessions.ts';
import type { Timestamps } from './tai64n.ts';
import type { KeyPair } from './x25519.ts';

/** How often the timers are told what packet paths have done: they count in seconds. */
const LOOK_EVERY_MS = 1_000;
/**
 * When an agent is asked again whose packets wait. One that has just come up, or does not know this node yet, answers nothing,
 * and the next try of the paper's is after five seconds. An implementation takes 50 initiations a second.
 */
const HURRIES_MS = [250, 1_000, 2_500];
/** How often a peer that was started anew is asked for keys, before it is left to its timers. */
const RENEWALS = 60;
const RENEW_EVERY_MS = 500;
const PORT_BYTES = 2;
const SIGN_OF_LIFE = Buffer.alloc(0);

/** What this node and an agent have agreed on, for as long as that agent runs. */
export interface PairKeys extends PresharedKeys {
  /** Of that agent; see KeyedPeer. */
  readonly run: string;
}

/** A peer as the forwarding state has it. */
export interface KeyedPeer {
  /** Its number there. */
  readonly vtep: number;
  /** Of X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes that both have. */
  readonly presharedKey?: Uint8Array | undefined;
  /** There is no session with it but by keys that the two agree on; those that there are by now. */
  readonly needsPairKey?: boolean | undefined;
  readonly pairKeys?: PairKeys | undefined;
  readonly persistentKeepaliveMs?: number | undefined;
  /** Where it says that it is: address and port, as bytes; undefined: it has to be heard from first. */
  readonly endpoint?: Uint8Array | undefined;
  /** Another one after it has forgotten all sessions; undefined where nobody says. */
  readonly run?: string | undefined;
  /** It does not hear that all sessions are forgotten here: it is asked for keys as soon as it is known. */
  readonly isGreeted?: boolean | undefined;
}

export interface KeyExchangeOptions {
  readonly own: KeyPair;
  /** Its `now` is the time of `shared`. */
  readonly clock: Clock;
  readonly timestamps: Timestamps;
  readonly engine: AeadEngine;
  readonly shared: SharedSessions;
  /** Packet path threads. */
  readonly workers: number;
  readonly counters: WorkerCounters;
  send(datagram: Buffer, to: Uint8Array): void;
  /** A handshake could not begin. It is tried again. */
  failed(error: unknown): void;
  /** A session with a peer is wanted that needs pair keys, and has none; told again while that is so. */
  pairKeyWanted?(vtep: number): void;
  readonly makeKeyPair?: (() => KeyPair) | undefined;
  readonly random?: (() => number) | undefined;
}

interface Entry {
  readonly vtep: number;
  readonly serial: number;
  readonly peer: Peer;
  /** As it was told last. */
  known: KeyedPeer;
  /** What of the packet paths' activity the timers know. */
  dataSentMs: number;
  receivedMs: number;
  dataReceivedMs: number;
  /** Initiations beside those of the paper are on their way. */
  isHurried: boolean;
}

export class KeyExchange {
  readonly #options: KeyExchangeOptions;
  readonly #shared: SharedSessions;
  readonly #device: Device;
  readonly #timers: TimerGroup;
  readonly #entries = new Map<number, Entry>();
  readonly #vteps = new Map<Peer, number>();
  readonly #slots = new Set<number>();
  #isLooking = false;

  constructor(options: KeyExchangeOptions) {
    this.#options = options;
    this.#shared = options.shared;
    this.#timers = new TimerGroup(options.clock);
    this.#device = new Device({
      ...options,
      mtu: 0,
      deliver: () => {},
      users: this.#users,
      indexes: {
        propose: ({ peer }) => this.#propose(peer),
        release: (index) => this.#slots.delete(this.#shared.slotOf(index)),
      },
    });
  }

  /** These are the peers from now on, and the MTU. To be called before packet paths work by them. */
  update(peers: readonly KeyedPeer[], mtu: number): void {
    this.#device.setMtu(mtu);
    this.#device.setKnownEndpoints(peers.flatMap(({ endpoint }) => endpoint ?? []));
    const wanted = new Map(peers.map((peer) => [peer.vtep, peer]));
    for (const [vtep, { known }] of this.#entries) {
      if (!isSamePeer(wanted.get(vtep), known)) this.#remove(vtep);
    }
    for (const peer of peers) {
      const known = this.#entries.get(peer.vtep);
      if (known === undefined) this.#add(peer);
      else this.#changed(known, peer);
    }
  }

  /** A peer has other pair keys than before; undefined: none any more. */
  setPairKeys(vtep: number, keys: PairKeys | undefined): void {
    const entry = this.#entries.get(vtep);
    if (entry?.known.needsPairKey === true) this.#guarded(() => this.#usePairKeys(entry, keys));
  }

  /** A datagram that is no data; `from`, address and port as bytes, is kept. */
  receive(datagram: Buffer, from: Uint8Array): void {
    // The window of what came already is a packet path's.
    if (messageType(datagram) === MESSAGE.data) this.#options.counters.drop(DROP.inboundNoSession);
    else this.#guarded(() => this.#count(this.#device.receive(datagram, from)));
  }

  take(notice: Notice): void {
    this.#guarded(() => {
      switch (notice.kind) {
        case 'waiting': {
          const entry = this.#entries.get(notice.vtep);
          if (entry?.serial === notice.serial) this.#send(entry, notice.packet);
          else this.#options.counters.drop(DROP.outboundNoSession);
          return;
        }
        case 'confirmed': {
          const named = this.#device.named(notice.localIndex);
          if (named?.session !== undefined) named.peer.confirmed(named.session);
          return;
        }
        case 'roamed':
          this.#device.named(notice.localIndex)?.peer.moveTo(notice.from);
          return;
        case 'handshake':
          this.receive(notice.datagram, notice.from);
      }
    });
  }

  /** How many receiver indexes are in use. */
  get indexes(): number {
    return this.#device.held.indexes;
  }

  close(): void {
    this.#timers.close();
    for (const vtep of [...this.#entries.keys()]) this.#remove(vtep);
    this.#device.close();
  }

  readonly #users: SessionUsers = {
    nonces: (localIndex) => this.#shared.nonces(localIndex),
    added: (peer, session) => {
      this.#shared.add(session, this.#vteps.get(peer)!);
      this.#lookLater();
    },
    sendWith: (peer, session) => this.#shared.sendWith(this.#vteps.get(peer)!, session?.localIndex ?? 0),
    ended: ({ localIndex }) => this.#shared.remove(localIndex),
    moved: (peer, endpoint) => {
      const { words, port } = readEndpoint(endpoint);
      this.#shared.move(this.#vteps.get(peer)!, words, port);
    },
    agreed: (peer) => this.#shared.agreed(this.#vteps.get(peer)!, this.#options.clock.now()),
    tookMs: (durationMs) => this.#options.counters.handshakes.observe(durationMs / 1000),
    sent: (peer, packetBytes) => this.#options.counters.outbound(this.#vteps.get(peer)!, 1, packetBytes),
    presharedKeyWanted: (peer) => this.#options.pairKeyWanted?.(this.#vteps.get(peer)!),
    dropped: (count) => {
      for (let i = 0; i < count; i++) this.#options.counters.drop(DROP.outboundNoSession);
    },
  };

  #send(entry: Entry, packet: Buffer): void {
    entry.peer.send(packet);
    if (entry.known.run === undefined || entry.isHurried || entry.peer.waiting === 0) return;
    entry.isHurried = true;
    for (const afterMs of HURRIES_MS) {
      this.#timers.after(afterMs, () => {
        entry.isHurried = afterMs !== HURRIES_MS.at(-1);
        if (this.#entries.get(entry.vtep) === entry) entry.peer.hurry();
      });
    }
  }

  #changed(entry: Entry, peer: KeyedPeer): void {
    const { endpoint, run } = entry.known;
    entry.known = peer;
    if (peer.endpoint && !isSameEndpoint(endpoint, peer.endpoint)) entry.peer.moveTo(peer.endpoint);
    if (peer.needsPairKey) this.#usePairKeys(entry, peer.pairKeys);
    if (run !== peer.run) this.#renew(entry, this.#options.clock.now(), RENEWALS);
  }

  /** The peer may be heard of before it can answer. */
  #renew(entry: Entry, sinceMs: number, times: number): void {
    const { session } = entry.peer;
    if (session === undefined || session.createdAtMs > sinceMs) return;
    if (this.#entries.get(entry.vtep) !== entry || times === 0) return;
    entry.peer.renew();
    this.#timers.after(RENEW_EVERY_MS, () => this.#renew(entry, sinceMs, times - 1));
  }

  #add(known: KeyedPeer): void {
    const { vtep, publicKey, presharedKey, persistentKeepaliveMs, endpoint } = known;
    this.#shared.reassign(vtep);
    const presharedKeys = known.needsPairKey ? NO_KEYS_YET : undefined;
    const options = { publicKey, presharedKey, presharedKeys, persistentKeepaliveMs, endpoint };
    const peer = this.#device.addPeer(options);
    this.#vteps.set(peer, vtep);
    const none = { dataSentMs: 0, receivedMs: 0, dataReceivedMs: 0, isHurried: false };
    const entry = { vtep, serial: this.#shared.serial(vtep), peer, known, ...none };
    this.#entries.set(vtep, entry);
    if (known.needsPairKey) this.#usePairKeys(entry, known.pairKeys);
    if (known.isGreeted === true && endpoint !== undefined) peer.send(SIGN_OF_LIFE);
  }

  /** Keys with an earlier run of its agent, or with a later one that is yet to be heard of, are none; nor is one of zeros. */
  #usePairKeys({ peer, known }: Entry, keys: PairKeys | undefined): void {
    const isUsable = keys !== undefined && keys.run === known.run && keys.accept.every(isKey);
    peer.usePresharedKeys(isUsable && isKey(keys.respondWith) ? copyOf(keys) : NO_KEYS_YET);
  }

  #remove(vtep: number): void {
    const { peer } = this.#entries.get(vtep)!;
    this.#device.removePeer(peer.publicKey);
    this.#entries.delete(vtep);
    this.#vteps.delete(peer);
    this.#shared.reassign(vtep);
  }

  #propose(peer: Peer): number {
    const { workers } = this.#options;
    const worker = this.#vteps.get(peer)! % workers;
    const index = this.#shared.propose(worker, workers, (slot) => !this.#slots.has(slot));
    if (index < 0) throw new Error('there is no room for another session');
    this.#slots.add(this.#shared.slotOf(index));
    return index;
  }

  /** While there are sessions. */
  #lookLater(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    this.#timers.after(LOOK_EVERY_MS, () => {
      this.#isLooking = false;
      for (const entry of this.#entries.values()) if (entry.peer.session !== undefined) this.#look(entry);
      if (this.#slots.size > 0) this.#lookLater();
    });
  }

  /** Tells a peer's timers what packet paths have done since, in the order in which they have. */
  #look(entry: Entry): void {
    const { dataSentMs, receivedMs, dataReceivedMs } = this.#shared.activity(entry.vtep);
    const received = () => {
      if (receivedMs > entry.receivedMs) entry.peer.receivedElsewhere(dataReceivedMs > entry.dataReceivedMs);
    };
    if (receivedMs <= dataSentMs) received();
    if (dataSentMs > entry.dataSentMs) entry.peer.sentElsewhere();
    if (receivedMs > dataSentMs) received();
    Object.assign(entry, { dataSentMs, receivedMs, dataReceivedMs });
  }

  #count(received: Received): void {
    // An initiation for which there is no key yet was good, and comes again.
    if (received === 'accepted' || received === 'no-preshared-key') return;
    this.#options.counters.drop(
      received === 'malformed' ? DROP.inboundBadHeader : DROP.inboundHandshakeRefused,
    );
  }

  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.failed(error);
    }
  }
}

/** Zeros would be no pre-shared key at all, which a peer that needs one must never be left with. */
function isKey(key: Uint8Array | undefined): boolean {
  return key === undefined || Buffer.compare(key, NO_PRESHARED_KEY) !== 0;
}

/** Whoever they came from overwrites them when there are others. */
function copyOf({ respondWith, accept }: PresharedKeys): PresharedKeys {
  return {
    respondWith: respondWith && Buffer.from(respondWith),
    accept: accept.map((key) => Buffer.from(key)),
  };
}

/** Its sessions go on. */
function isSamePeer(a: KeyedPeer | undefined, b: KeyedPeer): boolean {
  const none = new Uint8Array(0);
  return (
    a !== undefined &&
    Buffer.compare(a.publicKey, b.publicKey) === 0 &&
    Buffer.compare(a.presharedKey ?? none, b.presharedKey ?? none) === 0 &&
    (a.needsPairKey ?? false) === (b.needsPairKey ?? false) &&
    a.persistentKeepaliveMs === b.persistentKeepaliveMs
  );
}

function isSameEndpoint(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}

function readEndpoint(endpoint: Uint8Array): { readonly words: readonly number[]; readonly port: number } {
  const bytes = Buffer.from(endpoint.buffer, endpoint.byteOffset, endpoint.byteLength);
  const words = Array.from({ length: (bytes.length - PORT_BYTES) / 4 }, (_, i) => bytes.readInt32BE(4 * i));
  return { words, port: bytes.readUInt16BE(bytes.length - PORT_BYTES) };
}
