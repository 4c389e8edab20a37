/**
 * The keys in use: those of the key file, changed by what commands (`warren key add|use|remove`) on any node
 * have done since. The changes are kept in the state folder, since the key file is the administrator's.
 */
import { join } from 'node:path';
import { errorMessage, WarrenError } from '../errors.ts';
import { readStateFile, writeStateFile } from '../state/state-file.ts';
import { z } from '../zod.ts';
import type { KeyRing } from './key-ring.ts';
import {
  fingerprintOf,
  KEY_BYTES,
  type KeyRingState,
  keyRingDigest,
  MAX_KEYS,
  MAX_REMOVED,
  mergeKeyRings,
  nextVersion,
  noKeyChanges,
} from './key-ring-state.ts';

export interface KeyChangeStore {
  load(): KeyRingState | undefined;
  /** Durable when it returns. */
  save(state: KeyRingState): void;
}

export class ClusterKeys implements KeyRing {
  readonly #fromFile: KeyRing;
  readonly #store: KeyChangeStore;
  #state: KeyRingState;
  #keys: readonly Uint8Array[];
  #problem: string | undefined;

  /** May throw the store's errors (STATE_CORRUPT), and KEY_INVALID if the file's keys have all been removed. */
  constructor(fromFile: KeyRing, store: KeyChangeStore = volatileKeyChanges()) {
    this.#fromFile = fromFile;
    this.#store = store;
    this.#state = store.load() ?? noKeyChanges;
    const keys = effectiveKeys(fromFile, this.#state);
    if (!keys) {
      throw new WarrenError('KEY_INVALID', 'every cluster key of this node has been removed', {
        hint: 'Copy the present key file of another node to cluster.keyFile.',
      });
    }
    this.#keys = keys;
  }

  /** The first seals. */
  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  get state(): KeyRingState {
    return this.#state;
  }

  get digest(): number {
    return keyRingDigest(this.#state);
  }

  get fingerprints(): string[] {
    return this.#keys.map(fingerprintOf);
  }

  /** Why what other nodes have told of is not on the disk. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /**
   * Takes over what another node knows; false if it is no news. A change that would leave no key is refused. Where
   * the disk refuses, the keys count all the same: see `problem`, and `save` again.
   */
  merge(other: KeyRingState): boolean {
    const merged = this.#merged(other);
    if (!merged) return false;
    this.#take(merged);
    this.save();
    return true;
  }

  save(): void {
    try {
      this.#store.save(this.#state);
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `cannot write the cluster's keys: ${errorMessage(error)}`;
    }
  }

  /** What a command here does is on the disk before it counts, and the command fails where that is not possible. */
  #change(change: KeyRingState): void {
    const merged = this.#merged(change);
    if (!merged) return;
    this.#store.save(merged.state);
    this.#take(merged);
  }

  #merged(other: KeyRingState): Merged | undefined {
    const state = mergeKeyRings(this.#state, other);
    if (keyRingDigest(state) === this.digest) return undefined;
    const keys = effectiveKeys(this.#fromFile, state);
    return keys && { state, keys };
  }

  #take({ state, keys }: Merged): void {
    this.#state = state;
    this.#keys = keys;
  }

  /** The fingerprint of the key, which from now on opens frames. */
  add(key: Uint8Array): string {
    if (key.length !== KEY_BYTES)
      throw new WarrenError('KEY_INVALID', `a cluster key has ${KEY_BYTES} bytes`);
    const fingerprint = fingerprintOf(key);
    if (this.fingerprints.includes(fingerprint)) {
      throw new WarrenError('KEY_EXISTS', `the cluster has the key ${fingerprint} already`);
    }
    if (this.#keys.length >= MAX_KEYS) {
      throw new WarrenError('KEY_LIMIT', `a cluster has ${MAX_KEYS} keys at most`, {
        hint: 'Remove one that is no longer used: warren key remove FINGERPRINT',
      });
    }
    const version = nextVersion(this.#state);
    this.#change({ ...noKeyChanges, keys: [{ fingerprint, version, key }] });
    return fingerprint;
  }

  use(fingerprint: string): void {
    const key = this.find(fingerprint);
    const version = nextVersion(this.#state);
    this.#change({ keys: [{ fingerprint, version, key }], primary: fingerprint, primaryVersion: version });
  }

  remove(fingerprint: string): void {
    this.find(fingerprint);
    if (this.fingerprints[0] === fingerprint) {
      throw new WarrenError('KEY_PRIMARY', `the key ${fingerprint} is in use`, {
        hint: 'Make another one primary first: warren key use FINGERPRINT',
      });
    }
    const version = nextVersion(this.#state);
    this.#change({ ...noKeyChanges, keys: [{ fingerprint, version, key: undefined }] });
  }

  find(fingerprint: string): Uint8Array {
    const key = this.#keys.find((one) => fingerprintOf(one) === fingerprint);
    if (key) return key;
    throw new WarrenError('KEY_UNKNOWN', `the cluster has no key ${fingerprint}`, {
      hint: '`warren key list` shows the fingerprints.',
    });
  }
}

interface Merged {
  readonly state: KeyRingState;
  readonly keys: readonly Uint8Array[];
}

/** Primary first, then the latest; undefined if none is left. */
function effectiveKeys(fromFile: KeyRing, state: KeyRingState): readonly Uint8Array[] | undefined {
  const touched = new Set(state.keys.map(({ fingerprint }) => fingerprint));
  const keys = [
    ...fromFile.keys.filter((key) => !touched.has(fingerprintOf(key))),
    ...state.keys.flatMap(({ key }) => key ?? []),
  ];
  const primary = keys.find((key) => fingerprintOf(key) === state.primary);
  if (keys.length === 0) return undefined;
  const ordered = primary ? [primary, ...keys.filter((key) => key !== primary)] : keys;
  return ordered.slice(0, MAX_KEYS);
}

const fingerprint = z.string().regex(/^[0-9a-f]{16}$/);
const storedSchema = z.object({
  primary: fingerprint,
  primaryVersion: z.number().int().min(0),
  keys: z
    .array(
      z.object({
        fingerprint,
        version: z.number().int().min(1),
        key: z.base64().optional(),
      }),
    )
    .max(MAX_KEYS + MAX_REMOVED),
});

/** Keeps the changes in `stateDir`/keys.json, which only its owner can read. */
export function fileKeyChanges(stateDir: string): KeyChangeStore {
  const path = join(stateDir, 'keys.json');
  return {
    load: () => {
      const stored = readStateFile(path, storedSchema, "the changes of the cluster's keys");
      return (
        stored && {
          ...stored,
          keys: stored.keys.map(({ key, ...rest }) => ({
            ...rest,
            key: key === undefined ? undefined : new Uint8Array(Buffer.from(key, 'base64')),
          })),
        }
      );
    },
    save: (state) =>
      writeStateFile(path, {
        ...state,
        keys: state.keys.map(({ key, ...rest }) => ({
          ...rest,
          ...(key && { key: Buffer.from(key).toString('base64') }),
        })),
      }),
  };
}

/** For tests and the simulator. */
export function volatileKeyChanges(): KeyChangeStore {
  let kept: KeyRingState | undefined;
  return {
    load: () => kept,
    save: (state) => {
      kept = state;
    },
  };
}
