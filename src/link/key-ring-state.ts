/**
 * What commands have done to the cluster's keys, as a value that merges: of each key the highest version
 * counts, and so it is with the primary. Merging is commutative, associative and idempotent, so all nodes end
 * with the same keys, whatever order the news comes in.
 *
 * Keys of a node's own key file that no command has touched are not in it; they are not shared.
 */

import { createHash } from 'node:crypto';
import {
  bytesField,
  check,
  idBytesField,
  integerField,
  listField,
  messageField,
  type Raw,
  UINT32_MAX,
} from '../protobuf/fields.ts';

export const KEY_BYTES = 32;
export const FINGERPRINT_BYTES = 8;
/** Each key is tried on a frame that does not open. */
export const MAX_KEYS = 8;
/**
 * Removed keys are remembered, so that a node that was away does not bring them back, nor a key file in which one
 * still stands: more than a cluster will ever have had.
 */
export const MAX_REMOVED = 1024;
/** As many as fit a datagram. */
const LATEST_REMOVED = 24;

export interface ClusterKey {
  /** First 8 bytes of the key's SHA-256, hexadecimal. */
  readonly fingerprint: string;
  readonly version: number;
  /** Undefined: removed. */
  readonly key: Uint8Array | undefined;
}

export interface KeyRingState {
  readonly keys: readonly ClusterKey[];
  readonly primary: string;
  /** 0: no command has chosen one. */
  readonly primaryVersion: number;
}

export const noKeyChanges: KeyRingState = {
  keys: [],
  primary: '0'.repeat(2 * FINGERPRINT_BYTES),
  primaryVersion: 0,
};

export function fingerprintOf(key: Uint8Array): string {
  return createHash('sha256')
    .update(key)
    .digest('hex')
    .slice(0, 2 * FINGERPRINT_BYTES);
}

export function mergeKeyRings(a: KeyRingState, b: KeyRingState): KeyRingState {
  const byFingerprint = new Map<string, ClusterKey>();
  for (const key of [...a.keys, ...b.keys]) {
    const known = byFingerprint.get(key.fingerprint);
    if (!known || supersedes(key, known)) byFingerprint.set(key.fingerprint, key);
  }
  const latestFirst = [...byFingerprint.values()].sort(
    (x, y) => y.version - x.version || (x.fingerprint < y.fingerprint ? -1 : 1),
  );
  const keys = [
    ...latestFirst.filter(({ key }) => key).slice(0, MAX_KEYS),
    ...latestFirst.filter(({ key }) => !key).slice(0, MAX_REMOVED),
  ];
  const primary =
    b.primaryVersion > a.primaryVersion || (b.primaryVersion === a.primaryVersion && b.primary > a.primary)
      ? b
      : a;
  return { keys, primary: primary.primary, primaryVersion: primary.primaryVersion };
}

/** What fits a datagram: the keys, and the latest of those removed. Push-pulls have the rest. */
export function latestChanges(state: KeyRingState): KeyRingState {
  const present = state.keys.filter(({ key }) => key);
  const removed = state.keys.filter(({ key }) => !key);
  removed.sort((a, b) => b.version - a.version);
  return { ...state, keys: [...present, ...removed.slice(0, LATEST_REMOVED)] };
}

/** The version of the next change. */
export function nextVersion({ keys, primaryVersion }: KeyRingState): number {
  return Math.min(UINT32_MAX, Math.max(primaryVersion, ...keys.map(({ version }) => version)) + 1);
}

/** 32 bits, equal for equal states; 0 when no command has changed anything. */
export function keyRingDigest(state: KeyRingState): number {
  if (state.keys.length === 0 && state.primaryVersion === 0) return 0;
  const text = [
    ...state.keys.map(({ fingerprint, version, key }) => `${fingerprint} ${version} ${key ? 1 : 0}`).sort(),
    `${state.primary} ${state.primaryVersion}`,
  ].join('\n');
  return createHash('sha256').update(text).digest().readInt32BE() | 1;
}

export function rawKeyRing({ keys, primary, primaryVersion }: KeyRingState): Raw {
  return {
    keys: keys.map(({ fingerprint, version, key }) => ({
      fingerprint: Buffer.from(fingerprint, 'hex'),
      version,
      ...(key && { key }),
    })),
    primary: Buffer.from(primary, 'hex'),
    primaryVersion,
  };
}

/** Throws what proto.ts's checks throw. */
export function keyRingField(raw: Raw): KeyRingState {
  return {
    keys: listField(raw.keys, MAX_KEYS + MAX_REMOVED).map(clusterKeyField),
    primary: idBytesField(raw.primary, FINGERPRINT_BYTES),
    primaryVersion: integerField(raw.primaryVersion, 0, UINT32_MAX),
  };
}

function clusterKeyField(value: unknown): ClusterKey {
  const raw = messageField(value);
  const fingerprint = idBytesField(raw.fingerprint, FINGERPRINT_BYTES);
  const version = integerField(raw.version, 1, UINT32_MAX);
  const key = bytesField(raw.key, 0, KEY_BYTES);
  if (key.length === 0) return { fingerprint, version, key: undefined };
  check(key.length === KEY_BYTES && fingerprintOf(key) === fingerprint);
  return { fingerprint, version, key };
}

/** At one version a removal wins. */
function supersedes(key: ClusterKey, known: ClusterKey): boolean {
  if (key.version !== known.version) return key.version > known.version;
  return key.key === undefined && known.key !== undefined;
}
