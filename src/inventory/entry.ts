/**
 * One attachment as it travels: serialized once by its node, passed on byte for byte, so that its hash is the same
 * everywhere and fields that this version does not know survive.
 */

import { createHash } from 'node:crypto';
import { addressBytes } from '../ip/address.ts';
import { ATTACHMENT_TEXT } from '../names.ts';
import {
  addressField,
  bytesField,
  check,
  type Decoded,
  guarded,
  listField,
  messageField,
  type Raw,
  textField,
} from '../protobuf/fields.ts';
import type { InventoryEntry } from './inventory.ts';
import { entryType } from './proto.ts';

/** Per node. */
export const MAX_ENTRIES = 4096;
/** Of all entries of a node, serialized. */
export const MAX_INVENTORY_BYTES = 2 * 1024 * 1024;
/** Of an inventory: it goes into a protobuf uint32. */
export const MAX_VERSION = 0xffff_ffff;
/** Of one, serialized. */
export const MAX_ENTRY_BYTES = 4096;
export const MAX_ADDRESSES = 16;
/** A Kubernetes label key with its prefix has 317 characters. */
export const MAX_LABEL_KEY_LENGTH = 320;
export const MAX_LABEL_VALUE_LENGTH = 256;

export interface StoredEntry {
  readonly entry: InventoryEntry;
  /** What its node serialized. */
  readonly bytes: Uint8Array;
  /** SHA-256 of `bytes`, one character per byte. */
  readonly hash: string;
}

/** Stands before the entries' hashes, so that the result means nothing anywhere else. */
const HASH_CONTEXT = 'warren inventory 1\n';
/** As long as membership's INVENTORY_HASH_BYTES. */
const HASH_BYTES = 16;

/** What stands in the signed record for all these entries, hexadecimal. Their order does not matter. */
export function inventoryHash(entries: Iterable<StoredEntry>): string {
  const hashes = Array.from(entries, ({ hash }) => hash).sort();
  return createHash('sha256')
    .update(HASH_CONTEXT)
    .update(hashes.join(''), 'latin1')
    .digest('hex')
    .slice(0, 2 * HASH_BYTES);
}

export const EMPTY_HASH = inventoryHash([]);

/** Checks every field against its bounds. */
export function decodeEntry(bytes: Uint8Array): Decoded<StoredEntry> {
  return guarded(() => {
    check(bytes.length <= MAX_ENTRY_BYTES);
    const raw = entryType.decode(bytes) as unknown as Raw;
    const entry: InventoryEntry = {
      id: textField(raw.id, 1, ATTACHMENT_TEXT.maxId),
      name: textField(raw.name, 1, ATTACHMENT_TEXT.maxName),
      addresses: listField(raw.addresses, MAX_ADDRESSES).map(addressField),
      network: textField(raw.network, 0, ATTACHMENT_TEXT.maxNetwork),
      labels: labelsField(raw.labels),
    };
    return stored(entry, bytesField(bytes, 0, MAX_ENTRY_BYTES));
  });
}

/**
 * For an entry of this node's own. Labels that break a bound are left out, and counted in `omittedLabels`: they may
 * be anything that a person wrote into a Dockerfile. Undefined if something else breaks one.
 */
export function encodeEntry(
  entry: InventoryEntry,
): { readonly stored: StoredEntry; readonly omittedLabels: number } | undefined {
  const all = Object.entries(entry.labels);
  const labels = all
    .filter(
      ([key, value]) => isText(key, 1, MAX_LABEL_KEY_LENGTH) && isText(value, 0, MAX_LABEL_VALUE_LENGTH),
    )
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .slice(0, ATTACHMENT_TEXT.maxLabels);
  for (;;) {
    const bytes = serialized(entry, labels);
    if (bytes.length <= MAX_ENTRY_BYTES) {
      const decoded = decodeEntry(bytes);
      return decoded.ok ? { stored: decoded.value, omittedLabels: all.length - labels.length } : undefined;
    }
    if (labels.pop() === undefined) return undefined;
  }
}

function serialized(entry: InventoryEntry, labels: readonly (readonly [string, string])[]): Uint8Array {
  const raw = {
    id: entry.id,
    name: entry.name,
    addresses: entry.addresses.map(addressBytes),
    ...(entry.network !== '' && { network: entry.network }),
    labels: labels.map(([key, value]) => ({ key, value })),
  };
  return new Uint8Array(entryType.encode(raw).finish());
}

function stored(entry: InventoryEntry, bytes: Uint8Array): StoredEntry {
  return { entry, bytes, hash: createHash('sha256').update(bytes).digest().toString('latin1') };
}

function labelsField(value: unknown): Readonly<Record<string, string>> {
  const labels = listField(value, ATTACHMENT_TEXT.maxLabels).map((item) => {
    const raw = messageField(item);
    return [
      textField(raw.key, 1, MAX_LABEL_KEY_LENGTH),
      textField(raw.value, 0, MAX_LABEL_VALUE_LENGTH),
    ] as const;
  });
  for (const [i, [key]] of labels.entries()) check(i === 0 || labels[i - 1]![0] < key);
  return Object.fromEntries(labels);
}

function isText(text: string, minLength: number, maxLength: number): boolean {
  return guarded(() => textField(text, minLength, maxLength)).ok;
}
