/**
 * X-Wing (draft-connolly-cfrg-xwing-kem): one secret out of ML-KEM-768 and X25519, which holds as long as one of the two does.
 *
 *    public key    | ML-KEM-768, 1,184 bytes   | X25519, 32 bytes           |
 *    ciphertext    | ML-KEM-768, 1,088 bytes   | X25519, ephemeral, 32 bytes |
 *    secret        SHA3-256(secret of ML-KEM | secret of X25519 | X25519 of the ciphertext | X25519 of the key | label)
 *
 * Private keys are as the two have them, and not the one seed of the draft, since none is ever written down.
 */
import { createHash } from 'node:crypto';
import { generateKeyPair, type KeyPair, sharedSecret } from '../encapsulation/wireguard/x25519.ts';
import * as mlKem from './ml-kem.ts';

const X25519_BYTES = 32;
export const PUBLIC_KEY_BYTES = mlKem.PUBLIC_KEY_BYTES + X25519_BYTES;
export const CIPHERTEXT_BYTES = mlKem.CIPHERTEXT_BYTES + X25519_BYTES;
/** Of SHA-256, by which others know a public key. */
export const KEY_HASH_BYTES = 32;

const LABEL = Buffer.from('5c2e2f2f5e5c', 'hex');

/** One key pair. Its secret half does not leave it. */
export class XWingKey {
  readonly publicKey: Buffer;
  /** Of the public key. */
  readonly hash: Buffer;
  readonly #mlKem: mlKem.MlKemKey;
  #x25519: KeyPair | undefined;

  constructor(kem: mlKem.MlKem) {
    this.#mlKem = kem.generate();
    this.#x25519 = generateKeyPair();
    this.publicKey = Buffer.concat([this.#mlKem.publicKey, this.#x25519.publicKey]);
    this.hash = keyHash(this.publicKey);
  }

  /** The secret that `ciphertext` was made with, or one that nobody has; undefined: it is none, or the key is wiped. */
  decapsulate(ciphertext: Uint8Array): Buffer | undefined {
    if (ciphertext.length !== CIPHERTEXT_BYTES || this.#x25519 === undefined) return undefined;
    const ephemeral = ciphertext.subarray(mlKem.CIPHERTEXT_BYTES);
    const classical = sharedSecret(this.#x25519.privateKey, ephemeral);
    const quantumSafe = this.#mlKem.decapsulate(ciphertext.subarray(0, mlKem.CIPHERTEXT_BYTES));
    if (classical === undefined || quantumSafe === undefined) return undefined;
    return combine(quantumSafe, classical, ephemeral, this.#x25519.publicKey);
  }

  /** Nothing that was made for this key can be opened any more. */
  wipe(): void {
    this.#mlKem.wipe();
    this.#x25519 = undefined;
  }
}

/** A secret for the owner of the key. Undefined: it is no key. */
export function encapsulate(
  kem: mlKem.MlKem,
  publicKey: Uint8Array,
): { readonly ciphertext: Buffer; readonly secret: Buffer } | undefined {
  if (publicKey.length !== PUBLIC_KEY_BYTES) return undefined;
  const remote = publicKey.subarray(mlKem.PUBLIC_KEY_BYTES);
  const ephemeral = generateKeyPair();
  const classical = sharedSecret(ephemeral.privateKey, remote);
  const quantumSafe = kem.encapsulate(publicKey.subarray(0, mlKem.PUBLIC_KEY_BYTES));
  if (classical === undefined || quantumSafe === undefined) return undefined;
  const ciphertext = Buffer.concat([quantumSafe.ciphertext, ephemeral.publicKey]);
  return { ciphertext, secret: combine(quantumSafe.secret, classical, ephemeral.publicKey, remote) };
}

export function keyHash(publicKey: Uint8Array): Buffer {
  return createHash('sha256').update(publicKey).digest();
}

/** Overwrites the two secrets. */
function combine(
  quantumSafe: Uint8Array,
  classical: Uint8Array,
  ephemeral: Uint8Array,
  publicKey: Uint8Array,
): Buffer {
  const hash = createHash('sha3-256');
  for (const part of [quantumSafe, classical, ephemeral, publicKey, LABEL]) hash.update(part);
  quantumSafe.fill(0);
  classical.fill(0);
  return hash.digest();
}
