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
  send(datagram: Buffer, to: Uint8Array): void;
  /** A handshake could not begin, such as where its timestamp could not be written ahead. It is tried again. */
  failed(error: unknown): void;
  /** Of a handshake; other than random ones in tests. */
  readonly makeKeyPair?: (() => KeyPair) | undefined;
  readonly random?: (() => number) | undefined;
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

  constructor(environment: PeerEnvironment, options: PeerOptions) {
    const { publicKey, presharedKey, endpoint, persistentKeepaliveMs = 0 } = options;
    const { own, clock, indexes, ciphers, makeKeyPair, random } = environment;
    this.publicKey = Buffer.from(publicKey);
    this.#environment = environment;
    this.#endpoint = endpoint;
    this.#stamper = new MacStamper(this.publicKey);
    this.#handshake = new Handshake({
      own,
      publicKey: this.publicKey,
      presharedKey,
      stamper: this.#stamper,
      makeKeyPair,
    });
    this.#sessions = new Sessions((session) => {
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
    this.#dropped += this.#waiting.add(packet);
    this.#initiate(false);
  }

  /** An initiation that names this peer; `from` is where it came from. */
  initiationReceived(datagram: Buffer, claimed: ClaimedInitiation, from: Uint8Array) {
    const { indexes } = this.#environment;
    const localIndex = indexes.add({ peer: this, session: undefined });
    const result = this.#handshake.respond(datagram, claimed, localIndex, this.#nowMs);
    if (typeof result === 'string') {
      indexes.delete(localIndex);
      return result;
    }
    this.#endpoint = from;
    this.#timers.authenticatedReceived();
    this.#addSession(result.agreement, false);
    this.#timers.authenticatedSent();
    this.#environment.send(result.datagram, from);
    return 'accepted' as const;
  }

  responseReceived(datagram: Buffer, from: Uint8Array): 'accepted' | 'bad-seal' {
    const agreement = this.#handshake.complete(datagram);
    if (agreement === undefined) return 'bad-seal';
    this.#endpoint = from;
    this.#timers.authenticatedReceived();
    this.#addSession(agreement, true);
    this.#timers.handshakeEnded();
    // The peer sends nothing before it has heard from us under the new keys.
    if (this.#sendWaiting() === 0) this.#sendNow(EMPTY);
    return 'accepted';
  }

  cookieReceived(reply: Buffer): 'accepted' | 'bad-seal' {
    return this.#stamper.takeCookie(reply, this.#nowMs) ? 'accepted' : 'bad-seal';
  }

  /** Something opened with `session`: a packet, or an empty one. */
  opened(session: Session, isData: boolean, from: Uint8Array): void {
    this.#endpoint = from;
    if (this.#sessions.confirm(session)) {
      this.#timers.handshakeEnded();
      this.#sendWaiting();
    }
    this.#timers.authenticatedReceived();
    if (isData) this.#timers.dataReceived();
    if (this.#askedByReceiving !== session && session.wantsRekeyAfterReceive(this.#nowMs)) {
      this.#askedByReceiving = session;
      this.#initiate(false);
    }
  }

  /** Ends what there is with the peer. */
  close(): void {
    this.#timers.close();
    this.#forget();
    this.#dropped += this.#waiting.take().length;
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
    const datagram = this.#initiation(nowMs);
    if (datagram === undefined) return;
    this.#timers.authenticatedSent();
    this.#environment.send(datagram, this.#endpoint);
  }

  /** Undefined: there can be none now. */
  #initiation(nowMs: number): Buffer | undefined {
    const { indexes, timestamps, failed } = this.#environment;
    const localIndex = indexes.add({ peer: this, session: undefined });
    let datagram: Buffer | undefined;
    try {
      datagram = this.#handshake.initiate(localIndex, timestamps.next(), nowMs);
    } catch (error) {
      failed(error);
    }
    if (datagram === undefined) indexes.delete(localIndex);
    return datagram;
  }

  #addSession(agreement: Agreement, isInitiator: boolean): void {
    const session = new Session(agreement, isInitiator, this.#nowMs);
    this.#environment.indexes.replace(agreement.localIndex, { peer: this, session });
    this.#sessions.add(session);
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
      this.#dropped++;
      return;
    }
    this.#timers.authenticatedSent();
    if (packet.length > 0) this.#timers.dataSent();
    this.#environment.send(datagram, this.#endpoint);
    if (session.wantsRekeyAfterSend(nowMs)) this.#initiate(false);
  }

  #sendWaiting(): number {
    const packets = this.#waiting.take();
    for (const packet of packets) this.#sendNow(packet);
    return packets.length;
  }

  #giveUp(): void {
    this.#giveUpHandshake();
    this.#dropped += this.#waiting.take().length;
  }

  #giveUpHandshake(): void {
    const index = this.#handshake.pendingIndex;
    if (index !== undefined) this.#environment.indexes.delete(index);
    this.#handshake.giveUp();
  }

  #forget(): void {
    this.#giveUpHandshake();
    this.#sessions.endAll();
  }
}
