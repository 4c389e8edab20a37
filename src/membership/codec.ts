/**
 * Gossip messages to and from bytes (proto/gossip.proto). Every field that comes in is checked: a decoder
 * returns a message within its bounds or a reason, it never throws, and what it allocates is bounded by the
 * 64 KiB of a frame.
 */

import { type SignedStatement, signedStatementField } from '../admission/statement.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { type KeyRingState, keyRingField, rawKeyRing } from '../link/key-ring-state.ts';
import {
  bytesField,
  check,
  type Decoded,
  endpointField,
  guarded,
  idField,
  integerField,
  messageField,
  type Raw,
  rawEndpoint,
  rawId,
  UINT32_MAX,
} from '../protobuf/fields.ts';
import { messageType } from './proto.ts';
import { signedRecordField } from './record.ts';
import { BUCKET_DIGEST_BYTES, BUCKET_MASK_BYTES } from './table-digest.ts';
import type { MemberStatus, SignedRecord } from './types.ts';

/** Who asks is told by the frame's session. */
export interface Ping {
  readonly kind: 'ping';
  readonly sequence: number;
  /** See `pingTargetOf`. */
  readonly target: number;
}
export interface PingRequest {
  readonly kind: 'pingRequest';
  readonly sequence: number;
  readonly target: string;
  readonly endpoint: Endpoint;
}
export interface Ack {
  readonly kind: 'ack';
  readonly sequence: number;
  /** The one that answers knows no member that runs under the asker's session, or has only a memory of it. */
  readonly toStranger: boolean;
}
export interface Nack {
  readonly kind: 'nack';
  readonly sequence: number;
}
export interface RecordMessage {
  readonly kind: 'record';
  readonly signed: SignedRecord;
}
/** An opinion of `from` about `member` as of `incarnation`. */
export interface Accusation {
  readonly kind: 'suspect' | 'dead';
  readonly member: string;
  readonly incarnation: number;
  readonly from: string;
}
export interface SyncRequest {
  readonly kind: 'syncRequest';
  readonly source: string;
  readonly mode: SyncMode;
  readonly digest: Digest;
  /** Mode `buckets`: which, as a mask (table-digest.ts). */
  readonly buckets: Uint8Array | undefined;
}
/** What follows the request, and what the answer: see SyncMode in gossip.proto. */
export type SyncMode = 'full' | 'compare' | 'buckets' | 'claim';
export interface SyncResponse {
  readonly kind: 'syncResponse';
  readonly source: string;
  readonly same: boolean;
  /** The answer to `compare` where the digests differ. */
  readonly bucketDigests: Uint8Array | undefined;
}
export interface MemberState {
  readonly kind: 'memberState';
  readonly signed: SignedRecord;
  readonly status: StateStatus;
  readonly statusAgeSeconds: number;
}
/** `remembered`: of an entry that is only a memory (entry-store.ts). */
export type StateStatus = MemberStatus | 'remembered';
/** A tombstone: records of `member` up to `generation` are void. */
export interface Forget {
  readonly kind: 'forget';
  readonly member: string;
  readonly generation: number;
  readonly ageSeconds: number;
}
export interface KeyRingMessage {
  readonly kind: 'keyRing';
  readonly ring: KeyRingState;
}
export interface AdmissionMessage {
  readonly kind: 'admission';
  readonly signed: SignedStatement;
}
export type Message =
  | Ping
  | PingRequest
  | Ack
  | Nack
  | RecordMessage
  | Accusation
  | SyncRequest
  | SyncResponse
  | MemberState
  | Forget
  | KeyRingMessage
  | AdmissionMessage;

/** Two unsigned 32-bit halves: equal on two nodes when, almost certainly, their member tables are. */
export interface Digest {
  readonly high: number;
  readonly low: number;
}

/** Wire values are the index plus 1: 0 is what a missing field reads as. */
const STATUS_NAMES = ['alive', 'suspect', 'dead', 'left', 'remembered'] as const;
const SYNC_MODE_NAMES = ['full', 'compare', 'buckets', 'claim'] as const;

/**
 * A ping's target is the first 32 bits of its id. The frame says already which run it is for; this keeps another
 * node, that has come to have the target's address, from answering in its place.
 */
export function pingTargetOf(id: string): number {
  return Number.parseInt(id.slice(0, 8), 16);
}

export function decodeMessage(bytes: Uint8Array): Decoded<Message> {
  return guarded(() => {
    const raw = messageType.decode(bytes) as unknown as Raw;
    const body = raw.body as keyof typeof decoders | undefined;
    check(body !== undefined);
    return decoders[body](messageField(raw[body]));
  });
}

export function encodeMessage(message: Message): Uint8Array {
  return messageType.encode(rawMessage(message)).finish();
}

const decoders = {
  ping: (raw: Raw): Ping => ({
    kind: 'ping',
    sequence: integerField(raw.sequence, 0, UINT32_MAX),
    target: integerField(raw.target, 0, UINT32_MAX),
  }),
  pingRequest: (raw: Raw): PingRequest => ({
    kind: 'pingRequest',
    sequence: integerField(raw.sequence, 0, UINT32_MAX),
    target: idField(raw.target),
    endpoint: endpointField(raw.endpoint),
  }),
  ack: (raw: Raw): Ack => ({
    kind: 'ack',
    sequence: integerField(raw.sequence, 0, UINT32_MAX),
    toStranger: raw.toStranger === true,
  }),
  nack: (raw: Raw): Nack => ({ kind: 'nack', sequence: integerField(raw.sequence, 0, UINT32_MAX) }),
  record: (raw: Raw): RecordMessage => ({ kind: 'record', signed: signedRecordField(raw) }),
  suspect: (raw: Raw): Accusation => accusation('suspect', raw),
  dead: (raw: Raw): Accusation => accusation('dead', raw),
  syncRequest: (raw: Raw): SyncRequest => {
    const mode = SYNC_MODE_NAMES[integerField(raw.mode, 1, 4) - 1]!;
    const maskBytes = mode === 'buckets' ? BUCKET_MASK_BYTES : 0;
    const buckets = bytesField(raw.buckets, maskBytes, maskBytes);
    return {
      kind: 'syncRequest',
      source: idField(raw.source),
      mode,
      digest: {
        high: integerField(raw.digestHigh, 0, UINT32_MAX),
        low: integerField(raw.digestLow, 0, UINT32_MAX),
      },
      buckets: mode === 'buckets' ? buckets : undefined,
    };
  },
  syncResponse: (raw: Raw): SyncResponse => ({
    kind: 'syncResponse',
    source: idField(raw.source),
    same: raw.same === true,
    bucketDigests: optionalBytes(raw.bucketDigests, BUCKET_DIGEST_BYTES),
  }),
  memberState: (raw: Raw): MemberState => {
    return {
      kind: 'memberState',
      signed: signedRecordField(raw.record),
      status: STATUS_NAMES[integerField(raw.status, 1, STATUS_NAMES.length) - 1]!,
      statusAgeSeconds: integerField(raw.statusAge, 0, UINT32_MAX),
    };
  },
  forget: (raw: Raw): Forget => ({
    kind: 'forget',
    member: idField(raw.member),
    generation: integerField(raw.generation, 0, UINT32_MAX - 1),
    ageSeconds: integerField(raw.ageSeconds, 0, UINT32_MAX),
  }),
  keyRing: (raw: Raw): KeyRingMessage => ({ kind: 'keyRing', ring: keyRingField(raw) }),
  admission: (raw: Raw): AdmissionMessage => ({ kind: 'admission', signed: signedStatementField(raw) }),
};

function optionalBytes(value: unknown, length: number): Uint8Array | undefined {
  const bytes = bytesField(value, 0, length);
  check(bytes.length === 0 || bytes.length === length);
  return bytes.length === 0 ? undefined : bytes;
}

function accusation(kind: 'suspect' | 'dead', raw: Raw): Accusation {
  return {
    kind,
    member: idField(raw.member),
    incarnation: integerField(raw.incarnation, 1, UINT32_MAX),
    from: idField(raw.from),
  };
}

function rawMessage(message: Message): Raw {
  switch (message.kind) {
    case 'ping':
      return { ping: { sequence: message.sequence, target: message.target } };
    case 'pingRequest':
      return {
        pingRequest: {
          sequence: message.sequence,
          target: rawId(message.target),
          endpoint: rawEndpoint(message.endpoint),
        },
      };
    case 'ack':
      return { ack: { sequence: message.sequence, ...(message.toStranger && { toStranger: true }) } };
    case 'nack':
      return { nack: { sequence: message.sequence } };
    case 'record':
      return { record: rawSigned(message.signed) };
    case 'suspect':
    case 'dead':
      return {
        [message.kind]: {
          member: rawId(message.member),
          incarnation: message.incarnation,
          from: rawId(message.from),
        },
      };
    case 'syncRequest':
      return {
        syncRequest: {
          source: rawId(message.source),
          mode: 1 + SYNC_MODE_NAMES.indexOf(message.mode),
          digestHigh: message.digest.high,
          digestLow: message.digest.low,
          ...(message.buckets && { buckets: message.buckets }),
        },
      };
    case 'syncResponse':
      return {
        syncResponse: {
          source: rawId(message.source),
          same: message.same,
          ...(message.bucketDigests && { bucketDigests: message.bucketDigests }),
        },
      };
    case 'memberState':
      return {
        memberState: {
          record: rawSigned(message.signed),
          status: 1 + STATUS_NAMES.indexOf(message.status),
          statusAge: message.statusAgeSeconds,
        },
      };
    case 'forget':
      return {
        forget: {
          member: rawId(message.member),
          generation: message.generation,
          ageSeconds: message.ageSeconds,
        },
      };
    case 'keyRing':
      return { keyRing: rawKeyRing(message.ring) };
    case 'admission':
      return { admission: { statement: message.signed.bytes, signature: message.signed.signature } };
  }
}

function rawSigned(signed: SignedRecord): Raw {
  return { record: signed.bytes, signature: signed.signature };
}
