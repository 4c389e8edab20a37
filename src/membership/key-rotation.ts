/**
 * Changing the cluster's keys while it runs. A change spreads like any news and with every push-pull; before a
 * key is made primary, or removed, every member is asked whether it is ready.
 */

import type { TimerGroup } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { ClusterKeys } from '../link/cluster-keys.ts';
import { type KeyRingState, keyRingDigest, latestChanges } from '../link/key-ring-state.ts';
import type { Link } from '../link/link.ts';
import type { ClusterKeyBytes } from '../link/seal.ts';
import type { Logger } from '../log/logger.ts';
import type { KeyListReport } from '../readmodel/reports.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import { encodeMessage } from './codec.ts';
import type { MemberEntry } from './member-table.ts';
import type { Roster } from './roster.ts';

export interface KeyRotationOptions {
  readonly selfId: string;
  readonly keys: ClusterKeys | undefined;
  readonly link: Link;
  readonly roster: Roster;
  readonly broadcasts: BroadcastQueue;
  readonly logger: Logger;
  readonly timers: TimerGroup;
  /** There is news to tell. */
  readonly wake: () => void;
}

interface NodeKeys {
  readonly name: string;
  readonly primary: string;
  readonly fingerprints: readonly string[];
}

/** No member's id. */
const BROADCAST_KEY = 'keys';
/** Members that are asked at the same time. */
const REQUESTS = 16;
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
    this.#announce();
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
   * For a node whose frames came under `key`: the present keys, where that is not the one that seals. A node that
   * was cut off while the keys changed can open nothing else; under its own key it learns them.
   */
  lessonFor(key: ClusterKeyBytes | undefined): Uint8Array[] {
    const { keys } = this.#options;
    if (!keys || key === undefined || key === keys.keys[0]) return [];
    return [encodeMessage({ kind: 'keyRing', ring: latestChanges(keys.state) })];
  }

  add(key: Uint8Array): string {
    const fingerprint = this.#keys().add(key);
    this.#announce();
    return fingerprint;
  }

  /** Rejects with KEY_NOT_EVERYWHERE while a member that is alive does not have the key, unless forced. */
  async use(fingerprint: string, options: { readonly force: boolean }): Promise<void> {
    const keys = this.#keys();
    keys.find(fingerprint);
    if (!options.force) {
      const { answers, silent } = await this.#askAll();
      const without = answers.filter((answer) => !answer.fingerprints.includes(fingerprint));
      refuseUnready(fingerprint, 'do not have', [...without.map(({ name }) => name), ...silent]);
    }
    keys.use(fingerprint);
    this.#announce();
  }

  /** Rejects with KEY_NOT_EVERYWHERE while a member that is alive still seals with it, unless forced. */
  async remove(fingerprint: string, options: { readonly force: boolean }): Promise<void> {
    const keys = this.#keys();
    keys.find(fingerprint);
    if (!options.force) {
      const { answers, silent } = await this.#askAll();
      const using = answers.filter((answer) => answer.primary === fingerprint);
      refuseUnready(fingerprint, 'may still use', [...using.map(({ name }) => name), ...silent]);
    }
    keys.remove(fingerprint);
    this.#announce();
  }

  async list(): Promise<KeyListReport> {
    const { answers, silent } = await this.#askAll();
    const own = this.#keys().fingerprints;
    const all = new Set([...own, ...answers.flatMap((answer) => answer.fingerprints)]);
    const keys = [...all].map((fingerprint) => ({
      fingerprint,
      primary: fingerprint === own[0],
      nodes: answers.filter((answer) => answer.fingerprints.includes(fingerprint)).length,
      primaryOn: answers.filter((answer) => answer.primary === fingerprint).length,
    }));
    return { keys, nodes: answers.length, silent };
  }

  /** What this node answers to a KeysRequest. */
  answer(): Uint8Array[] {
    const fingerprints = this.#options.keys?.fingerprints;
    if (!fingerprints) return [];
    return [encodeMessage({ kind: 'keysResponse', primary: fingerprints[0]!, fingerprints })];
  }

  #keys(): ClusterKeys {
    if (this.#options.keys) return this.#options.keys;
    throw new WarrenError('KEY_NONE', 'this cluster has no key: its gossip is in clear text', {
      hint: 'Make one with `warren key generate`, and set cluster.keyFile on every node.',
    });
  }

  #announce(): void {
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

  async #askAll(): Promise<{ readonly answers: readonly NodeKeys[]; readonly silent: readonly string[] }> {
    const { roster, selfId } = this.#options;
    const own = this.#keys().fingerprints;
    const name = roster.table.get(selfId)!.record.name;
    const answers: NodeKeys[] = [{ name, primary: own[0]!, fingerprints: own }];
    const silent: string[] = [];
    const isOther = (entry: MemberEntry) =>
      entry.id !== selfId && (entry.status === 'alive' || entry.status === 'suspect');
    const queue = [...roster.table].filter(isOther).values();
    const ask = async () => {
      for (const entry of queue) {
        const answer = await this.#ask(entry);
        if (answer) answers.push(answer);
        else silent.push(entry.record.name);
      }
    };
    await Promise.all(Array.from({ length: REQUESTS }, ask));
    return { answers, silent };
  }

  #ask({ id, record }: MemberEntry): Promise<NodeKeys | undefined> {
    return new Promise((resolve) => {
      let answer: NodeKeys | undefined;
      this.#options.link.exchange(
        record,
        [encodeMessage({ kind: 'keysRequest', target: id })],
        (message) => {
          if (message.kind === 'keysResponse') answer = { ...message, name: record.name };
        },
        () => resolve(answer),
      );
    });
  }
}

/** The bucket of key changes is that of no node in particular. */
const NO_ID = '0'.repeat(32);

function refuseUnready(fingerprint: string, what: string, names: readonly string[]): void {
  if (names.length === 0) return;
  const shown = names.slice(0, 10).join(', ') + (names.length > 10 ? ', ...' : '');
  throw new WarrenError(
    'KEY_NOT_EVERYWHERE',
    `${names.length} nodes ${what} the key ${fingerprint}: ${shown}`,
    {
      hint: 'Changes spread within seconds, so try again; --force does it all the same, and cuts these nodes off.',
    },
  );
}
