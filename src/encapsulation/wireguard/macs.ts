/**
 * The two MACs of initiations and responses, and the cookies that come with the second (WireGuard's paper, section 5.4.4
 * and 5.3).
 *
 * MAC1 says that the sender knows the receiver's public key: without it not even a reply is sent. MAC2 says that the
 * sender has a cookie, which a receiver under load sent to the very address that it answers, so that it works only for
 * those who can receive there.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { HASH_BYTES, hash, MAC_BYTES, mac } from './blake2s.ts';
import { LONG_NONCE_BYTES, openWithLongNonce, sealWithLongNonce } from './handshake-aead.ts';
import { Mac1 } from './mac1.ts';
import {
  beforeMac1,
  beforeMac2,
  cookieNonce,
  cookieReply,
  mac1Of,
  mac2Of,
  sealedCookie,
  senderIndex,
} from './messages.ts';

const NO_MAC = Buffer.alloc(MAC_BYTES);
const LABEL_MAC1 = Buffer.from('mac1----');
const LABEL_COOKIE = Buffer.from('cookie--');
/** How long a cookie is good, at both ends. */
export const COOKIE_LIFETIME_MS = 120_000;

/** Puts MACs on what is sent to one peer. */
export class MacStamper {
  readonly #mac1Key: Buffer;
  readonly #cookieKey: Buffer;
  /** Of the message that was sent last: a cookie reply must answer it. */
  #lastMac1: Buffer | undefined;
  #cookie: Buffer | undefined;
  #cookieAtMs = 0;

  constructor(receiver: Uint8Array) {
    this.#mac1Key = hash(LABEL_MAC1, receiver);
    this.#cookieKey = hash(LABEL_COOKIE, receiver);
  }

  stamp(datagram: Buffer, nowMs: number): void {
    const mac1 = mac(this.#mac1Key, beforeMac1(datagram));
    mac1.copy(mac1Of(datagram));
    this.#lastMac1 = mac1;
    if (this.#cookie !== undefined && nowMs - this.#cookieAtMs < COOKIE_LIFETIME_MS)
      mac(this.#cookie, beforeMac2(datagram)).copy(mac2Of(datagram));
  }

  /** Whether the reply answers what was sent last; its cookie is used from the next message on. */
  takeCookie(reply: Buffer, nowMs: number): boolean {
    if (this.#lastMac1 === undefined) return false;
    const cookie = openWithLongNonce(
      this.#cookieKey,
      cookieNonce(reply),
      sealedCookie(reply),
      this.#lastMac1,
    );
    if (cookie === undefined) return false;
    // One reply to a message: a second one is a copy.
    this.#lastMac1 = undefined;
    this.#cookie = cookie;
    this.#cookieAtMs = nowMs;
    return true;
  }
}

/** Looks at the MACs of what this node receives. */
export class MacChecker {
  readonly #mac1: Mac1;
  readonly #cookieKey: Buffer;
  #secret = randomBytes(HASH_BYTES);
  #secretAtMs = Number.NEGATIVE_INFINITY;

  constructor(own: Uint8Array) {
    this.#mac1 = new Mac1(hash(LABEL_MAC1, own));
    this.#cookieKey = hash(LABEL_COOKIE, own);
  }

  hasMac1(datagram: Buffer): boolean {
    return timingSafeEqual(mac1Of(datagram), this.#mac1.of(beforeMac1(datagram)));
  }

  /** `source`: the bytes of the sender's address and port. */
  hasMac2(datagram: Buffer, source: Uint8Array, nowMs: number): boolean {
    if (this.#secretIsOld(nowMs)) return false;
    // As nearly all of a flood are, and two hashes dear.
    if (mac2Of(datagram).equals(NO_MAC)) return false;
    return timingSafeEqual(mac2Of(datagram), mac(this.#cookie(source), beforeMac2(datagram)));
  }

  /** The answer to an initiation or response, for which its MAC1 is the key to believe it. */
  reply(datagram: Buffer, source: Uint8Array, nowMs: number): Buffer {
    if (this.#secretIsOld(nowMs)) {
      this.#secret = randomBytes(HASH_BYTES);
      this.#secretAtMs = nowMs;
    }
    const nonce = randomBytes(LONG_NONCE_BYTES);
    const sealed = sealWithLongNonce(this.#cookieKey, nonce, this.#cookie(source), mac1Of(datagram));
    return cookieReply(senderIndex(datagram), nonce, sealed);
  }

  #cookie(source: Uint8Array): Buffer {
    return mac(this.#secret, source);
  }

  #secretIsOld(nowMs: number): boolean {
    return nowMs - this.#secretAtMs >= COOKIE_LIFETIME_MS;
  }
}
