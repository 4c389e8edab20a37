/**
 * Who a node is: a long-lived Ed25519 key pair (RFC 8032) in its state folder. The node id is the first 16
 * bytes of the SHA-256 of the raw public key, so nobody can announce an id without its key. Names, addresses
 * and subnets may change; the id does not.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WarrenError } from './errors.ts';
import { readStateFile, writeStateFile } from './state/state-file.ts';
import { z } from './zod.ts';

/** Beside the identity: what only the node that wrote it can use. */
const OF_ONE_NODE = [
  'attachments.json',
  'inventory.json',
  'lease.json',
  'membership.json',
  'pods.json',
  'tunnel-key.json',
];

export const ID_BYTES = 16;
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

export interface Identity {
  /** 32 hexadecimal digits. */
  readonly id: string;
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}

const identitySchema = z.object({
  id: z.string().regex(/^[0-9a-f]{32}$/),
  /** PKCS #8, base64. */
  privateKey: z.base64().max(512),
});

/**
 * The identity kept in `stateDir`/identity.json; made there if the folder is new. A file that is damaged
 * (STATE_CORRUPT), or missing beside others that were written under it (STATE_INCOMPLETE), is an error: a node
 * never changes its identity silently.
 */
export function loadOrCreateIdentity(stateDir: string): Identity {
  const stored = loadIdentity(stateDir);
  if (stored !== undefined) return stored;
  const others = OF_ONE_NODE.filter((name) => existsSync(join(stateDir, name)));
  if (others.length > 0) {
    throw new WarrenError(
      'STATE_INCOMPLETE',
      `${identityFile(stateDir)} is missing, and ${others.join(', ')} of the node that it was for are there`,
      {
        hint:
          'Put back a copy of it. Or, to start as a new node, move the others away; the subnet of the old one is ' +
          'free after `warren forget` on another node.',
      },
    );
  }
  const { privateKey } = generateKeyPairSync('ed25519');
  const identity = identityFromKey(privateKey);
  writeStateFile(identityFile(stateDir), {
    id: identity.id,
    privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
  });
  return identity;
}

/** The identity kept in `stateDir`, or undefined if it has none. Throws STATE_CORRUPT and the like. */
export function loadIdentity(stateDir: string): Identity | undefined {
  const path = identityFile(stateDir);
  const stored = readStateFile(path, identitySchema, "this node's identity");
  if (stored === undefined) return undefined;
  const identity = identityFromPkcs8(Buffer.from(stored.privateKey, 'base64'));
  if (identity?.id !== stored.id) {
    throw new WarrenError('STATE_CORRUPT', `${path} holds a key that does not belong to node ${stored.id}`, {
      hint: 'Put back a good copy of it, or move it away to start as a new node.',
    });
  }
  return identity;
}

/** The seed of the identity kept in `stateDir`: what must never leave this node. Undefined if there is none. */
export function identitySecret(stateDir: string): Uint8Array | undefined {
  const stored = readStateFile(identityFile(stateDir), identitySchema, "this node's identity");
  return stored && new Uint8Array(Buffer.from(stored.privateKey, 'base64').subarray(PKCS8_PREFIX.length));
}

function identityFile(stateDir: string): string {
  return join(stateDir, 'identity.json');
}

/** The identity of a 32-byte Ed25519 seed (RFC 8032 section 5.1.5); tests and the simulator use it. */
export function identityFromSeed(seed: Uint8Array): Identity {
  const identity = identityFromPkcs8(Buffer.concat([PKCS8_PREFIX, seed]));
  if (!identity || seed.length !== 32) {
    throw new WarrenError('IDENTITY_SEED', `an Ed25519 seed has 32 bytes, not ${seed.length}`);
  }
  return identity;
}

/** The id that goes with a raw public key. */
export function idOfPublicKey(publicKey: Uint8Array): string {
  return createHash('sha256')
    .update(publicKey)
    .digest('hex')
    .slice(0, ID_BYTES * 2);
}

/** Whether `signature` over `message` was made with the private key of `publicKey`; false for any bad input. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  try {
    const key = createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, publicKey]),
      format: 'der',
      type: 'spki',
    });
    return verify(null, message, key, signature);
  } catch {
    return false;
  }
}

/** What stands before the 32 key bytes in an Ed25519 SubjectPublicKeyInfo and PrivateKeyInfo (RFC 8410). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');

function identityFromPkcs8(der: Buffer): Identity | undefined {
  try {
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    return key.asymmetricKeyType === 'ed25519' ? identityFromKey(key) : undefined;
  } catch {
    return undefined;
  }
}

function identityFromKey(privateKey: KeyObject): Identity {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  const publicKey = new Uint8Array(spki.subarray(SPKI_PREFIX.length));
  return {
    id: idOfPublicKey(publicKey),
    publicKey,
    sign: (message) => new Uint8Array(sign(null, message, privateKey)),
  };
}
