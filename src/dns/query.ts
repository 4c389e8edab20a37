/**
 * What somebody asks, read from a message's bytes. Never throws: whatever is not a question becomes the error that is
 * answered, or nothing where an answer would be wrong.
 */
import { decode } from 'dns-packet';
import { CLASS_IN, FLAG, HEADER_BYTES, MAX_QUERY_BYTES, OPCODE_MASK, RCODE, TYPE } from './constants.ts';

export interface Query {
  readonly id: number;
  /** The header's second word. */
  readonly flags: number;
  /** Lower case, without the dot at the end; the root is ''. */
  readonly name: string;
  readonly type: number;
  /** The question section as it came: answers repeat it, with the upper and lower case of whoever asks. */
  readonly question: Uint8Array;
  /** Undefined: whoever asks does not speak EDNS. */
  readonly edns: Edns | undefined;
}

export interface Edns {
  readonly udpBytes: number;
  /** DNSSEC records are wanted with the answer. */
  readonly isDnssecOk: boolean;
}

/** A message that gets an error for its answer. */
export interface BadQuery {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
  /** The question section, where it could be read. */
  readonly question: Uint8Array | undefined;
  readonly edns: Edns | undefined;
}

export type ReadQuery =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'bad'; readonly bad: BadQuery }
  /** Too short for a header, or an answer: two that answer each other's answers would never end. */
  | { readonly kind: 'ignored' };

/** More than an OPT record and a signature make no sense with a question. */
const MAX_ADDITIONALS = 2;
const QUESTION_TAIL_BYTES = 4;

export function readQuery(bytes: Uint8Array): ReadQuery {
  if (bytes.length < HEADER_BYTES) return { kind: 'ignored' };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const id = buffer.readUInt16BE(0);
  const flags = buffer.readUInt16BE(2);
  if ((flags & FLAG.qr) !== 0) return { kind: 'ignored' };
  const bad = (rcode: number, question?: Uint8Array, edns?: Edns): ReadQuery => ({
    kind: 'bad',
    bad: { id, flags, rcode, question, edns },
  });
  if ((flags & OPCODE_MASK) !== 0) return bad(RCODE.notImplemented);
  const [questions, answers, authorities, additionals] = [4, 6, 8, 10].map((at) => buffer.readUInt16BE(at));
  const isQuestion = questions === 1 && answers === 0 && authorities === 0;
  if (!isQuestion || additionals! > MAX_ADDITIONALS || bytes.length > MAX_QUERY_BYTES) {
    return bad(RCODE.formatError);
  }
  const nameEnd = endOfPlainName(buffer, HEADER_BYTES);
  if (nameEnd === undefined || nameEnd + QUESTION_TAIL_BYTES > buffer.length) return bad(RCODE.formatError);
  // A copy: the datagram's buffer is the socket's.
  const question = Uint8Array.from(buffer.subarray(HEADER_BYTES, nameEnd + QUESTION_TAIL_BYTES));
  const read = decoded(buffer);
  if (read === undefined) return bad(RCODE.formatError, question);
  const { edns, version } = read;
  if (version > 0) return bad(RCODE.badVersion, question, edns);
  const type = buffer.readUInt16BE(nameEnd);
  if (buffer.readUInt16BE(nameEnd + 2) !== CLASS_IN) return bad(RCODE.refused, question, edns);
  // Whole zones are nobody's business, and OPT is no record that could be asked for.
  if (type === TYPE.AXFR || type === TYPE.IXFR) return bad(RCODE.refused, question, edns);
  if (type === TYPE.OPT || type === 0) return bad(RCODE.formatError, question, edns);
  return { kind: 'query', query: { id, flags, name: read.name, type, question, edns } };
}

interface DecodedQuery {
  readonly name: string;
  readonly edns: Edns | undefined;
  /** Of EDNS; 0 without it. */
  readonly version: number;
}

/** Undefined where the message is not whole, or has two OPT records. */
function decoded(buffer: Buffer): DecodedQuery | undefined {
  try {
    const { questions, additionals } = decode(buffer);
    const name = questions?.[0]?.name ?? '';
    let edns: Edns | undefined;
    let version = 0;
    for (const record of additionals ?? []) {
      if (record.type !== 'OPT') continue;
      if (edns !== undefined) return undefined;
      edns = { udpBytes: record.udpPayloadSize, isDnssecOk: record.flag_do };
      version = record.ednsVersion;
    }
    return { name: name === '.' ? '' : name.toLowerCase(), edns, version };
  } catch {
    return undefined;
  }
}

/** Where a name ends that must not be compressed, as it is in a question; undefined if it does not. */
function endOfPlainName(buffer: Buffer, start: number): number | undefined {
  let at = start;
  while (at < buffer.length && at - start < 255) {
    const length = buffer[at]!;
    if (length === 0) return at + 1;
    if (length > 63) return undefined;
    at += 1 + length;
  }
  return undefined;
}
