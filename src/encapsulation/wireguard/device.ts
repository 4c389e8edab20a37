/**
 * WireGuard at one node, as a machine: datagrams and inner packets go in, both come out of `send` and `deliver`. Whoever
 * drives it owns the socket, and the clock. Whatever comes from the network, nothing here throws, and what is refused is
 * named and changes nothing.
 */
import type { Clock } from '../../clock.ts';
import { HandshakeAdmission } from './admission.ts';
import type { AeadEngine } from './aead.ts';
import { MESSAGE } from './data-message.ts';
import { claimedInitiation, type InitiationRefusal } from './handshake.ts';
import { type IndexSource, IndexTable } from './index-table.ts';
import { MacChecker } from './macs.ts';
import { messageType, receiverIndex, responseReceiver } from './messages.ts';
import { type Named, Peer, type PeerEnvironment, type PeerOptions, type SessionUsers } from './peer.ts';
import { type OpenRefusal, SessionCiphers } from './session-ciphers.ts';
import type { Timestamps } from './tai64n.ts';
import type { KeyPair } from './x25519.ts';

export interface DeviceOptions {
  readonly own: KeyPair;
  readonly clock: Clock;
  readonly timestamps: Timestamps;
  readonly engine: AeadEngine;
  /** Of inner packets. */
  readonly mtu: number;
  /** `to`: address and port, as bytes; `peer`: whom it is for, undefined where that is not known yet. */
  send(datagram: Buffer, to: Uint8Array, peer: Peer | undefined): void;
  /** An inner packet from `peer`. Nothing is known of it but its sender; zeros may follow it. */
  deliver(packet: Buffer, peer: Peer): void;
  /** A handshake could not begin, such as where its timestamp could not be written ahead. It is tried again. */
  failed(error: unknown): void;
  /** Of handshakes; other than random ones in tests. */
  readonly makeKeyPair?: (() => KeyPair) | undefined;
  /** From 0 to below 1; other than Math.random in tests. */
  readonly random?: (() => number) | undefined;
  /** Whoever else seals and opens with the sessions of its peers. */
  readonly users?: SessionUsers | undefined;
  /** Of local indexes that lead to where a peer's datagrams are opened. */
  readonly indexes?: IndexSource<Named> | undefined;
}

const PORT_BYTES = 2;

/** What became of a datagram. */
export type Received =
  | 'accepted'
  | 'malformed'
  | 'bad-mac1'
  | 'cookie-sent'
  | 'rate-limited'
  | 'unanswered'
  | 'unknown-peer'
  | 'unknown-index'
  | InitiationRefusal
  | OpenRefusal;

export class Device {
  readonly #options: DeviceOptions;
  readonly #environment: PeerEnvironment;
  readonly #indexes: IndexTable<Named>;
  readonly #ciphers: SessionCiphers;
  readonly #admission: HandshakeAdmission;
  /** By public key; as many as whoever owns the device adds. */
  readonly #peers = new Map<string, Peer>();
  /** Without ports; bounded like the peers. */
  #addresses: ReadonlySet<string> = new Set();

  constructor(options: DeviceOptions) {
    const { own, clock, timestamps, engine, mtu, makeKeyPair, random, users, indexes } = options;
    this.#options = options;
    this.#indexes = new IndexTable(indexes);
    this.#ciphers = new SessionCiphers(engine, mtu);
    this.#admission = new HandshakeAdmission(new MacChecker(own.publicKey));
    this.#environment = {
      own,
      clock,
      timestamps,
      indexes: this.#indexes,
      ciphers: this.#ciphers,
      send: (datagram, to, peer) => options.send(datagram, to, peer),
      failed: (error) => options.failed(error),
      makeKeyPair,
      random,
      users,
    };
  }

  /** One with the same key takes the place of the one before. */
  addPeer(options: PeerOptions): Peer {
    this.removePeer(options.publicKey);
    const peer = new Peer(this.#environment, options);
    this.#peers.set(nameOf(options.publicKey), peer);
    return peer;
  }

  removePeer(publicKey: Uint8Array): void {
    const name = nameOf(publicKey);
    this.#peers.get(name)?.close();
    this.#peers.delete(name);
  }

  /** How many receiver indexes are in use, and how many sessions have keys in the engine. */
  get held(): { readonly indexes: number; readonly ciphers: number } {
    return { indexes: this.#indexes.size, ciphers: this.#ciphers.size };
  }

  /** Where peers are expected to be: addresses and ports, as bytes. */
  setKnownEndpoints(endpoints: Iterable<Uint8Array>): void {
    this.#addresses = new Set([...endpoints].map(addressOf));
  }

  /** Inner packets may be as long as that from now on. */
  setMtu(mtu: number): void {
    this.#ciphers.mtu = mtu;
  }

  /** What a local index names. */
  named(localIndex: number): Named | undefined {
    return this.#indexes.get(localIndex);
  }

  /** `from`: address and port, as bytes; kept, so not to be changed later. */
  receive(datagram: Buffer, from: Uint8Array): Received {
    switch (messageType(datagram)) {
      case MESSAGE.initiation:
        return this.#admit(datagram, from) ?? this.#initiation(datagram, from);
      case MESSAGE.response:
        return this.#admit(datagram, from) ?? this.#response(datagram, from);
      case MESSAGE.cookieReply: {
        const named = this.#indexes.get(receiverIndex(datagram));
        return named === undefined ? 'unknown-index' : named.peer.cookieReceived(datagram);
      }
      case MESSAGE.data:
        return this.#data(datagram, from);
      case undefined:
        return 'malformed';
    }
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }

  /** Undefined: it is worth its key agreements. */
  #admit(datagram: Buffer, from: Uint8Array): Received | undefined {
    const nowMs = this.#options.clock.now();
    const admission = this.#admission.admit(datagram, from, nowMs, () => this.#isPeerAt(from));
    if (admission === 'admitted') return undefined;
    if (typeof admission === 'string') return admission;
    this.#options.send(admission.reply, from, undefined);
    return 'cookie-sent';
  }

  #isPeerAt(from: Uint8Array): boolean {
    return this.#addresses.has(addressOf(from));
  }

  #initiation(datagram: Buffer, from: Uint8Array): Received {
    const claimed = claimedInitiation(this.#options.own, datagram);
    if (claimed === undefined) return 'bad-seal';
    const peer = this.#peers.get(nameOf(claimed.initiator));
    if (peer !== undefined) return peer.initiationReceived(datagram, claimed, from);
    claimed.transcript.wipe();
    return 'unknown-peer';
  }

  #response(datagram: Buffer, from: Uint8Array): Received {
    const named = this.#indexes.get(responseReceiver(datagram));
    return named === undefined ? 'unknown-index' : named.peer.responseReceived(datagram, from);
  }

  #data(datagram: Buffer, from: Uint8Array): Received {
    const named = this.#indexes.get(receiverIndex(datagram));
    if (named?.session === undefined) return 'unknown-index';
    const packet = this.#ciphers.open(named.session, datagram, this.#options.clock.now());
    if (typeof packet === 'string') return packet;
    named.peer.opened(named.session, packet.length > 0, from);
    if (packet.length > 0) this.#options.deliver(packet, named.peer);
    return 'accepted';
  }
}

function addressOf(endpoint: Uint8Array): string {
  return nameOf(endpoint.subarray(0, endpoint.length - PORT_BYTES));
}

function nameOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey.buffer, publicKey.byteOffset, publicKey.byteLength).toString('latin1');
}
