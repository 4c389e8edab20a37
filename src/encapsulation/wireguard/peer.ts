/**
 * One peer: its handshakes, sessions and timers put together. A packet leaves with the current session, or waits for one;
 * what comes is told to the timers; the peer's address is that of the last datagram that was surely its own (roaming).
 */
import type { Clock } from '../../clock.ts';
import { REKEY_TIMEOUT_MS } from './constants.ts';
import { type Agreement, Handshake } from './handshake.ts';
import type { IndexTable } from './index-table.ts';
import { MacStamper } from './macs.ts';
import type { ClaimedInitiation } from './noise.ts';
import { Nonces } from './nonces.ts';
import { onePresharedKey, type PresharedKeys } from './preshared-keys.ts';
import { Session } from './session.ts';
import type { SessionCiphers } from './session-ciphers.ts';
import { Sessions } from './sessions.ts';
import type { Timestamps } from './tai64n.ts';
import { PeerTimers } from './timers.ts';
import { WaitingPackets } from './waiting-packets.ts';
import type { KeyPair } from './x25519.ts';

export interface PeerOptions {
  readonly publicKey: Uint8Array;
  readonly presharedKey?: Uint8Array | undefined;
  /** In its place, where the two agree on keys while they run. */
  readonly presharedKeys?: PresharedKeys | undefined;
  /** Address and port, as bytes; undefined: nothing can be sent before the peer was heard from. */
  readonly endpoint?: Uint8Array | undefined;
  /** 0, the default: none. */
  readonly persistentKeepaliveMs?: number | undefined;
}

/** What all peers of a node have in common. */
export interface PeerEnvironment {
  readonly own: KeyPair;
  readonly clock: Clock;
  readonly timestamps: Timestamps;
  readonly indexes: IndexTable<Named>;
  readonly ciphers: SessionCiphers;
  /** `peer`: whom it is for. */
  send(datagram: Buffer, to: Uint8Array, peer: Peer): void;
  /** A handshake could not begin, such as where its timestamp could not be written ahead. It is tried again. */
  failed(error: unknown): void;
  /** Of a handshake; other than random ones in tests. */
  readonly makeKeyPair?: (() => KeyPair) | undefined;
  readonly random?: (() => number) | undefined;
  /** Whoever else seals and opens with the sessions. */
  readonly users?: SessionUsers | undefined;
}

/** What others have to know who seal and open with a peer's sessions too: a packet path. */
export interface SessionUsers {
  /** The counters of a session that is about to be made. */
  nonces(localIndex: number): Nonces;
  /** From now on something may come that is sealed for it. */
  added(peer: Peer, session: Session): void;
  /** What the peer is sent, is sealed with it from now on; undefined: it is sent nothing. */
  sendWith(peer: Peer, session: Session | undefined): void;
  ended(session: Session): void;
  /** The peer was heard from another address. */
  moved(peer: Peer, endpoint: Uint8Array): void;
  /** Both sides have the keys of a new session. */
  agreed(peer: Peer): void;
  /** For so long after its last initiation a handshake that this side began has ended well. */
  tookMs?(durationMs: number): void;
  /** A packet that is not empty has left, of those that `send` was given. */
  sent(peer: Peer, packetBytes: number): void;
  /** So many of them never will. */
  dropped(count: number): void;
  /** A message of a handshake, `bytes` long, was surely the peer's. */
  handshakeReceived?(peer: Peer, bytes: number): void;
  /** A handshake is wanted, and there is no pre-shared key for it (`usePresharedKeys`). */
  presharedKeyWanted?(peer: Peer): void;
}

/** What a receiver index names: a session, or a handshake of the peer that is under way. */
export interface Named {
  readonly peer: Peer;
  readonly session: Session | undefined;
}

const EMPTY = Buffer.alloc(0);

export class Peer {
  readonly publicKey: Buffer;
  readonly #environment: PeerEnvironment;
  readonly #stamper: MacStamper;
  readonly #handshake: Handshake;
  readonly #sessions: Sessions;
  readonly #timers: PeerTimers;
  readonly #waiting = new WaitingPackets();
  #endpoint: Uint8Array | undefined;
  #initiatedAtMs = Number.NEGATIVE_INFINITY;
  /** The session that only receives has asked for another one. */
  #askedByReceiving: Session | undefined;
  #dropped = 0;
  /** What `users` know to be sent with. */
  #sendingWith: Session | undefined;
  /** A handshake waits for a pre-shared key. */
  #isHeldUp = false;

  constructor(environment: PeerEnvironment, options: PeerOptions) {
    const { publicKey, presharedKey, presharedKeys, endpoint, persistentKeepaliveMs = 0 } = options;
    const { own, clock, indexes, ciphers, makeKeyPair, random } = environment;
    this.publicKey = Buffer.from(publicKey);
    this.#environment = environment;
    this.#endpoint = endpoint;
    this.#stamper = new MacStamper(this.publicKey);
    this.#handshake = new Handshake({
      own,
      publicKey: this.publicKey,
      presharedKeys: presharedKeys ?? onePresharedKey(presharedKey),
      stamper: this.#stamper,
      makeKeyPair,
    });
    this.#sessions = new Sessions((session) => {
      environment.users?.ended(session);
      indexes.delete(session.localIndex);
      ciphers.end(session);
    });
    const actions = {
      initiate: (isRetry: boolean) => this.#initiate(isRetry),
      sendKeepalive: () => this.#sendNow(EMPTY),
      giveUp: () => this.#giveUp(),
      forget: () => this.#forget(),
    };
    this.#timers = new PeerTimers(clock, actions, { persistentKeepaliveMs, random });
  }

  get endpoint(): Uint8Array | undefined {
    return this.#endpoint;
  }

  get session(): Session | undefined {
    return this.#sessions.current;
  }

  /** Packets that waited for a handshake in vain. */
  get dropped(): number {
    return this.#dropped;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Sends an inner packet, now or after a handshake. */
  send(packet: Uint8Array): void {
    if (this.#sessions.current?.maySend(this.#nowMs) === true) {
      this.#sendNow(packet);
      return;
    }
    this.#drop(this.#waiting.add(packet));
    this.#initiate(false);
  }

  /** A sign of life, now or as the end of a handshake. */
  sendKeepalive(): void {
    this.#sendNow(EMPTY);
  }

  /** 0: none. */
  setPersistentKeepalive(ms: number): void {
    this.#timers.setPersistentKeepalive(ms);
  }

  /** Something opened, elsewhere, with a session that nothing had opened with before. */
  confirmed(session: Session): void {
    this.#confirm(session);
  }

  /** Packets that are not empty were sealed elsewhere, up to now. */
  sentElsewhere(): void {
    const session = this.#sessions.current;
    this.#timers.authenticatedSent();
    this.#timers.dataSent();
    if (session?.wantsRekeyAfterSend(this.#nowMs) === true) this.#initiate(false);
  }

  /** Something was opened elsewhere, up to now; `isData`: it was not all empty. */
  receivedElsewhere(isData: boolean): void {
    this.#received(this.#sessions.current, isData);
  }

  /** The peer was started anew, and cannot open what is sealed with the keys of before. */
  renew(): void {
    if (this.#sessions.current === undefined) return;
    // Also right after one that it has forgotten.
    this.#initiatedAtMs = Number.NEGATIVE_INFINITY;
    this.#initiate(false);
  }

  /** Packets still wait for an answer to the last initiation, and the peer may not have been able to answer. */
  hurry(): void {
    if (this.#sessions.current !== undefined || this.#waiting.size === 0) return;
    this.#initiatedAtMs = Number.NEGATIVE_INFINITY;
    this.#initiate(false);
  }

  /** In handshakes from now on; the sessions that there are go on. */
  usePresharedKeys(presharedKeys: PresharedKeys): void {
    this.#handshake.presharedKeys = presharedKeys;
    if (!this.#isHeldUp || presharedKeys.accept.length === 0) return;
    this.#isHeldUp = false;
    this.#initiatedAtMs = Number.NEGATIVE_INFINITY;
    this.#initiate(false);
  }

  /** The peer is at another address: it says so itself, or something that is surely its own came from there. */
  moveTo(endpoint: Uint8Array): void {
    if (this.#endpoint !== undefined && Buffer.compare(this.#endpoint, endpoint) === 0) return;
    this.#endpoint = endpoint;
    this.#environment.users?.moved(this, endpoint);
  }

  /** An initiation that names this peer; `from` is where it came from. */
  initiationReceived(datagram: Buffer, claimed: ClaimedInitiation, from: Uint8Array) {
    const { indexes } = this.#environment;
    const localIndex = indexes.add({ peer: this, session: undefined });
    const result = this.#handshake.respond(datagram, claimed, localIndex, this.#nowMs);
    if (typeof result === 'string') {
      indexes.delete(localIndex);
      if (result === 'no-preshared-key') this.#environment.users?.presharedKeyWanted?.(this);
      return result;
    }
    this.#isHeldUp = false;
    this.moveTo(from);
    this.#environment.users?.handshakeReceived?.(this, datagram.length);
    this.#timers.authenticatedReceived();
    this.#addSession(result.agreement, false);
    this.#timers.authenticatedSent();
    this.#environment.send(result.datagram, from, this);
    return 'accepted' as const;
  }

  responseReceived(datagram: Buffer, from: Uint8Array): 'accepted' | 'bad-seal' {
    const agreement = this.#handshake.complete(datagram);
    if (agreement === undefined) return 'bad-seal';
    this.moveTo(from);
    this.#environment.users?.handshakeReceived?.(this, datagram.length);
    this.#timers.authenticatedReceived();
    this.#addSession(agreement, true);
    this.#environment.users?.tookMs?.(this.#nowMs - this.#initiatedAtMs);
    this.#handshakeEnded();
    // The peer sends nothing before it has heard from us under the new keys.
    if (this.#sendWaiting() === 0) this.#sendNow(EMPTY);
    return 'accepted';
  }

  cookieReceived(reply: Buffer): 'accepted' | 'bad-seal' {
    return this.#stamper.takeCookie(reply, this.#nowMs) ? 'accepted' : 'bad-seal';
  }

  /** Something opened with `session`: a packet, or an empty one. */
  opened(session: Session, isData: boolean, from: Uint8Array): void {
    this.moveTo(from);
    this.#confirm(session);
    this.#received(session, isData);
  }

  /** Ends what there is with the peer. */
  close(): void {
    this.#timers.close();
    this.#forget();
    this.#drop(this.#waiting.take().length);
  }

  #confirm(session: Session): void {
    if (!this.#sessions.confirm(session)) return;
    this.#publish();
    this.#handshakeEnded();
    this.#sendWaiting();
  }

  #received(session: Session | undefined, isData: boolean): void {
    this.#timers.authenticatedReceived();
    if (isData) this.#timers.dataReceived();
    if (session === undefined || this.#askedByReceiving === session) return;
    if (!session.wantsRekeyAfterReceive(this.#nowMs)) return;
    this.#askedByReceiving = session;
    this.#initiate(false);
  }

  #handshakeEnded(): void {
    this.#timers.handshakeEnded();
    this.#environment.users?.agreed(this);
  }

  #publish(): void {
    const { current } = this.#sessions;
    if (current === this.#sendingWith) return;
    this.#sendingWith = current;
    this.#environment.users?.sendWith(this, current);
  }

  #drop(count: number): void {
    this.#dropped += count;
    if (count > 0) this.#environment.users?.dropped(count);
  }

  get #nowMs(): number {
    return this.#environment.clock.now();
  }

  #initiate(isRetry: boolean): void {
    const nowMs = this.#nowMs;
    if (this.#endpoint === undefined) return;
    if (!isRetry && nowMs - this.#initiatedAtMs < REKEY_TIMEOUT_MS) return;
    this.#giveUpHandshake();
    this.#initiatedAtMs = nowMs;
    this.#timers.initiationSent(isRetry);
    this.#isHeldUp = this.#handshake.presharedKeys.accept.length === 0;
    if (this.#isHeldUp) {
      this.#environment.users?.presharedKeyWanted?.(this);
      return;
    }
    const datagram = this.#initiation(nowMs);
    if (datagram === undefined) return;
    this.#timers.authenticatedSent();
    this.#environment.send(datagram, this.#endpoint, this);
  }

  /** Undefined: there can be none now. */
  #initiation(nowMs: number): Buffer | undefined {
    const { indexes, timestamps, failed } = this.#environment;
    let localIndex: number | undefined;
    let datagram: Buffer | undefined;
    try {
      localIndex = indexes.add({ peer: this, session: undefined });
      datagram = this.#handshake.initiate(localIndex, timestamps.next(), nowMs);
    } catch (error) {
      failed(error);
    }
    if (datagram === undefined && localIndex !== undefined) indexes.delete(localIndex);
    return datagram;
  }

  #addSession(agreement: Agreement, isInitiator: boolean): void {
    const { indexes, users } = this.#environment;
    const nonces = users?.nonces(agreement.localIndex) ?? new Nonces();
    const session = new Session(agreement, isInitiator, this.#nowMs, nonces);
    indexes.replace(agreement.localIndex, { peer: this, session });
    users?.added(this, session);
    this.#sessions.add(session);
    this.#publish();
    this.#timers.keysDerived();
  }

  /** With the current session; what has none, or cannot leave, is dropped and counted. */
  #sendNow(packet: Uint8Array): void {
    const nowMs = this.#nowMs;
    const session = this.#sessions.current;
    if (this.#endpoint === undefined || session === undefined || !session.maySend(nowMs)) {
      this.#initiate(false);
      return;
    }
    const datagram = this.#environment.ciphers.seal(session, packet);
    if (datagram === undefined) {
      this.#drop(1);
      return;
    }
    this.#timers.authenticatedSent();
    if (packet.length > 0) {
      this.#timers.dataSent();
      this.#environment.users?.sent(this, packet.length);
    }
    this.#environment.send(datagram, this.#endpoint, this);
    if (session.wantsRekeyAfterSend(nowMs)) this.#initiate(false);
  }

  #sendWaiting(): number {
    const packets = this.#waiting.take();
    for (const packet of packets) this.#sendNow(packet);
    return packets.length;
  }

  #giveUp(): void {
    this.#isHeldUp = false;
    this.#giveUpHandshake();
    this.#drop(this.#waiting.take().length);
  }

  #giveUpHandshake(): void {
    const index = this.#handshake.pendingIndex;
    if (index !== undefined) this.#environment.indexes.delete(index);
    this.#handshake.giveUp();
  }

  #forget(): void {
    this.#giveUpHandshake();
    this.#sessions.endAll();
    this.#publish();
  }
}
