/** Messages of calls to and from bytes (proto/rpc.proto), each field checked; a decoder never throws. */
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '../identity.ts';
import { SESSION_BYTES } from '../link/seal.ts';
import {
  bytesField,
  check,
  type Decoded,
  guarded,
  idBytesField,
  idField,
  integerField,
  messageField,
  type Raw,
  rawId,
} from '../protobuf/fields.ts';
import {
  MAX_BODY_BYTES,
  MAX_MESSAGE_CHARACTERS,
  MAX_METHOD_CHARACTERS,
  MAX_TIMEOUT_MS,
  PIECE_BYTES,
} from './limits.ts';
import { answerMessageType, callMessageType, callType, outcomeType } from './proto.ts';

/** The outcome's code where the caller is not known, which may be a matter of seconds. */
export const STRANGER = 'RPC_STRANGER';

export const CALL_ID_BYTES = SESSION_BYTES + 8;
const HASH_BYTES = 32;
const MAX_CALL_BYTES = 512;
const MAX_OUTCOME_BYTES = 4 * (2 * MAX_MESSAGE_CHARACTERS + 64) + 64;

/** Its bytes are what is signed. */
export interface Call {
  readonly method: string;
  readonly caller: string;
  readonly publicKey: Uint8Array;
  readonly target: string;
  readonly targetSession: string;
  readonly id: CallId;
  readonly bodyBytes: number;
  /** SHA-256. */
  readonly bodyHash: Uint8Array;
  readonly timeoutMs: number;
}

/** Which call of which run of the caller's agent. */
export interface CallId {
  readonly session: string;
  readonly number: number;
}

export type CallMessage =
  | {
      readonly kind: 'call';
      readonly call: Call;
      readonly bytes: Uint8Array;
      readonly signature: Uint8Array;
    }
  | { readonly kind: 'piece'; readonly data: Uint8Array };

export type AnswerMessage =
  | { readonly kind: 'piece'; readonly data: Uint8Array; readonly more: boolean }
  | {
      readonly kind: 'outcome';
      readonly outcome: Outcome;
      readonly bytes: Uint8Array;
      readonly signature: Uint8Array;
    };

/** How a call came out. */
export interface Outcome {
  /** Empty: well. */
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Printable ASCII without blanks: it names a handler, and stands in logs. */
const METHOD = /^[a-z][A-Za-z0-9._-]*$/;
const CODE = /^(?:[A-Z][A-Z0-9_]{0,63})?$/;

export function isMethod(text: string): boolean {
  return text.length <= MAX_METHOD_CHARACTERS && METHOD.test(text);
}

export function encodeCall(call: Call): Uint8Array {
  return callType
    .encode({
      method: call.method,
      caller: rawId(call.caller),
      publicKey: call.publicKey,
      target: rawId(call.target),
      targetSession: rawId(call.targetSession),
      id: callIdBytes(call.id),
      bodyBytes: call.bodyBytes,
      bodyHash: call.bodyHash,
      timeout: call.timeoutMs,
    })
    .finish();
}

export function encodeSignedCall(bytes: Uint8Array, signature: Uint8Array): Uint8Array {
  return callMessageType.encode({ call: { call: bytes, signature } }).finish();
}

export function encodeCallPiece(data: Uint8Array): Uint8Array {
  return callMessageType.encode({ piece: data }).finish();
}

export function decodeCallMessage(message: Uint8Array): Decoded<CallMessage> {
  return guarded((): CallMessage => {
    const raw = callMessageType.decode(message) as unknown as Raw;
    if (raw.body === 'piece') return { kind: 'piece', data: bytesField(raw.piece, 1, PIECE_BYTES) };
    check(raw.body === 'call');
    const signed = messageField(raw.call);
    const bytes = bytesField(signed.call, 1, MAX_CALL_BYTES);
    const signature = bytesField(signed.signature, SIGNATURE_BYTES, SIGNATURE_BYTES);
    return { kind: 'call', call: callField(bytes), bytes, signature };
  });
}

function callField(bytes: Uint8Array): Call {
  const raw = callType.decode(bytes) as unknown as Raw;
  const { method } = raw;
  check(typeof method === 'string' && isMethod(method));
  const id = Buffer.from(bytesField(raw.id, CALL_ID_BYTES, CALL_ID_BYTES));
  const number = id.readBigUInt64BE(SESSION_BYTES);
  check(number > 0n && number <= BigInt(Number.MAX_SAFE_INTEGER));
  return {
    method,
    caller: idField(raw.caller),
    publicKey: bytesField(raw.publicKey, PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES),
    target: idField(raw.target),
    targetSession: idBytesField(raw.targetSession, SESSION_BYTES),
    id: { session: id.toString('hex', 0, SESSION_BYTES), number: Number(number) },
    bodyBytes: integerField(raw.bodyBytes, 0, MAX_BODY_BYTES),
    bodyHash: bytesField(raw.bodyHash, HASH_BYTES, HASH_BYTES),
    timeoutMs: integerField(raw.timeout, 1, MAX_TIMEOUT_MS),
  };
}

export function callIdBytes({ session, number }: CallId): Uint8Array {
  const bytes = Buffer.alloc(CALL_ID_BYTES);
  bytes.write(session, 'hex');
  bytes.writeBigUInt64BE(BigInt(number), SESSION_BYTES);
  return bytes;
}

export function encodeAnswerPiece(data: Uint8Array, more: boolean): Uint8Array {
  return answerMessageType.encode({ piece: { data, ...(more && { more }) } }).finish();
}

export function encodeOutcome({ code, message, hint }: Outcome): Uint8Array {
  const text = (value: string) => shownText(value).slice(0, MAX_MESSAGE_CHARACTERS);
  return outcomeType
    .encode({
      ...(code !== '' && { code: CODE.test(code) ? code : 'RPC_INTERNAL' }),
      ...(message !== '' && { message: text(message) }),
      ...(hint !== '' && { hint: text(hint) }),
    })
    .finish();
}

export function encodeSignedOutcome(bytes: Uint8Array, signature: Uint8Array): Uint8Array {
  return answerMessageType.encode({ outcome: { outcome: bytes, signature } }).finish();
}

export function decodeAnswerMessage(message: Uint8Array): Decoded<AnswerMessage> {
  return guarded((): AnswerMessage => {
    const raw = answerMessageType.decode(message) as unknown as Raw;
    if (raw.body === 'piece') {
      const piece = messageField(raw.piece);
      return { kind: 'piece', data: bytesField(piece.data, 0, PIECE_BYTES), more: piece.more === true };
    }
    check(raw.body === 'outcome');
    const signed = messageField(raw.outcome);
    const bytes = bytesField(signed.outcome, 0, MAX_OUTCOME_BYTES);
    const signature = bytesField(signed.signature, SIGNATURE_BYTES, SIGNATURE_BYTES);
    return { kind: 'outcome', outcome: outcomeField(bytes), bytes, signature };
  });
}

function outcomeField(bytes: Uint8Array): Outcome {
  const raw = outcomeType.decode(bytes) as unknown as Raw;
  const { code } = raw;
  check(typeof code === 'string' && CODE.test(code));
  return { code, message: textField(raw.message), hint: textField(raw.hint) };
}

function textField(value: unknown): string {
  check(typeof value === 'string' && value.length <= MAX_MESSAGE_CHARACTERS);
  return shownText(value);
}

/** Texts of other nodes end up in terminals and logs: nothing in them may steer those. */
function shownText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');
}
