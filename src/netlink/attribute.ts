/**
 * Netlink attributes: what follows a message's fixed header (linux/netlink.h, struct nlattr). Lengths and types are
 * in the machine's byte order, which is little-endian on all that warren runs on; each attribute starts at a
 * multiple of four bytes.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------------------------------+-+-+---------------------------+
 *     | length, these 4 bytes included|N|O|            type           |
 *     +-------------------------------+-+-+---------------------------+
 *     | value, or attributes again (N: nested; O: in network order)   |
 *     +---------------------------------------------------------------+
 */
import { NLA_F_NESTED } from './constants.ts';
import { malformed } from './error.ts';

const HEADER_BYTES = 4;
/** NLA_TYPE_MASK: a type without its two flags. */
const TYPE_BITS = 0x3fff;

/** An attribute as bytes, with its padding. */
export function attribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(align(HEADER_BYTES + value.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, HEADER_BYTES + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, HEADER_BYTES);
  return bytes;
}

export function nested(type: number, ...attributes: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concat(attributes));
}

/** A 32-bit number in the machine's order; a signed one has the same bytes. */
export function u32(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return attribute(type, bytes);
}

/** A 32-bit number in network order, as nf_tables has them. */
export function be32(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return attribute(type, bytes);
}

/** A string with its closing NUL. */
export function text(type: number, value: string): Uint8Array {
  return attribute(type, new TextEncoder().encode(`${value}\0`));
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  return bytes;
}

/** Attributes in the order of `bytes`, each with its type and value; a list has several of one type. */
export function attributeList(bytes: Uint8Array): [type: number, value: Uint8Array][] {
  const view = viewOf(bytes);
  const found: [number, Uint8Array][] = [];
  let offset = 0;
  while (offset + HEADER_BYTES <= bytes.length) {
    const length = view.getUint16(offset, true);
    if (length < HEADER_BYTES || offset + length > bytes.length) {
      throw malformed(`an attribute of ${length} bytes where ${bytes.length - offset} are left`);
    }
    const type = view.getUint16(offset + 2, true) & TYPE_BITS;
    found.push([type, bytes.subarray(offset + HEADER_BYTES, offset + length)]);
    offset += align(length);
  }
  return found;
}

/** The attributes of `bytes` by type; of several of one type the last one. */
export function attributes(bytes: Uint8Array): ReadonlyMap<number, Uint8Array> {
  return new Map(attributeList(bytes));
}

export function readU32(value: Uint8Array | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : viewOf(value).getUint32(0, true);
}

export function readS32(value: Uint8Array | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : viewOf(value).getInt32(0, true);
}

/** Up to the first NUL. */
export function readText(value: Uint8Array | undefined): string | undefined {
  if (value === undefined) return undefined;
  const end = value.indexOf(0);
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end));
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The next multiple of four (NLA_ALIGN, NLMSG_ALIGN). */
export function align(length: number): number {
  return (length + 3) & ~3;
}
