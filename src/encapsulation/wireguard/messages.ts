/**
 * WireGuard's four messages (https://www.wireguard.com/papers/wireguard.pdf, section 5.4). Numbers are little-endian;
 * lengths are exact, but for data. The three zeros after the type make it a 32-bit number.
 *
 *    Initiation (148)     Response (92)        Cookie reply (64)    Data (32 and more)
 *     0  type 1            0  type 2            0  type 3            0  type 4
 *     4  sender index      4  sender index      4  receiver index    4  receiver index
 *     8  ephemeral         8  receiver index    8  nonce             8  counter
 *    40  static, sealed   12  ephemeral        32  cookie, sealed   16  packet, sealed
 *    88  time, sealed     44  nothing, sealed
 *   116  MAC1             60  MAC1
 *   132  MAC2             76  MAC2
 *
 * An index names a handshake or a session at whoever gave it out. MAC1 is over all before it, MAC2 over MAC1 too.
 */
import { MAC_BYTES } from './blake2s.ts';
import { TAG_BYTES } from './constants.ts';
import { MESSAGE, type MessageType, MIN_DATA_BYTES } from './data-message.ts';
import { LONG_NONCE_BYTES } from './handshake-aead.ts';
import { INITIATION_OVERHEAD_BYTES, RESPONSE_OVERHEAD_BYTES } from './noise.ts';
import { TIMESTAMP_BYTES } from './tai64n.ts';

const TYPE = 0;
const FIRST_INDEX = 4;
const SECOND_INDEX = 8;

const INITIATION_NOISE = 8;
const INITIATION_NOISE_BYTES = INITIATION_OVERHEAD_BYTES + TIMESTAMP_BYTES;
export const INITIATION_BYTES = INITIATION_NOISE + INITIATION_NOISE_BYTES + 2 * MAC_BYTES;

const RESPONSE_NOISE = 12;
const RESPONSE_NOISE_BYTES = RESPONSE_OVERHEAD_BYTES;
export const RESPONSE_BYTES = RESPONSE_NOISE + RESPONSE_NOISE_BYTES + 2 * MAC_BYTES;

const COOKIE_NONCE = 8;
const SEALED_COOKIE = COOKIE_NONCE + LONG_NONCE_BYTES;
export const COOKIE_REPLY_BYTES = SEALED_COOKIE + MAC_BYTES + TAG_BYTES;

/** Undefined: none of the four, or of a wrong length. */
export function messageType(datagram: Buffer): MessageType | undefined {
  if (datagram.length < MIN_DATA_BYTES) return undefined;
  switch (datagram.readUInt32LE(TYPE)) {
    case MESSAGE.initiation:
      return datagram.length === INITIATION_BYTES ? MESSAGE.initiation : undefined;
    case MESSAGE.response:
      return datagram.length === RESPONSE_BYTES ? MESSAGE.response : undefined;
    case MESSAGE.cookieReply:
      return datagram.length === COOKIE_REPLY_BYTES ? MESSAGE.cookieReply : undefined;
    case MESSAGE.data:
      return MESSAGE.data;
    default:
      return undefined;
  }
}

/** Of an initiation or a response: the index under which its sender wants the answer. */
export function senderIndex(datagram: Buffer): number {
  return datagram.readUInt32LE(FIRST_INDEX);
}

/** Of a response. */
export function responseReceiver(datagram: Buffer): number {
  return datagram.readUInt32LE(SECOND_INDEX);
}

/** Of a cookie reply or data. */
export function receiverIndex(datagram: Buffer): number {
  return datagram.readUInt32LE(FIRST_INDEX);
}

export function initiationNoise(datagram: Buffer): Buffer {
  return datagram.subarray(INITIATION_NOISE, INITIATION_NOISE + INITIATION_NOISE_BYTES);
}

export function responseNoise(datagram: Buffer): Buffer {
  return datagram.subarray(RESPONSE_NOISE, RESPONSE_NOISE + RESPONSE_NOISE_BYTES);
}

/** Without its MACs, which are zero. */
export function initiation(sender: number, noise: Buffer): Buffer {
  const datagram = Buffer.alloc(INITIATION_BYTES);
  datagram.writeUInt32LE(MESSAGE.initiation, TYPE);
  datagram.writeUInt32LE(sender, FIRST_INDEX);
  noise.copy(datagram, INITIATION_NOISE);
  return datagram;
}

/** Without its MACs. */
export function response(sender: number, receiver: number, noise: Buffer): Buffer {
  const datagram = Buffer.alloc(RESPONSE_BYTES);
  datagram.writeUInt32LE(MESSAGE.response, TYPE);
  datagram.writeUInt32LE(sender, FIRST_INDEX);
  datagram.writeUInt32LE(receiver, SECOND_INDEX);
  noise.copy(datagram, RESPONSE_NOISE);
  return datagram;
}

export function cookieReply(receiver: number, nonce: Buffer, sealedCookie: Buffer): Buffer {
  const datagram = Buffer.alloc(COOKIE_REPLY_BYTES);
  datagram.writeUInt32LE(MESSAGE.cookieReply, TYPE);
  datagram.writeUInt32LE(receiver, FIRST_INDEX);
  nonce.copy(datagram, COOKIE_NONCE);
  sealedCookie.copy(datagram, SEALED_COOKIE);
  return datagram;
}

export function cookieNonce(datagram: Buffer): Buffer {
  return datagram.subarray(COOKIE_NONCE, SEALED_COOKIE);
}

export function sealedCookie(datagram: Buffer): Buffer {
  return datagram.subarray(SEALED_COOKIE);
}

/** What MAC1 of an initiation or response is over. */
export function beforeMac1(datagram: Buffer): Buffer {
  return datagram.subarray(0, datagram.length - 2 * MAC_BYTES);
}

export function mac1Of(datagram: Buffer): Buffer {
  return datagram.subarray(datagram.length - 2 * MAC_BYTES, datagram.length - MAC_BYTES);
}

export function beforeMac2(datagram: Buffer): Buffer {
  return datagram.subarray(0, datagram.length - MAC_BYTES);
}

export function mac2Of(datagram: Buffer): Buffer {
  return datagram.subarray(datagram.length - MAC_BYTES);
}
