/** A node's record: what it says of itself, serialized once, signed, and passed on byte for byte. */

import {
  type Identity,
  idOfPublicKey,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  verifySignature,
} from '../identity.ts';
import { MAX_MTU, MIN_MTU } from '../ip/mtu.ts';
import { SESSION_BYTES } from '../link/seal.ts';
import {
  bytesField,
  check,
  type Decoded,
  endpointField,
  guarded,
  idBytesField,
  integerField,
  listField,
  messageField,
  nameField,
  prefixField,
  type Raw,
  rawEndpoint,
  rawId,
  rawPrefix,
} from '../protobuf/fields.ts';
import { nodeRecordType } from './proto.ts';
import type {
  Encapsulation,
  InventoryMark,
  LeaseClaim,
  NodeRecord,
  PostQuantum,
  SignedRecord,
} from './types.ts';

/**
 * 16 IPv6 prefixes, two IPv6 endpoints, keys and the longest name take less. Agents of 0.1.0 take 640, and what agents say has
 * two prefixes.
 */
export const MAX_RECORD_BYTES = 704;
export const MAX_PREFIXES = 16;
export const MAX_INCARNATION = 0xffff_ffff;
export const MAX_GENERATION = 0xffff_ffff;
export const INVENTORY_HASH_BYTES = 16;
export const POLICY_HASH_BYTES = 16;

/** Stands before the record in what is signed, so that the signature means nothing anywhere else. */
export const SIGNING_CONTEXT = Buffer.from('warren node record 1\n');

const ENCAPSULATION = { unknown: 0, 'vxlan-gpe': 1, wireguard: 2 } as const;
const TUNNEL_KEY_BYTES = 32;
const KEY_HASH_BYTES = 32;
const LEASE_STATE = { claiming: 1, active: 2 } as const;

/** Serializes and signs the record of `identity`'s own node. */
export function signRecord(
  identity: Identity,
  content: Omit<NodeRecord, 'id' | 'publicKey'>,
): { readonly record: NodeRecord; readonly signed: SignedRecord } {
  const record: NodeRecord = { ...content, id: identity.id, publicKey: identity.publicKey };
  const bytes = encodeRecord(record);
  return { record, signed: { bytes, signature: identity.sign(signedBytes(bytes)) } };
}

/** Whether the owner of the record's key signed exactly these bytes; about 0.1 ms. */
export function verifyRecord(record: NodeRecord, signed: SignedRecord): boolean {
  return verifySignature(record.publicKey, signedBytes(signed.bytes), signed.signature);
}

/** Checks every field; the signature is the caller's to verify, once it knows that the record is news. */
export function decodeRecord(bytes: Uint8Array): Decoded<NodeRecord> {
  return guarded(() => {
    check(bytes.length <= MAX_RECORD_BYTES);
    const raw = nodeRecordType.decode(bytes) as unknown as Raw;
    const publicKey = bytesField(raw.publicKey, PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES);
    return {
      id: idOfPublicKey(publicKey),
      publicKey,
      incarnation: integerField(raw.incarnation, 1, MAX_INCARNATION),
      name: nameField(raw.name),
      gossip: endpointField(raw.gossip),
      vtep: endpointField(raw.vtep),
      encapsulation: encapsulationField(raw),
      lease: leaseField(raw.lease),
      left: raw.left === true,
      session: Buffer.from(bytesField(raw.session, SESSION_BYTES, SESSION_BYTES)).toString('hex'),
      generation: integerField(raw.generation, 0, MAX_GENERATION),
      mtu: mtuField(raw.mtu),
      inventory: inventoryField(raw.inventory),
      ...postQuantumField(raw.postQuantum),
      ...policyHashField(raw.policyHash),
    };
  });
}

export function encodeRecord(record: NodeRecord): Uint8Array {
  const { encapsulation, lease, mtu, inventory, postQuantum, policyHash } = record;
  const tunnelKey =
    encapsulation.type === 'vxlan-gpe'
      ? encapsulation.tunnelKey
      : encapsulation.type === 'wireguard' && encapsulation.publicKey;
  const raw = {
    publicKey: record.publicKey,
    incarnation: record.incarnation,
    name: record.name,
    gossip: rawEndpoint(record.gossip),
    vtep: rawEndpoint(record.vtep),
    encapsulation: ENCAPSULATION[encapsulation.type],
    vni: encapsulation.type === 'vxlan-gpe' ? encapsulation.vni : 0,
    left: record.left,
    session: rawId(record.session),
    generation: record.generation,
    partialChecksums: encapsulation.type === 'vxlan-gpe' && encapsulation.partialChecksums,
    ...(tunnelKey && { tunnelKey }),
    ...(lease && { lease: rawLease(lease) }),
    ...(mtu !== undefined && { mtu }),
    ...(inventory && { inventory: { version: inventory.version, hash: rawId(inventory.hash) } }),
    ...(postQuantum && { postQuantum: { ...postQuantum } }),
    ...(policyHash !== undefined && { policyHash: rawId(policyHash) }),
  };
  return new Uint8Array(nodeRecordType.encode(raw).finish());
}

export function sameSignedRecord(a: SignedRecord, b: SignedRecord): boolean {
  return Buffer.compare(a.bytes, b.bytes) === 0;
}

/** Lengths only: the record inside is checked by `decodeRecord`. */
export function signedRecordField(value: unknown): SignedRecord {
  const raw = messageField(value);
  return {
    bytes: bytesField(raw.record, 1, MAX_RECORD_BYTES),
    signature: bytesField(raw.signature, SIGNATURE_BYTES, SIGNATURE_BYTES),
  };
}

function encapsulationField(raw: Raw): Encapsulation {
  if (raw.encapsulation === ENCAPSULATION.wireguard) {
    const publicKey = bytesField(raw.tunnelKey, TUNNEL_KEY_BYTES, TUNNEL_KEY_BYTES);
    return { type: 'wireguard', publicKey: new Uint8Array(publicKey) };
  }
  if (raw.encapsulation !== ENCAPSULATION['vxlan-gpe']) return { type: 'unknown' };
  const tunnelKey = bytesField(raw.tunnelKey, 0, TUNNEL_KEY_BYTES);
  check(tunnelKey.length === 0 || tunnelKey.length === TUNNEL_KEY_BYTES);
  return {
    type: 'vxlan-gpe',
    vni: integerField(raw.vni, 0, 0xff_ffff),
    partialChecksums: raw.partialChecksums === true,
    ...(tunnelKey.length > 0 && { tunnelKey: new Uint8Array(tunnelKey) }),
  };
}

function leaseField(value: unknown): LeaseClaim | undefined {
  if (value === undefined || value === null) return undefined;
  const raw = messageField(value);
  check(raw.state === LEASE_STATE.claiming || raw.state === LEASE_STATE.active);
  const prefixes = listField(raw.prefixes, MAX_PREFIXES).map(prefixField);
  check(prefixes.length > 0);
  return {
    state: raw.state === LEASE_STATE.active ? 'active' : 'claiming',
    prefixes,
    sinceSeconds: integerField(raw.since, 0, 0xffff_ffff),
    inUse: raw.inUse === true,
    reclaims: integerField(raw.reclaims, 0, 0xffff_ffff),
    ...(raw.assigned === true && { isAssigned: true }),
  };
}

/** 0 reads as absent: agents of 0.1.0 do not say. */
function mtuField(value: unknown): number | undefined {
  const mtu = integerField(value, 0, MAX_MTU);
  check(mtu === 0 || mtu >= MIN_MTU);
  return mtu === 0 ? undefined : mtu;
}

function inventoryField(value: unknown): InventoryMark | undefined {
  if (value === undefined || value === null) return undefined;
  const raw = messageField(value);
  return {
    version: integerField(raw.version, 1, 0xffff_ffff),
    hash: idBytesField(raw.hash, INVENTORY_HASH_BYTES),
  };
}

function postQuantumField(value: unknown): { readonly postQuantum?: PostQuantum } {
  if (value === undefined || value === null) return {};
  const keyHash = bytesField(messageField(value).keyHash, 0, KEY_HASH_BYTES);
  check(keyHash.length === 0 || keyHash.length === KEY_HASH_BYTES);
  return { postQuantum: keyHash.length === 0 ? {} : { keyHash } };
}

function policyHashField(value: unknown): { readonly policyHash?: string } {
  const hash = bytesField(value, 0, POLICY_HASH_BYTES);
  return hash.length === 0 ? {} : { policyHash: idBytesField(hash, POLICY_HASH_BYTES) };
}

function rawLease(lease: LeaseClaim): Raw {
  return {
    state: LEASE_STATE[lease.state],
    prefixes: lease.prefixes.map(rawPrefix),
    since: lease.sinceSeconds,
    inUse: lease.inUse,
    reclaims: lease.reclaims,
    ...(lease.isAssigned && { assigned: true }),
  };
}

function signedBytes(record: Uint8Array): Uint8Array {
  return Buffer.concat([SIGNING_CONTEXT, record]);
}
