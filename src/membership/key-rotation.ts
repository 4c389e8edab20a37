/**
 * How changes of the cluster's keys spread: in broadcasts, with every push-pull, and in the answer to a node that
 * still seals with an earlier key. The commands that change keys are in keys/.
 */

import type { TimerGroup } from '../clock.ts';
import type { ClusterKeys } from '../link/cluster-keys.ts';
import { type KeyRingState, keyRingDigest, latestChanges } from '../link/key-ring-state.ts';
import type { ClusterKeyBytes } from '../link/seal.ts';
import type { Logger } from '../log/logger.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import { encodeMessage } from './codec.ts';
import type { Roster } from './roster.ts';

export interface KeyRotationOptions {
  readonly keys: ClusterKeys | undefined;
  readonly roster: Roster;
  readonly broadcasts: BroadcastQueue;
  readonly logger: Logger;
  readonly timers: TimerGroup;
  /** There is news to tell. */
  readonly wake: () => void;
}

/** No member's id. */
const BROADCAST_KEY = 'keys';
/** After the disk refused. */
const RETRY_MS = 10_000;

export class KeyRotation {
  readonly #options: KeyRotationOptions;
  #digest: number;
  #isSaveDue = false;

  constructor(options: KeyRotationOptions) {
    this.#options = options;
    this.#digest = 0;
    this.#noteDigest();
  }

  /** News from another node. */
  merge(ring: KeyRingState): void {
    const { keys, logger } = this.#options;
    if (!keys?.merge(ring)) return;
    logger.info({ keys: keys.fingerprints.join(' ') }, "the cluster's keys have changed");
    if (keys.problem) this.#saveLater(keys);
    this.announce();
  }

  #saveLater(keys: ClusterKeys): void {
    if (this.#isSaveDue) return;
    this.#isSaveDue = true;
    this.#options.logger.error(`${keys.problem}; trying again`);
    this.#options.timers.after(RETRY_MS, () => {
      this.#isSaveDue = false;
      keys.save();
      if (keys.problem) this.#saveLater(keys);
    });
  }

  /**
   * The key changes to send to a node whose frames were sealed with `key`; none if that is the key in use. A node that
   * was cut off while the keys changed can open nothing sealed with a newer key, so it gets them under its own.
   */
  keyUpdateFor(key: ClusterKeyBytes | undefined): Uint8Array[] {
    const { keys } = this.#options;
    if (!keys || key === undefined || key === keys.keys[0]) return [];
    return [encodeMessage({ kind: 'keyRing', ring: latestChanges(keys.state) })];
  }

  /** After a command has changed them here. */
  announce(): void {
    const { keys, broadcasts, wake } = this.#options;
    if (!keys) return;
    this.#noteDigest();
    broadcasts.put(BROADCAST_KEY, encodeMessage({ kind: 'keyRing', ring: latestChanges(keys.state) }));
    wake();
  }

  /** Key changes are part of the table's digest, so that a push-pull finds out who missed them. */
  #noteDigest(): void {
    const { keys, roster } = this.#options;
    const digest = keys ? keyRingDigest(keys.state) : 0;
    if (digest === this.#digest) return;
    if (this.#digest !== 0) roster.table.digest.toggle(NO_ID, this.#digest);
    if (digest !== 0) roster.table.digest.toggle(NO_ID, digest);
    this.#digest = digest;
  }
}

/** The bucket of key changes is that of no node in particular. */
const NO_ID = '0'.repeat(32);
