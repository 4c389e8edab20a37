/**
 * The handshakes with one peer: messages in, messages and keys out. It sends nothing, waits for nothing and looks at no
 * clock; `nowMs` is any time that does not go back.
 *
 *   initiate    -> an initiation; the one before it, if any, is given up
 *   complete    a response to it -> keys
 *   respond     an initiation of the peer -> a response, and keys
 *
 * One of ours under way and one of the peer's do not disturb each other: when both begin at once, both end, and each side
 * has the keys of both (keypairs.ts says which are used). Whatever is refused changes nothing.
 */
import type { MacStamper } from './macs.ts';
import {
  initiation,
  initiationNoise,
  response,
  responseNoise,
  responseReceiver,
  senderIndex,
} from './messages.ts';
import {
  type ClaimedInitiation,
  type PendingInitiation,
  readInitiationPayload,
  readInitiator,
  readResponse,
  type SessionKeys,
  writeInitiation,
  writeResponse,
} from './noise.ts';
import type { PresharedKeys } from './preshared-keys.ts';
import { TIMESTAMP_BYTES } from './tai64n.ts';
import { generateKeyPair, type KeyPair } from './x25519.ts';

const PROLOGUE = Buffer.from('WireGuard v1 zx2c4 Jason@zx2c4.com');
const NO_PAYLOAD = Buffer.alloc(0);
/** Initiations of one peer that come faster are refused: what the peer sends is worth 50 a second at most. */
export const MIN_INITIATION_GAP_MS = 20;

export interface HandshakePeer {
  readonly own: KeyPair;
  readonly publicKey: Uint8Array;
  readonly presharedKeys: PresharedKeys;
  readonly stamper: MacStamper;
  /** Other than random ones in tests. */
  readonly makeKeyPair?: (() => KeyPair) | undefined;
}

/** What a handshake gives: keys, and the indexes under which both sides know them. */
export interface Agreement {
  readonly keys: SessionKeys;
  readonly localIndex: number;
  readonly remoteIndex: number;
}

export type InitiationRefusal = 'bad-seal' | 'replayed' | 'too-fast' | 'no-preshared-key';

/** An initiation that was read as far as who claims to have sent it; undefined: it was not sealed for this node. */
export function claimedInitiation(own: KeyPair, datagram: Buffer): ClaimedInitiation | undefined {
  return readInitiator(PROLOGUE, own, initiationNoise(datagram));
}

export class Handshake {
  readonly #peer: HandshakePeer;
  /** Others may take their place at any time, also while a handshake is under way. */
  presharedKeys: PresharedKeys;
  readonly #makeKeyPair: () => KeyPair;
  #pending: (PendingInitiation & { readonly localIndex: number }) | undefined;
  /** Of the peer's latest initiation that was accepted: only a later one is. */
  #latestTimestamp: Buffer = Buffer.alloc(TIMESTAMP_BYTES);
  #latestAtMs = Number.NEGATIVE_INFINITY;

  constructor(peer: HandshakePeer) {
    this.#peer = peer;
    this.presharedKeys = peer.presharedKeys;
    this.#makeKeyPair = peer.makeKeyPair ?? generateKeyPair;
  }

  /** The index of the initiation that waits for its response. */
  get pendingIndex(): number | undefined {
    return this.#pending?.localIndex;
  }

  /** Undefined: the peer's public key is none, so that nobody can have it. */
  initiate(localIndex: number, timestamp: Buffer, nowMs: number): Buffer | undefined {
    const { own, publicKey, stamper } = this.#peer;
    const ephemeral = this.#makeKeyPair();
    const written = writeInitiation({
      prologue: PROLOGUE,
      own,
      ephemeral,
      responder: publicKey,
      payload: timestamp,
    });
    if (written === undefined) return undefined;
    this.giveUp();
    this.#pending = { own, ephemeral, transcript: written.transcript, localIndex };
    const datagram = initiation(localIndex, written.message);
    stamper.stamp(datagram, nowMs);
    return datagram;
  }

  /** Undefined: it answers nothing of ours. */
  complete(datagram: Buffer): Agreement | undefined {
    const pending = this.#pending;
    if (pending === undefined || responseReceiver(datagram) !== pending.localIndex) return undefined;
    const read = readResponse(pending, this.presharedKeys.accept, responseNoise(datagram));
    if (read === undefined) return undefined;
    this.giveUp();
    return { keys: read.keys, localIndex: pending.localIndex, remoteIndex: senderIndex(datagram) };
  }

  /** `claimed` is of this peer; what it derived is used up or overwritten. */
  respond(
    datagram: Buffer,
    claimed: ClaimedInitiation,
    localIndex: number,
    nowMs: number,
  ): { readonly datagram: Buffer; readonly agreement: Agreement } | InitiationRefusal {
    try {
      const timestamp = readInitiationPayload(claimed, this.#peer.own);
      if (timestamp === undefined) return 'bad-seal';
      if (Buffer.compare(timestamp, this.#latestTimestamp) <= 0) return 'replayed';
      if (nowMs - this.#latestAtMs < MIN_INITIATION_GAP_MS) return 'too-fast';
      const { respondWith } = this.presharedKeys;
      // The initiation is the peer's own and may come again, once there is a key.
      if (respondWith === undefined) return 'no-preshared-key';
      const written = writeResponse(claimed, {
        ephemeral: this.#makeKeyPair(),
        presharedKey: respondWith,
        payload: NO_PAYLOAD,
      });
      if (written === undefined) return 'bad-seal';
      this.#latestTimestamp = timestamp;
      this.#latestAtMs = nowMs;
      const remoteIndex = senderIndex(datagram);
      const answer = response(localIndex, remoteIndex, written.message);
      this.#peer.stamper.stamp(answer, nowMs);
      return { datagram: answer, agreement: { keys: written.keys, localIndex, remoteIndex } };
    } finally {
      claimed.transcript.wipe();
    }
  }

  /** Nothing of ours is under way any more; what it derived is overwritten. */
  giveUp(): void {
    this.#pending?.transcript.wipe();
    this.#pending = undefined;
  }
}
