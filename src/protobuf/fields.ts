/**
 * Field checks that every decoder of protobuf messages shares. What protobufjs hands out has the right wire types
 * and nothing more: it is `Raw` until each field has been checked against its bounds.
 */

import { ID_BYTES } from '../identity.ts';
import { addressBits, addressBytes, addressFromBytes } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { type Prefix, prefixOf } from '../ip/prefix.ts';
import { NODE_NAME, UNPRINTABLE } from '../names.ts';

/** Why a message was not accepted; counted by name. */
export type MessageRefusal = 'malformed' | 'field' | 'signature';

export type Decoded<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: MessageRefusal };

/** A decoded protobuf message whose values nobody has looked at. */
export type Raw = Readonly<Record<string, unknown>>;

/** Thrown by the checks below, and caught where decoding began: it never leaves the codec. */
class OutOfBounds extends Error {}

/** Runs a decoder: protobufjs's errors become `malformed`, those of the checks below `field`. */
export function guarded<T>(decode: () => T): Decoded<T> {
  try {
    return { ok: true, value: decode() };
  } catch (error) {
    return { ok: false, reason: error instanceof OutOfBounds ? 'field' : 'malformed' };
  }
}

/** The most that protobuf's uint32 holds. */
export const UINT32_MAX = 0xffff_ffff;

export function check(holds: boolean): asserts holds {
  if (!holds) throw new OutOfBounds();
}

export function integerField(value: unknown, min: number, max: number): number {
  check(typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max);
  return value;
}

/** A copy: the datagram's buffer is the transport's. */
export function bytesField(value: unknown, minBytes: number, maxBytes: number): Uint8Array {
  check(value instanceof Uint8Array || (Array.isArray(value) && value.length === 0));
  check(value.length >= minBytes && value.length <= maxBytes);
  return new Uint8Array(value);
}

export function idField(value: unknown): string {
  return idBytesField(value, ID_BYTES);
}

/** Exactly so many bytes, in hexadecimal. */
export function idBytesField(value: unknown, length: number): string {
  check(value instanceof Uint8Array && value.length === length);
  return Buffer.from(value.buffer, value.byteOffset, length).toString('hex');
}

/** The name of a node or pod. */
export function nameField(value: unknown): string {
  check(typeof value === 'string' && NODE_NAME.test(value));
  return value;
}

/** Text that may be shown as it is; lengths in UTF-16 units. */
export function textField(value: unknown, minLength: number, maxLength: number): string {
  check(typeof value === 'string' && value.length >= minLength && value.length <= maxLength);
  check(!UNPRINTABLE.test(value));
  return value;
}

export function listField(value: unknown, maxItems: number): readonly unknown[] {
  check(Array.isArray(value) && value.length <= maxItems);
  return value;
}

export function messageField(value: unknown): Raw {
  check(typeof value === 'object' && value !== null);
  return value as Raw;
}

export function addressField(value: unknown) {
  const bytes = bytesField(value, 4, 16);
  check(bytes.length === 4 || bytes.length === 16);
  return addressFromBytes(bytes);
}

/** Addresses that no node can be reached at (unspecified, multicast, IPv4 broadcast) are refused. */
export function endpointField(value: unknown): Endpoint {
  const { address: rawAddress, port } = messageField(value);
  const address = addressField(rawAddress);
  const topBits = Number(address.value >> BigInt(addressBits(address.family) - 8));
  check(address.value !== 0n && (address.family === 4 ? topBits < 224 && topBits > 0 : topBits !== 0xff));
  return { address, port: integerField(port, 1, 65_535) };
}

export function prefixField(value: unknown): Prefix {
  const raw = messageField(value);
  const address = addressField(raw.address);
  const prefix = prefixOf(address, integerField(raw.length, 0, addressBits(address.family)));
  check(prefix.value === address.value);
  return prefix;
}

export function rawId(id: string): Uint8Array {
  return Buffer.from(id, 'hex');
}

export function rawEndpoint(endpoint: Endpoint): Raw {
  return { address: addressBytes(endpoint.address), port: endpoint.port };
}

export function rawPrefix(prefix: Prefix): Raw {
  return { address: addressBytes(prefix), length: prefix.length };
}
