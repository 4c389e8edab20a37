/**
 * BLAKE2s (RFC 7693) and what WireGuard builds of it: a keyed hash of 16 bytes, HMAC, and the derivation of keys from
 * HMAC (RFC 5869 without its salt and info).
 *
 * From @noble/hashes: node:crypto offers no keyed BLAKE2s, and its plain one takes 22 us a call on Node 20 against 3.
 */
import { blake2s } from '@noble/hashes/blake2.js';
import { hmac } from '@noble/hashes/hmac.js';

export const HASH_BYTES = 32;
export const MAC_BYTES = 16;

export function hash(...parts: readonly Uint8Array[]): Buffer {
  const state = blake2s.create({});
  for (const part of parts) state.update(part);
  return asBuffer(state.digest());
}

/** The keyed hash that MAC1, MAC2 and cookies are. */
export function mac(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const state = blake2s.create({ key, dkLen: MAC_BYTES });
  for (const part of parts) state.update(part);
  return asBuffer(state.digest());
}

export function hmacOf(key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const state = hmac.create(blake2s, key);
  for (const part of parts) state.update(part);
  return asBuffer(state.digest());
}

/** KDF1: one key from `chainingKey` and `input`. */
export function derive1(chainingKey: Uint8Array, input: Uint8Array): Buffer {
  return derive(chainingKey, input, 1)[0]!;
}

/** KDF2. */
export function derive2(chainingKey: Uint8Array, input: Uint8Array): [Buffer, Buffer] {
  return derive(chainingKey, input, 2) as [Buffer, Buffer];
}

/** KDF3. */
export function derive3(chainingKey: Uint8Array, input: Uint8Array): [Buffer, Buffer, Buffer] {
  return derive(chainingKey, input, 3) as [Buffer, Buffer, Buffer];
}

function derive(chainingKey: Uint8Array, input: Uint8Array, count: number): Buffer[] {
  const secret = hmacOf(chainingKey, input);
  const keys: Buffer[] = [];
  let last: Buffer = Buffer.alloc(0);
  for (let number = 1; number <= count; number++) {
    last = hmacOf(secret, last, Uint8Array.of(number));
    keys.push(last);
  }
  secret.fill(0);
  return keys;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
