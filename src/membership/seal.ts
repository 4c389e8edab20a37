/**
 * Gossip frames: what stands in a UDP datagram, and one after the other in a TCP stream.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+---------------+---------------+
 *     |   'W' (0x57)  |  version (1)  |     kind      |     flags     |
 *     +---------------+---------------+---------------+---------------+
 *     |                           session                             |
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                           receiver                            |
 *     |                                                               |
 *     +---------------------------------------------------------------+
 *     |                           number                              |
 *     +---------------------------------------------------------------+
 *     |                           index                               |
 *     +---------------------------------------------------------------+
 *     | sealed: nonce (12) | ciphertext | tag (16)                    |
 *     | clear:  name length (1) | cluster name | payload              |
 *     +---------------------------------------------------------------+
 *
 * kind: 1 datagram, 2 request, 3 response, 4 refusal (always clear, its payload is one reason byte).
 * flags: 1 sealed, 2 last frame of a request or response.
 * session: 8 random bytes per run of an agent; a response repeats its request's.
 * receiver: the session of the run that the frame is for, as far as the sender knows it; zero in clear text, in
 * responses and where it is not known.
 * number, index: of a datagram, the high and low half of its number in the session; of a stream, the
 * exchange's number in the session and the frame's index in its direction.
 *
 * Sealed: AES-256-GCM, random nonce; the header and the cluster's name are associated data. At one random
 * nonce per frame a key is good for 2^32 frames (NIST SP 800-38D section 8.3): 1,000 nodes at 100 frames a
 * second each use it up in about 12 hours of that load, so very large clusters change keys.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { KeyRing } from './key-ring.ts';

export const FRAME_KIND = { datagram: 1, request: 2, response: 3, refusal: 4 } as const;
export type FrameKind = keyof typeof FRAME_KIND;

export const HEADER_BYTES = 28;
export const SESSION_BYTES = 8;
const NO_SESSION = new Uint8Array(SESSION_BYTES);
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAGIC = 0x57;
const VERSION = 1;
const FLAG_SEALED = 1;
const FLAG_LAST = 2;
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
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly last: boolean;
  /** 8 bytes. */
  readonly session: Uint8Array;
  /** 8 bytes; undefined where it is not known. */
  readonly receiver?: Uint8Array | undefined;
  /** 0 to 2^32-1. */
  readonly number: number;
  readonly index: number;
}

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
      readonly session: Uint8Array;
    };

/** The key that opened a frame. */
export type ClusterKeyBytes = Uint8Array;

const KIND_NAMES = [undefined, 'datagram', 'request', 'response', 'refusal'] as const;

export class Sealer {
  readonly #clusterName: Uint8Array;
  /** Its keys may change at any time; whether there are any may not. */
  readonly #keyRing: KeyRing | undefined;
  readonly #nonce: () => Uint8Array;

  /** Without a key ring frames are clear. `nonce` is for tests that compare bytes. */
  constructor(clusterName: string, keyRing: KeyRing | undefined, nonce = () => randomBytes(NONCE_BYTES)) {
    this.#clusterName = Buffer.from(clusterName);
    if (this.#clusterName.length < 1 || this.#clusterName.length > MAX_CLUSTER_NAME_BYTES) {
      throw new RangeError(`a cluster's name has 1 to ${MAX_CLUSTER_NAME_BYTES} bytes`);
    }
    this.#keyRing = keyRing;
    this.#nonce = nonce;
  }

  get sealed(): boolean {
    return this.#keyRing !== undefined;
  }

  /** What a frame has besides its payload. */
  get overheadBytes(): number {
    return HEADER_BYTES + (this.sealed ? NONCE_BYTES + TAG_BYTES : 1 + this.#clusterName.length);
  }

  /** Under the primary key, or under `key` for as long as it is in the ring. */
  seal(header: FrameHeader, payload: Uint8Array, key?: ClusterKeyBytes): Uint8Array {
    const head = encodeHeader(header, this.sealed);
    if (this.#keyRing === undefined) {
      return Buffer.concat([head, Buffer.of(this.#clusterName.length), this.#clusterName, payload]);
    }
    const nonce = this.#nonce();
    const { keys } = this.#keyRing;
    const sealing = key !== undefined && keys.includes(key) ? key : keys[0]!;
    const cipher = createCipheriv('aes-256-gcm', sealing, nonce);
    cipher.setAAD(Buffer.concat([head, this.#clusterName]));
    return Buffer.concat([head, nonce, cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  }

  /** Never throws; the payload is a copy or a view of `frame`. */
  open(frame: Uint8Array): OpenResult {
    if (frame.length < HEADER_BYTES) return { ok: false, reason: 'short' };
    if (frame[0] !== MAGIC) return { ok: false, reason: 'magic' };
    if (frame[1] !== VERSION) return { ok: false, reason: 'version' };
    const kind = KIND_NAMES[frame[2]!];
    if (kind === undefined) return { ok: false, reason: 'kind' };
    if (kind === 'refusal') return openRefusal(frame);
    const header = decodeHeader(frame, kind);
    const isSealed = (frame[3]! & FLAG_SEALED) !== 0;
    if (isSealed !== this.sealed) return { ok: false, reason: isSealed ? 'sealed' : 'clear' };
    return isSealed ? this.#openSealed(frame, header) : this.#openClear(frame, header);
  }

  #openSealed(frame: Uint8Array, header: FrameHeader): OpenResult {
    if (frame.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) return { ok: false, reason: 'short' };
    const nonce = frame.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const text = frame.subarray(HEADER_BYTES + NONCE_BYTES, frame.length - TAG_BYTES);
    const tag = frame.subarray(frame.length - TAG_BYTES);
    const associated = Buffer.concat([frame.subarray(0, HEADER_BYTES), this.#clusterName]);
    for (const key of this.#keyRing?.keys ?? []) {
      const payload = decrypt(key, nonce, associated, text, tag);
      if (payload) return { ok: true, header, payload, key };
    }
    return { ok: false, reason: 'key' };
  }

  #openClear(frame: Uint8Array, header: FrameHeader): OpenResult {
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
export function refusalFrame(code: RefusalCode, session: Uint8Array = NO_SESSION): Uint8Array {
  const header = {
    kind: 'refusal',
    last: true,
    session,
    number: 0,
    index: 0,
  } as const;
  return Buffer.concat([encodeHeader(header, false), Buffer.of(1 + REFUSAL_CODES.indexOf(code))]);
}

function openRefusal(frame: Uint8Array): OpenResult {
  const code = REFUSAL_CODES[(frame[HEADER_BYTES] ?? 0) - 1];
  if (code === undefined) return { ok: false, reason: 'kind' };
  return {
    ok: false,
    reason: 'refused',
    code,
    session: new Uint8Array(frame.subarray(4, 4 + SESSION_BYTES)),
  };
}

function encodeHeader(header: FrameHeader, sealed: boolean): Buffer {
  const head = Buffer.alloc(HEADER_BYTES);
  head[0] = MAGIC;
  head[1] = VERSION;
  head[2] = FRAME_KIND[header.kind];
  head[3] = (sealed ? FLAG_SEALED : 0) | (header.last ? FLAG_LAST : 0);
  head.set(header.session, 4);
  if (header.receiver) head.set(header.receiver, 12);
  head.writeUInt32BE(header.number, 20);
  head.writeUInt32BE(header.index, 24);
  return head;
}

function decodeHeader(frame: Uint8Array, kind: FrameKind): FrameHeader {
  const view = new DataView(frame.buffer, frame.byteOffset, HEADER_BYTES);
  return {
    kind,
    last: (frame[3]! & FLAG_LAST) !== 0,
    // A copy: a Buffer's own slice would be a view.
    session: new Uint8Array(frame.subarray(4, 4 + SESSION_BYTES)),
    receiver: new Uint8Array(frame.subarray(12, 12 + SESSION_BYTES)),
    number: view.getUint32(20),
    index: view.getUint32(24),
  };
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
