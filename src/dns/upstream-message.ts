/**
 * Messages to and from the host's resolvers. Their records are never decoded: they go to whoever asks as they came, of
 * whatever type they are, with only the header, the times to live and the OPT record changed (RFC 3597). Never throws.
 */

import { optRecord } from './answer.ts';
import { FLAG, HEADER_BYTES, MAX_MESSAGE_BYTES, RCODE, TYPE, UDP_BYTES } from './constants.ts';
import type { Query } from './query.ts';

/** What was answered, without an OPT record. */
export interface UpstreamAnswer {
  readonly rcode: number;
  readonly isTruncated: boolean;
  /** There is no such name, or nothing of that type. */
  readonly isNegative: boolean;
  /** The whole message; its id and question mean nothing. */
  readonly bytes: Uint8Array;
  /** Where in `bytes` the times to live are. */
  readonly ttlOffsets: readonly number[];
  /** For how long it may be kept; 0: not at all. */
  readonly ttlSeconds: number;
}

/** A question to a resolver. `name` and type as in `query`, in lower case. */
export function upstreamQuery(query: Query, id: number): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG.rd | (query.flags & FLAG.cd), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const edns = { udpBytes: UDP_BYTES, isDnssecOk: query.edns?.isDnssecOk ?? false };
  return Buffer.concat([header, lowerCase(query.question), optRecord(edns, RCODE.noError)]);
}

/** What two questions have in common that have the same answer. */
export function questionKey({ question, flags, edns }: Query): string {
  const options = `${edns?.isDnssecOk ? 'd' : '-'}${(flags & FLAG.cd) === 0 ? '-' : 'c'}`;
  return options + Buffer.from(lowerCase(question)).toString('latin1');
}

/** Reads the answer to `asked`, which `upstreamQuery` made; undefined: it is none. */
export function readUpstream(bytes: Uint8Array, asked: Uint8Array): UpstreamAnswer | undefined {
  if (bytes.length < HEADER_BYTES || bytes.length > MAX_MESSAGE_BYTES) return undefined;
  const message = Buffer.from(bytes);
  const flags = message.readUInt16BE(2);
  const sent = Buffer.from(asked.buffer, asked.byteOffset, asked.length);
  if ((flags & FLAG.qr) === 0 || message.readUInt16BE(0) !== sent.readUInt16BE(0)) return undefined;
  const question = questionOf(sent);
  const rcode = flags & 15;
  const hasQuestion = message.readUInt16BE(4) === 1;
  if (
    !hasQuestion ||
    !lowerCase(message.subarray(HEADER_BYTES, HEADER_BYTES + question.length)).equals(question)
  )
    return undefined;
  return readSections(message, HEADER_BYTES + question.length, rcode, (flags & FLAG.tc) !== 0);
}

/** The answer to `query` that it is `ageSeconds` after it came; without records where those have no room. */
export function upstreamReply(
  query: Query,
  answer: UpstreamAnswer,
  ageSeconds: number,
  limit: number,
): Uint8Array {
  const opt = query.edns && optRecord(query.edns, answer.rcode);
  const isTooLong = answer.bytes.length + (opt?.length ?? 0) > limit;
  const end = isTooLong ? HEADER_BYTES + query.question.length : answer.bytes.length;
  const reply = Buffer.alloc(end + (opt?.length ?? 0));
  reply.set(answer.bytes.subarray(0, end));
  reply.writeUInt16BE(query.id, 0);
  const isTruncated = isTooLong || answer.isTruncated;
  const flags = FLAG.qr | FLAG.ra | (query.flags & (FLAG.rd | FLAG.cd)) | (isTruncated ? FLAG.tc : 0);
  reply.writeUInt16BE(flags | answer.rcode, 2);
  if (isTooLong) reply.fill(0, 6, HEADER_BYTES);
  else {
    for (const at of answer.ttlOffsets) {
      reply.writeUInt32BE(Math.max(0, reply.readUInt32BE(at) - Math.floor(ageSeconds)), at);
    }
  }
  reply.set(query.question, HEADER_BYTES);
  if (opt) {
    reply.writeUInt16BE(reply.readUInt16BE(10) + 1, 10);
    reply.set(opt, end);
  }
  return reply;
}

/** Undefined where a record is cut short. */
function readSections(
  message: Buffer,
  start: number,
  rcode: number,
  isTruncated: boolean,
): UpstreamAnswer | undefined {
  const counts = [6, 8, 10].map((at) => message.readUInt16BE(at));
  const ttlOffsets: number[] = [];
  let leastTtl = Number.POSITIVE_INFINITY;
  let soaMinimum: number | undefined;
  let at = start;
  let end = start;
  sections: for (const [section, count] of counts.entries()) {
    for (let i = 0; i < count; i++) {
      const owner = endOfName(message, at);
      if (owner === undefined || owner + 10 > message.length) return undefined;
      const type = message.readUInt16BE(owner);
      const ttl = message.readUInt32BE(owner + 4);
      const next = owner + 10 + message.readUInt16BE(owner + 8);
      if (next > message.length) return undefined;
      if (type === TYPE.OPT) {
        // An error that needs more than four bits is about what we asked, not about the name.
        if (section !== 2 || ttl >>> 24 !== 0) return undefined;
        // What stands behind it can be nothing but signatures of the message.
        message.writeUInt16BE(i, 10);
        break sections;
      }
      // A TTL with its highest bit set means 0 (RFC 2181, section 8).
      if (ttl > 0x7fff_ffff) message.writeUInt32BE(0, owner + 4);
      leastTtl = Math.min(leastTtl, message.readUInt32BE(owner + 4));
      ttlOffsets.push(owner + 4);
      // RFC 2308, section 5: the lesser of the SOA's own time and its last field, which is the last of its data.
      if (section === 1 && type === TYPE.SOA && next - owner >= 34)
        soaMinimum = message.readUInt32BE(next - 4);
      at = next;
      end = next;
    }
  }
  const isTold = rcode === RCODE.noError || rcode === RCODE.nameError;
  // An alias may lead to what is not there: then there is a SOA with it.
  const isNegative = rcode === RCODE.nameError || counts[0] === 0 || soaMinimum !== undefined;
  const mayKeep = isTold && !isTruncated && (!isNegative || soaMinimum !== undefined);
  return {
    rcode,
    isTruncated,
    isNegative,
    bytes: message.subarray(0, end),
    ttlOffsets,
    ttlSeconds: mayKeep ? Math.min(leastTtl, soaMinimum ?? leastTtl) : 0,
  };
}

/** Behind a name, which may end with a pointer; undefined if the message ends first. */
function endOfName(message: Buffer, start: number): number | undefined {
  let at = start;
  while (at < message.length && at - start <= 255) {
    const length = message[at]!;
    if (length === 0) return at + 1;
    if ((length & 0xc0) === 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if (length > 63) return undefined;
    at += 1 + length;
  }
  return undefined;
}

/** Of a message that `upstreamQuery` made. */
function questionOf(sent: Buffer): Buffer {
  return sent.subarray(HEADER_BYTES, endOfName(sent, HEADER_BYTES)! + 4);
}

/** Letters of a question's name; its type and class, the last four bytes, stay as they are. */
function lowerCase(question: Uint8Array): Buffer {
  const lower = Buffer.from(question);
  for (let i = 0; i < lower.length - 4; i++) {
    const byte = lower[i]!;
    // A label's length is 63 at most, below all letters.
    if (byte >= 0x41 && byte <= 0x5a) lower[i] = byte + 0x20;
  }
  return lower;
}
