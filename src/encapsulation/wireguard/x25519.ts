/**
 * Curve25519 key agreement (RFC 7748) as WireGuard uses it, by OpenSSL through node:crypto.
 *
 * node:crypto takes keys as DER structures around the 32 bytes; both have a fixed prefix (RFC 8410). The bytes of a
 * private key then lie in OpenSSL's memory, which it overwrites when the object is collected.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { KEY_BYTES } from './constants.ts';

const PRIVATE_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC_PREFIX = Buffer.from('302a300506032b656e032100', 'hex');

export interface KeyPair {
  readonly privateKey: KeyObject;
  /** The 32 bytes that others know. */
  readonly publicKey: Buffer;
}

export function generateKeyPair(): KeyPair {
  return withPublicKey(generateKeyPairSync('x25519').privateKey);
}

/** The pair of a private key of 32 bytes; they are copied. */
export function keyPairOf(privateKey: Uint8Array): KeyPair {
  const der = Buffer.concat([PRIVATE_PREFIX, privateKey]);
  try {
    return withPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  } finally {
    der.fill(0);
  }
}

/** The 32 bytes that only this node knows. */
export function privateKeyBytes({ privateKey }: KeyPair): Buffer {
  return privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(PRIVATE_PREFIX.length);
}

/**
 * The secret that both sides compute. Undefined where there is none: `publicKey` is a point of low order, with which
 * every private key gives zero (RFC 7748, section 6.1), so whoever sent it holds no key.
 */
export function sharedSecret(privateKey: KeyObject, publicKey: Uint8Array): Buffer | undefined {
  if (publicKey.length !== KEY_BYTES) return undefined;
  try {
    const key = createPublicKey({
      key: Buffer.concat([PUBLIC_PREFIX, publicKey]),
      format: 'der',
      type: 'spki',
    });
    return diffieHellman({ privateKey, publicKey: key });
  } catch {
    return undefined;
  }
}

export function withPublicKey(privateKey: KeyObject): KeyPair {
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { privateKey, publicKey: der.subarray(PUBLIC_PREFIX.length) };
}
