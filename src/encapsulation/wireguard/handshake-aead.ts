/**
 * The authenticated encryption of handshake messages: ChaCha20-Poly1305 (RFC 8439) by node:crypto, and XChaCha20-Poly1305,
 * which node:crypto lacks, by @noble/ciphers for cookies. Datagrams of the packet path have engines of their own (AeadEngine).
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import { xchacha20poly1305 } from '@noble/ciphers/chacha.js';
import { TAG_BYTES } from './constants.ts';

/** Of XChaCha20: long enough to be random. */
export const LONG_NONCE_BYTES = 24;

const CIPHER = 'chacha20-poly1305';
const NONCE_BYTES = 12;
/** A handshake uses each key once, with the counter 0. */
const FIRST_NONCE = Buffer.alloc(NONCE_BYTES);

/** `plaintext` sealed, its tag behind it. */
export function seal(
  key: Uint8Array,
  plaintext: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array = FIRST_NONCE,
): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(associated, { plaintextLength: plaintext.length });
  const head = cipher.update(plaintext);
  return Buffer.concat([head, cipher.final(), cipher.getAuthTag()]);
}

/** What `sealed` holds, or undefined: it was not sealed so. */
export function open(
  key: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
  nonce: Uint8Array = FIRST_NONCE,
): Buffer | undefined {
  const plaintextLength = sealed.length - TAG_BYTES;
  if (plaintextLength < 0) return undefined;
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(associated, { plaintextLength });
  decipher.setAuthTag(sealed.subarray(plaintextLength));
  const plaintext = decipher.update(sealed.subarray(0, plaintextLength));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return plaintext;
}

export function sealWithLongNonce(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associated: Uint8Array,
): Buffer {
  return Buffer.from(xchacha20poly1305(key, nonce, associated).encrypt(plaintext));
}

/** Undefined: it was not sealed so. */
export function openWithLongNonce(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
): Buffer | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  try {
    return Buffer.from(xchacha20poly1305(key, nonce, associated).decrypt(sealed));
  } catch {
    return undefined;
  }
}
