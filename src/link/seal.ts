/**
 * Gossip frames: what stands in a UDP datagram, and one after the other in a TCP stream.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+-----+-----+-+-+-------------------------------+
 *     |   'W' (0x57)  | ver | kind|L|S|                               |
 *     +---------------+-----+-----+-+-+           number              |
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                           session                             |
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                           receiver                            |
 *     +---------------------------------------------------------------+
 *     | sealed: ciphertext | tag (16)                                 |
 *     | clear:  name length (1) | cluster name | payload              |
 *     +---------------------------------------------------------------+
 *
 * ver: 1. kind: 1 datagram, 2 request, 3 response, 4 refusal (always clear, its payload is one reason byte), 5 call,
 * 6 answer (rpc/). L: last frame of a stream's direction. S: sealed.
 * number: of a datagram, its number in the session; of a stream's frame, 2^16 times the number of the request,
 * response, call or answer in the session, plus the frame's index.
 * session: 8 random bytes, the first four not all zero; a run of an agent has one at a time.
 * receiver: the first four bytes of the session of the run that the frame is for, as far as the sender knows it;
 * zero where it does not.
 *
 * Sealed: AES-256-GCM. Each session has a key of its own for each cluster key:
 *   HKDF-Expand(cluster key, "warren gossip 1\n" || session || cluster name, 32)       (RFC 5869 section 2.3)
 * so a number that is never used twice is nonce enough: kind (1 byte), five zero bytes, number. The header is
 * associated data, and in a response or answer the number and session of what is answered after it. A run begins
 * another session now and then, and at once where its numbers may have gone back (sessions.ts).
 */
import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { KeyRing } from './key-ring.ts';

export const FRAME_KIND = { datagram: 1, request: 2, response: 3, refusal: 4, call: 5, answer: 6 } as const;
export type FrameKind = keyof typeof FRAME_KIND;

export const HEADER_BYTES = 20;
export const SESSION_BYTES = 8;
const NUMBER_AT = 2;
const SESSION_AT = 8;
const RECEIVER_AT = 16;
const NO_SESSION = '0'.repeat(2 * SESSION_BYTES);
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAGIC = 0x57;
const VERSION = 1;
const FLAG_SEALED = 1;
const FLAG_LAST = 2;
const MAX_NUMBER = 2 ** 48 - 1;
const KEY_LABEL = Buffer.from('warren gossip 1\n');
/** One per member and some to spare; a key is made in 3 us where it is not there. */
const MAX_SESSION_KEYS = 20_000;
/** Frames stay below this, header and all; a stream announces no longer one. */
export const MAX_FRAME_BYTES = 65_536;
/** The nodes of a cluster have the same name for it: 1 to 63 bytes. */
const MAX_CLUSTER_NAME_BYTES = 63;

/** Why a frame was not opened. */
export const FRAME_REFUSALS = [
  'short',
  'magic',
  'version',
  'kind',
  'key',
  'clear',
  'sealed',
  'cluster',
] as const;
export type FrameRefusal = (typeof FRAME_REFUSALS)[number];

/** Why another node refused ours, as it says in a refusal frame. Only append. */
export const REFUSAL_CODES = [
  'key',
  'clear',
  'sealed',
  'cluster',
  'version',
  'busy',
  'invalid',
  'session',
  'replayed',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly last: boolean;
  /** 8 bytes, hexadecimal. */
  readonly session: string;
  /** See `receiverOf`; 0 where it is not known. */
  readonly receiver: number;
  /** 0 to 2^48 - 1. */
  readonly number: number;
}

/** What a response or an answer answers: only who asked can open it. */
export type FrameRequest = Pick<FrameHeader, 'session' | 'number'>;

export type OpenResult =
  | {
      readonly ok: true;
      readonly header: FrameHeader;
      readonly payload: Uint8Array;
      readonly key?: ClusterKeyBytes;
    }
  | { readonly ok: false; readonly reason: FrameRefusal }
  /** `session`: of the node that refuses, if it says so. */
  | {
      readonly ok: false;
      readonly reason: 'refused';
      readonly code: RefusalCode;
      readonly session: string;
    };

/** The key that opened a frame. */
export type ClusterKeyBytes = Uint8Array;

const KIND_NAMES = [undefined, 'datagram', 'request', 'response', 'refusal', 'call', 'answer'] as const;

/**
 * A new session, for a run of an agent or a part of it. The generator of this process is not enough: a machine that is
 * put back twice to one snapshot would get the same "new" session twice from it. So the kernel's goes in as well, which
 * is seeded anew where there is a generation id, and the date, which is another each time.
 */
export function newSession(wallTimeMs = Date.now()): string {
  for (;;) {
    const session = createHash('sha256')
      .update(randomBytes(32))
      .update(kernelRandom())
      .update(String(wallTimeMs))
      .digest('hex')
      .slice(0, 2 * SESSION_BYTES);
    if (receiverOf(session) !== 0) return session;
  }
}

function kernelRandom(): Uint8Array {
  const bytes = new Uint8Array(32);
  let fd: number | undefined;
  try {
    fd = openSync('/dev/urandom', 'r');
    readSync(fd, bytes);
  } catch {
    // No such device in this sandbox: the rest must do.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
  return bytes;
}

/** What a frame for the run under this session names as its receiver: an unsigned 32-bit number. */
export function receiverOf(session: string): number {
  return Number.parseInt(session.slice(0, 8), 16);
}

export class Sealer {
  readonly #clusterName: Uint8Array;
  /** Its keys may change at any time; whether there are any may not. */
  readonly #keyRing: KeyRing | undefined;
  /** By cluster key; what is no longer in the ring goes with it. */
  readonly #sessionKeys = new WeakMap<ClusterKeyBytes, Map<string, Uint8Array>>();

  /** Without a key ring frames are clear. */
  constructor(clusterName: string, keyRing: KeyRing | undefined) {
    this.#clusterName = Buffer.from(clusterName);
    if (this.#clusterName.length < 1 || this.#clusterName.length > MAX_CLUSTER_NAME_BYTES) {
      throw new RangeError(`a cluster's name has 1 to ${MAX_CLUSTER_NAME_BYTES} bytes`);
    }
    this.#keyRing = keyRing;
  }

  get sealed(): boolean {
    return this.#keyRing !== undefined;
  }

  /** What a frame has besides its payload. */
  get overheadBytes(): number {
    return HEADER_BYTES + (this.sealed ? TAG_BYTES : 1 + this.#clusterName.length);
  }

  /**
   * Under the primary key, or under `key` for as long as it is in the ring. A session never seals two frames of one
   * kind under one number: that is up to the caller. Throws a RangeError for a number beyond the last.
   */
  seal(
    header: FrameHeader,
    payload: Uint8Array,
    { key, request }: { readonly key?: ClusterKeyBytes | undefined; readonly request?: FrameRequest } = {},
  ): Uint8Array {
    const head = encodeHeader(header, this.sealed);
    if (this.#keyRing === undefined) {
      return Buffer.concat([head, Buffer.of(this.#clusterName.length), this.#clusterName, payload]);
    }
    const { keys } = this.#keyRing;
    const clusterKey = key !== undefined && keys.includes(key) ? key : keys[0]!;
    const sessionKey = this.#knownKey(clusterKey, header.session) ?? this.#keep(clusterKey, header.session);
    const cipher = createCipheriv('aes-256-gcm', sessionKey, nonceOf(head));
    cipher.setAAD(associatedData(head, request));
    return Buffer.concat([head, cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  }

  /** Never throws; the payload is a copy or a view of `frame`. `request`: what a response or answer is for. */
  open(frame: Uint8Array, request?: FrameRequest): OpenResult {
    if (frame.length < HEADER_BYTES) return { ok: false, reason: 'short' };
    if (frame[0] !== MAGIC) return { ok: false, reason: 'magic' };
    if (frame[1]! >> 5 !== VERSION) return { ok: false, reason: 'version' };
    const kind = KIND_NAMES[(frame[1]! >> 2) & 7];
    if (kind === undefined) return { ok: false, reason: 'kind' };
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.length);
    if (kind === 'refusal') return openRefusal(bytes);
    const isSealed = (frame[1]! & FLAG_SEALED) !== 0;
    if (isSealed !== this.sealed) return { ok: false, reason: isSealed ? 'sealed' : 'clear' };
    const header = decodeHeader(bytes, kind);
    return isSealed ? this.#openSealed(bytes, header, request) : this.#openClear(bytes, header);
  }

  #openSealed(frame: Buffer, header: FrameHeader, request: FrameRequest | undefined): OpenResult {
    if (frame.length < HEADER_BYTES + TAG_BYTES) return { ok: false, reason: 'short' };
    const text = frame.subarray(HEADER_BYTES, frame.length - TAG_BYTES);
    const tag = frame.subarray(frame.length - TAG_BYTES);
    const head = frame.subarray(0, HEADER_BYTES);
    const nonce = nonceOf(head);
    const isAnswer = header.kind === 'response' || header.kind === 'answer';
    const associated = associatedData(head, isAnswer ? request : undefined);
    for (const key of this.#keyRing?.keys ?? []) {
      const known = this.#knownKey(key, header.session);
      const payload = decrypt(known ?? this.#derive(key, header.session), nonce, associated, text, tag);
      if (!payload) continue;
      // Not before: anybody can make sessions up.
      if (!known) this.#keep(key, header.session);
      return { ok: true, header, payload, key };
    }
    return { ok: false, reason: 'key' };
  }

  #knownKey(clusterKey: ClusterKeyBytes, session: string): Uint8Array | undefined {
    return this.#sessionKeys.get(clusterKey)?.get(session);
  }

  #keep(clusterKey: ClusterKeyBytes, session: string): Uint8Array {
    const known = this.#sessionKeys.get(clusterKey) ?? new Map<string, Uint8Array>();
    this.#sessionKeys.set(clusterKey, known);
    const key = this.#derive(clusterKey, session);
    known.set(session, key);
    if (known.size > MAX_SESSION_KEYS) known.delete(known.keys().next().value!);
    return key;
  }

  #derive(clusterKey: ClusterKeyBytes, session: string): Uint8Array {
    return createHmac('sha256', clusterKey)
      .update(KEY_LABEL)
      .update(session, 'hex')
      .update(this.#clusterName)
      .update(Uint8Array.of(1))
      .digest();
  }

  #openClear(frame: Buffer, header: FrameHeader): OpenResult {
    const nameBytes = frame[HEADER_BYTES];
    if (nameBytes === undefined || frame.length < HEADER_BYTES + 1 + nameBytes) {
      return { ok: false, reason: 'short' };
    }
    const start = HEADER_BYTES + 1;
    const name = frame.subarray(start, start + nameBytes);
    if (Buffer.compare(name, this.#clusterName) !== 0) return { ok: false, reason: 'cluster' };
    return { ok: true, header, payload: frame.subarray(start + nameBytes) };
  }
}

/**
 * A refusal: clear text, since the other side has no key of ours. It carries nothing but its reason, and where
 * that is the session, the right one.
 */
export function refusalFrame(code: RefusalCode, session = NO_SESSION): Uint8Array {
  const header = { kind: 'refusal', last: true, session, receiver: 0, number: 0 } as const;
  return Buffer.concat([encodeHeader(header, false), Buffer.of(1 + REFUSAL_CODES.indexOf(code))]);
}

function openRefusal(frame: Buffer): OpenResult {
  const code = REFUSAL_CODES[(frame[HEADER_BYTES] ?? 0) - 1];
  if (code === undefined) return { ok: false, reason: 'kind' };
  return { ok: false, reason: 'refused', code, session: sessionOf(frame) };
}

function encodeHeader(header: FrameHeader, sealed: boolean): Buffer {
  const { number } = header;
  if (!(number <= MAX_NUMBER)) throw new RangeError('this run of the agent has sent all the frames it may');
  const head = Buffer.allocUnsafe(HEADER_BYTES);
  head[0] = MAGIC;
  head[1] =
    (VERSION << 5) |
    (FRAME_KIND[header.kind] << 2) |
    (header.last ? FLAG_LAST : 0) |
    (sealed ? FLAG_SEALED : 0);
  head.writeUIntBE(number, NUMBER_AT, 6);
  head.write(header.session, SESSION_AT, 'hex');
  head.writeUInt32BE(header.receiver, RECEIVER_AT);
  return head;
}

function decodeHeader(frame: Buffer, kind: FrameKind): FrameHeader {
  return {
    kind,
    last: (frame[1]! & FLAG_LAST) !== 0,
    session: sessionOf(frame),
    receiver: frame.readUInt32BE(RECEIVER_AT),
    number: frame.readUIntBE(NUMBER_AT, 6),
  };
}

function sessionOf(frame: Buffer): string {
  return frame.toString('hex', SESSION_AT, SESSION_AT + SESSION_BYTES);
}

function nonceOf(head: Buffer): Uint8Array {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce[0] = (head[1]! >> 2) & 7;
  head.copy(nonce, NONCE_BYTES - 6, NUMBER_AT, NUMBER_AT + 6);
  return nonce;
}

function associatedData(head: Buffer, request: FrameRequest | undefined): Uint8Array {
  if (!request) return head;
  const number = Buffer.allocUnsafe(6);
  number.writeUIntBE(request.number, 0, 6);
  return Buffer.concat([head, number, Buffer.from(request.session, 'hex')]);
}

function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  associated: Uint8Array,
  text: Uint8Array,
  tag: Uint8Array,
): Uint8Array | undefined {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  decipher.setAAD(associated);
  decipher.setAuthTag(tag);
  const payload = decipher.update(text);
  try {
    decipher.final();
    return payload;
  } catch {
    return undefined;
  }
}
