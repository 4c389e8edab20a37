/**
 * The pre-shared key of two agents, out of a secret that one of them has made for the other's key (x-wing.ts). Who they are,
 * their keys in the tunnel and the ciphertext go into it, so that it is the key of these two and of nothing else; and
 * with it comes a proof that both have the same, which is no secret.
 */
import { createHash, hkdfSync } from 'node:crypto';

export const PROOF_BYTES = 32;
const KEY_BYTES = 32;
const CONTEXT = Buffer.from('warren pair key 1\n');

export interface Party {
  /** Hexadecimal. */
  readonly id: string;
  /** X25519, of the tunnel. */
  readonly tunnelKey: Uint8Array;
}

/** Overwrites `secret`. `asker`: who made it. */
export function pairKey(
  secret: Uint8Array,
  asker: Party,
  asked: Party,
  ciphertext: Uint8Array,
): { readonly key: Buffer; readonly proof: Buffer } {
  const parties = [asker, asked].flatMap(({ id, tunnelKey }) => [Buffer.from(id, 'hex'), tunnelKey]);
  const hash = createHash('sha256').update(ciphertext).digest();
  const info = Buffer.concat([CONTEXT, ...parties, hash]);
  const bytes = Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), info, KEY_BYTES + PROOF_BYTES));
  secret.fill(0);
  return { key: bytes.subarray(0, KEY_BYTES), proof: bytes.subarray(KEY_BYTES) };
}

/** By which both know a ciphertext, and the key that comes of it. */
export function nameOfCiphertext(ciphertext: Uint8Array): string {
  return createHash('sha256').update(ciphertext).digest('hex').slice(0, 32);
}
