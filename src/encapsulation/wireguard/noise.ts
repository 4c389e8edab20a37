/**
 * Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (https://noiseprotocol.org/noise.html, revision 34), the two messages of it:
 *
 *    <- s                      the initiator knows the responder's static key
 *    -> e, es, s, ss           initiation: proves who sends, to the responder alone
 *    <- e, ee, se, psk         response: from here on both have fresh keys
 *
 * Nothing here knows WireGuard's layouts, clocks or peers. Whatever comes from the network is only read: a message that
 * does not open leaves its transcript as it was. What is secret is overwritten as soon as it is not needed.
 */
import { derive1, derive2, derive3, hash } from './blake2s.ts';
import { KEY_BYTES, TAG_BYTES } from './constants.ts';
import { open, seal } from './handshake-aead.ts';
import { type KeyPair, sharedSecret } from './x25519.ts';

const CONSTRUCTION = hash(Buffer.from('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s'));
const NOTHING = Buffer.alloc(0);

/** Of an initiation, beside its payload: ephemeral key, sealed static key, tag of the payload. */
export const INITIATION_OVERHEAD_BYTES = KEY_BYTES + KEY_BYTES + TAG_BYTES + TAG_BYTES;
/** Of a response: ephemeral key, tag of the payload. */
export const RESPONSE_OVERHEAD_BYTES = KEY_BYTES + TAG_BYTES;

/** What both sides have derived so far, and a hash over all that was said. */
export class Transcript {
  #chainingKey: Buffer;
  #hash: Buffer;
  #key: Buffer = Buffer.alloc(KEY_BYTES);

  constructor(prologue: Uint8Array, responder: Uint8Array) {
    this.#chainingKey = Buffer.from(CONSTRUCTION);
    this.#hash = hash(hash(CONSTRUCTION, prologue), responder);
  }

  copy(): Transcript {
    const copy = new Transcript(NOTHING, NOTHING);
    copy.#chainingKey = Buffer.from(this.#chainingKey);
    copy.#hash = Buffer.from(this.#hash);
    copy.#key = Buffer.from(this.#key);
    return copy;
  }

  mixHash(data: Uint8Array): void {
    this.#hash = hash(this.#hash, data);
  }

  /** A public ephemeral key: with a pre-shared key it goes into the keys too. */
  mixEphemeral(publicKey: Uint8Array): void {
    this.mixHash(publicKey);
    this.#setChainingKey(derive1(this.#chainingKey, publicKey));
  }

  /** Overwrites `secret`. */
  mixSecret(secret: Uint8Array): void {
    const [chainingKey, key] = derive2(this.#chainingKey, secret);
    secret.fill(0);
    this.#setChainingKey(chainingKey);
    this.#setKey(key);
  }

  mixPresharedKey(presharedKey: Uint8Array): void {
    const [chainingKey, known, key] = derive3(this.#chainingKey, presharedKey);
    this.#setChainingKey(chainingKey);
    this.mixHash(known);
    known.fill(0);
    this.#setKey(key);
  }

  seal(plaintext: Uint8Array): Buffer {
    const sealed = seal(this.#key, plaintext, this.#hash);
    this.mixHash(sealed);
    return sealed;
  }

  open(sealed: Uint8Array): Buffer | undefined {
    const plaintext = open(this.#key, sealed, this.#hash);
    if (plaintext !== undefined) this.mixHash(sealed);
    return plaintext;
  }

  /** The keys for what the initiator sends, and for what it receives. */
  split(): [Buffer, Buffer] {
    return derive2(this.#chainingKey, NOTHING);
  }

  /** Nothing can be derived after this. */
  wipe(): void {
    this.#chainingKey.fill(0);
    this.#key.fill(0);
    this.#hash.fill(0);
  }

  #setChainingKey(chainingKey: Buffer): void {
    this.#chainingKey.fill(0);
    this.#chainingKey = chainingKey;
  }

  #setKey(key: Buffer): void {
    this.#key.fill(0);
    this.#key = key;
  }
}

export interface InitiationInput {
  readonly prologue: Uint8Array;
  readonly own: KeyPair;
  readonly ephemeral: KeyPair;
  readonly responder: Uint8Array;
  readonly payload: Uint8Array;
}

/** Undefined: the responder's key is none. */
export function writeInitiation({
  prologue,
  own,
  ephemeral,
  responder,
  payload,
}: InitiationInput): { readonly message: Buffer; readonly transcript: Transcript } | undefined {
  const ephemeralStatic = sharedSecret(ephemeral.privateKey, responder);
  const staticStatic = sharedSecret(own.privateKey, responder);
  if (ephemeralStatic === undefined || staticStatic === undefined) return undefined;
  const transcript = new Transcript(prologue, responder);
  transcript.mixEphemeral(ephemeral.publicKey);
  transcript.mixSecret(ephemeralStatic);
  const sealedStatic = transcript.seal(own.publicKey);
  transcript.mixSecret(staticStatic);
  const sealedPayload = transcript.seal(payload);
  return { message: Buffer.concat([ephemeral.publicKey, sealedStatic, sealedPayload]), transcript };
}

/** The first half of an initiation: who claims to send it. One key agreement, and nothing is known to be true yet. */
export interface ClaimedInitiation {
  readonly initiator: Buffer;
  readonly ephemeral: Buffer;
  readonly transcript: Transcript;
  readonly sealedPayload: Buffer;
}

export function readInitiator(
  prologue: Uint8Array,
  own: KeyPair,
  message: Uint8Array,
): ClaimedInitiation | undefined {
  if (message.length < INITIATION_OVERHEAD_BYTES) return undefined;
  const bytes = Buffer.from(message);
  const staticEnd = KEY_BYTES + KEY_BYTES + TAG_BYTES;
  const ephemeral = bytes.subarray(0, KEY_BYTES);
  const ephemeralStatic = sharedSecret(own.privateKey, ephemeral);
  if (ephemeralStatic === undefined) return undefined;
  const transcript = new Transcript(prologue, own.publicKey);
  transcript.mixEphemeral(ephemeral);
  transcript.mixSecret(ephemeralStatic);
  const initiator = transcript.open(bytes.subarray(KEY_BYTES, staticEnd));
  if (initiator === undefined) {
    transcript.wipe();
    return undefined;
  }
  return { initiator, ephemeral, transcript, sealedPayload: bytes.subarray(staticEnd) };
}

/** The second half: the payload, which only the owner of the initiator's key can have sealed. */
export function readInitiationPayload(
  { initiator, transcript, sealedPayload }: ClaimedInitiation,
  own: KeyPair,
): Buffer | undefined {
  const staticStatic = sharedSecret(own.privateKey, initiator);
  if (staticStatic === undefined) return undefined;
  transcript.mixSecret(staticStatic);
  return transcript.open(sealedPayload);
}

/** Keys of a session, as one side has them. */
export interface SessionKeys {
  readonly send: Buffer;
  readonly receive: Buffer;
}

export interface ResponseInput {
  readonly ephemeral: KeyPair;
  readonly presharedKey: Uint8Array;
  readonly payload: Uint8Array;
}

/** Ends the transcript. Undefined: one of the initiator's keys is none. */
export function writeResponse(
  { initiator, ephemeral: remote, transcript }: ClaimedInitiation,
  { ephemeral, presharedKey, payload }: ResponseInput,
): { readonly message: Buffer; readonly keys: SessionKeys } | undefined {
  const ephemeralEphemeral = sharedSecret(ephemeral.privateKey, remote);
  const ephemeralStatic = sharedSecret(ephemeral.privateKey, initiator);
  if (ephemeralEphemeral === undefined || ephemeralStatic === undefined) return undefined;
  transcript.mixEphemeral(ephemeral.publicKey);
  transcript.mixSecret(ephemeralEphemeral);
  transcript.mixSecret(ephemeralStatic);
  transcript.mixPresharedKey(presharedKey);
  const sealedPayload = transcript.seal(payload);
  const [receive, send] = transcript.split();
  transcript.wipe();
  return { message: Buffer.concat([ephemeral.publicKey, sealedPayload]), keys: { send, receive } };
}

export interface PendingInitiation {
  readonly own: KeyPair;
  readonly ephemeral: KeyPair;
  readonly transcript: Transcript;
}

/**
 * With the first of `presharedKeys` that opens it. Leaves the transcript of `pending` as it is: a forged response must
 * not spoil the true one.
 */
export function readResponse(
  { own, ephemeral, transcript: pending }: PendingInitiation,
  presharedKeys: readonly Uint8Array[],
  message: Uint8Array,
): { readonly payload: Buffer; readonly keys: SessionKeys } | undefined {
  if (message.length < RESPONSE_OVERHEAD_BYTES) return undefined;
  const bytes = Buffer.from(message);
  const remote = bytes.subarray(0, KEY_BYTES);
  const ephemeralEphemeral = sharedSecret(ephemeral.privateKey, remote);
  const staticEphemeral = sharedSecret(own.privateKey, remote);
  if (ephemeralEphemeral === undefined || staticEphemeral === undefined) return undefined;
  const transcript = pending.copy();
  try {
    transcript.mixEphemeral(remote);
    transcript.mixSecret(ephemeralEphemeral);
    transcript.mixSecret(staticEphemeral);
    for (const presharedKey of presharedKeys) {
      const read = readSealedPayload(transcript, presharedKey, bytes.subarray(KEY_BYTES));
      if (read !== undefined) return read;
    }
    return undefined;
  } finally {
    transcript.wipe();
  }
}

function readSealedPayload(before: Transcript, presharedKey: Uint8Array, sealedPayload: Uint8Array) {
  const transcript = before.copy();
  try {
    transcript.mixPresharedKey(presharedKey);
    const payload = transcript.open(sealedPayload);
    if (payload === undefined) return undefined;
    const [send, receive] = transcript.split();
    return { payload, keys: { send, receive } };
  } finally {
    transcript.wipe();
  }
}
