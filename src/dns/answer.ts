/**
 * Answers of this node's own, as bytes: header, the question as it came, records, and an OPT record for whoever speaks
 * EDNS. Records whose owner is the asked name refer to the question's copy of it. What does not fit is left out, and
 * with it the whole rest; of the answer section that sets TC, so that whoever asks comes again over TCP.
 */
import { type Answer, encode } from 'dns-packet';
import { addressBytes, type IpAddress } from '../ip/address.ts';
import {
  CLASS_IN,
  FLAG,
  HEADER_BYTES,
  MAX_MESSAGE_BYTES,
  OPCODE_MASK,
  PLAIN_UDP_BYTES,
  TYPE,
  UDP_BYTES,
} from './constants.ts';
import type { BadQuery, Edns, Query } from './query.ts';

/** A or AAAA: of a service there are many, so they do without dns-packet. */
export interface AddressRecord {
  readonly type: 'address';
  readonly name: string;
  readonly ttl: number;
  readonly address: IpAddress;
}

/** `name` is the owner; where it is the asked one, it is '@'. */
export type Rr = Answer | AddressRecord;

export const ASKED = '@';

export interface LocalAnswer {
  readonly rcode: number;
  readonly answers: readonly Rr[];
  readonly authorities?: readonly Rr[];
  readonly additionals?: readonly Rr[];
}

/** Bytes of an OPT record without options. */
const OPT_BYTES = 11;
/** Flags of the answer that are the query's own. */
const KEPT_FLAGS = OPCODE_MASK | FLAG.rd | FLAG.cd;

/** The most that an answer to it may have. */
export function answerLimit(edns: Edns | undefined, via: 'udp' | 'tcp'): number {
  if (via === 'tcp') return MAX_MESSAGE_BYTES;
  return edns === undefined ? PLAIN_UDP_BYTES : Math.max(PLAIN_UDP_BYTES, Math.min(edns.udpBytes, UDP_BYTES));
}

export function encodeAnswer(query: Query, answer: LocalAnswer, limit: number): Uint8Array {
  const room = limit - (query.edns ? OPT_BYTES : 0);
  const parts: Uint8Array[] = [query.question];
  let bytes = HEADER_BYTES + query.question.length;
  let isFull = false;
  const add = (records: readonly Rr[] | undefined): number => {
    let count = 0;
    for (const record of records ?? []) {
      if (isFull) break;
      const encoded = encodeRecord(record);
      isFull = bytes + encoded.length > room;
      if (isFull) break;
      parts.push(encoded);
      bytes += encoded.length;
      count++;
    }
    return count;
  };
  const answers = add(answer.answers);
  const isTruncated = isFull;
  const counts = [1, answers, add(answer.authorities), add(answer.additionals)];
  const flags = FLAG.aa | (isTruncated ? FLAG.tc : 0);
  return message(query, flags, answer.rcode, counts, parts);
}

/** An error without records. */
export function encodeError(query: Query | BadQuery, rcode: number): Uint8Array {
  const { question } = query;
  return message(query, 0, rcode, [question ? 1 : 0, 0, 0, 0], question ? [question] : []);
}

/** The OPT record of an answer to whoever sent one. */
export function optRecord(edns: Edns, rcode: number): Uint8Array {
  const opt = Buffer.alloc(OPT_BYTES);
  opt.writeUInt16BE(41, 1);
  opt.writeUInt16BE(UDP_BYTES, 3);
  opt.writeUInt8(rcode >> 4, 5);
  opt.writeUInt16BE(edns.isDnssecOk ? 0x8000 : 0, 7);
  return opt;
}

function message(
  { id, flags, edns }: Query | BadQuery,
  more: number,
  rcode: number,
  counts: readonly number[],
  parts: readonly Uint8Array[],
): Uint8Array {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG.qr | FLAG.ra | (flags & KEPT_FLAGS) | more | (rcode & 15), 2);
  counts.forEach((count, i) => {
    header.writeUInt16BE(count + (i === 3 && edns ? 1 : 0), 4 + 2 * i);
  });
  return Buffer.concat([header, ...parts, ...(edns ? [optRecord(edns, rcode)] : [])]);
}

/** The question's name stands right behind the header. */
const POINTER_TO_ASKED = Buffer.from([0xc0, HEADER_BYTES]);

function encodeRecord(record: Rr): Uint8Array {
  if (record.type === 'address') return encodeAddress(record);
  // dns-packet compresses no names: it encodes the record with the root for its owner, one byte, and ours goes there.
  const whole = encode({ type: 'response', answers: [{ ...record, name: '.' } as Answer] });
  return Buffer.concat([ownerBytes(record.name), whole.subarray(HEADER_BYTES + 1)]);
}

function encodeAddress({ name, ttl, address }: AddressRecord): Uint8Array {
  const owner = ownerBytes(name);
  const data = addressBytes(address);
  const record = Buffer.alloc(owner.length + 10 + data.length);
  record.set(owner);
  record.writeUInt16BE(address.family === 4 ? TYPE.A : TYPE.AAAA, owner.length);
  record.writeUInt16BE(CLASS_IN, owner.length + 2);
  record.writeUInt32BE(ttl, owner.length + 4);
  record.writeUInt16BE(data.length, owner.length + 8);
  record.set(data, owner.length + 10);
  return record;
}

function ownerBytes(name: string): Uint8Array {
  return name === ASKED ? POINTER_TO_ASKED : encodeName(name);
}

function encodeName(name: string): Uint8Array {
  const whole = encode({ type: 'query', questions: [{ type: 'A', name }] });
  return whole.subarray(HEADER_BYTES, whole.length - 4);
}
