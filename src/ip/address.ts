/**
 * IP addresses in the control plane: a family and the address as one unsigned big-endian integer, so that
 * subnet arithmetic is plain arithmetic. The packet path never uses these: there an address is one int32
 * (IPv4) or four (IPv6), see `addressWords`.
 */
import { isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';
import { WarrenError } from '../errors.ts';

export type Family = 4 | 6;

export interface IpAddress {
  readonly family: Family;
  /** 0 to 2^32-1 (IPv4) or 2^128-1 (IPv6). */
  readonly value: bigint;
}

export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Parses `192.0.2.1` or `2001:db8::1`; an IPv4-mapped IPv6 address becomes IPv4. */
export function parseAddress(text: string): IpAddress {
  // As ipaddr.js has it, each question parses anew; this is done for each datagram of gossip.
  if (isIPv4(text)) return addressFromBytes(Uint8Array.from(ipaddr.IPv4.parse(text).octets));
  if (!ipaddr.IPv6.isValid(text) || text.includes('%')) {
    throw new WarrenError('ADDRESS_INVALID', `"${text}" is not an IP address`);
  }
  return addressFromBytes(Uint8Array.from(ipaddr.process(text).toByteArray()));
}

export function formatAddress(address: IpAddress): string {
  const parsed = ipaddr.fromByteArray([...addressBytes(address)]);
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
}

/** Network byte order: 4 bytes (IPv4) or 16 (IPv6). */
export function addressBytes(address: IpAddress): Uint8Array {
  const bytes = new Uint8Array(addressBits(address.family) / 8);
  let rest = address.value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return bytes;
}

export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length !== 4 && bytes.length !== 16) {
    throw new WarrenError('ADDRESS_INVALID', `an IP address has 4 or 16 bytes, not ${bytes.length}`);
  }
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

/** The address as big-endian int32 words: one (IPv4) or four (IPv6), the form the packet path uses. */
export function addressWords(address: IpAddress): Int32Array {
  const words = new Int32Array(addressBits(address.family) / 32);
  for (let i = 0; i < words.length; i++) {
    words[i] = Number((address.value >> BigInt(32 * (words.length - 1 - i))) & 0xffffffffn) | 0;
  }
  return words;
}

/** The inverse of `addressWords`. */
export function addressFromWords(words: Int32Array): IpAddress {
  const bytes = Buffer.alloc(4 * words.length);
  for (const [i, word] of words.entries()) bytes.writeInt32BE(word, 4 * i);
  return addressFromBytes(bytes);
}

export function sameAddress(a: IpAddress, b: IpAddress): boolean {
  return a.family === b.family && a.value === b.value;
}
