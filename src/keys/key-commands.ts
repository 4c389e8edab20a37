/**
 * What `warren key` does on a running cluster. Before a key is made primary, or removed, every member is asked whether
 * it is ready. How a change spreads is membership's affair (membership/key-rotation.ts).
 */
import { WarrenError } from '../errors.ts';
import type { ClusterKeys } from '../link/cluster-keys.ts';
import { askAllKeyFingerprints, type NodeKeys, serveKeyFingerprints } from '../rpc/key-fingerprints.ts';
import type { Rpc } from '../rpc/rpc.ts';

export interface KeyCommandsOptions {
  readonly rpc: Rpc;
  /** Undefined: the cluster has none. */
  readonly keys: ClusterKeys | undefined;
  /** This node's name. */
  readonly name: () => string;
  /** The other nodes that are alive, as far as this one knows. */
  readonly others: () => Iterable<{ readonly id: string; readonly name: string }>;
  /** The keys have changed here: tell the others. */
  readonly announce: () => void;
}

export interface KeyList {
  /** The cluster's keys by fingerprint, the primary (which seals) first. */
  readonly keys: readonly ListedKey[];
  /** Nodes that answered, this one included. */
  readonly nodes: number;
  /** Nodes that are alive and did not answer. */
  readonly silent: readonly string[];
}

export interface ListedKey {
  readonly fingerprint: string;
  readonly primary: boolean;
  /** How many nodes have it, and how many seal with it. */
  readonly nodes: number;
  readonly primaryOn: number;
}

export class KeyCommands {
  readonly #options: KeyCommandsOptions;

  /** Answers the same questions of other nodes from now on. */
  constructor(options: KeyCommandsOptions) {
    this.#options = options;
    serveKeyFingerprints(options.rpc, () => options.keys?.fingerprints);
  }

  /** The fingerprint of the key. Throws KEY_NONE, KEY_INVALID, KEY_EXISTS, KEY_LIMIT and what the disk throws. */
  add(key: Uint8Array): string {
    const fingerprint = this.#keys().add(key);
    this.#options.announce();
    return fingerprint;
  }

  /** Rejects with KEY_NOT_EVERYWHERE while a member that is alive does not have the key, unless forced. */
  async use(fingerprint: string, options: { readonly force: boolean }): Promise<void> {
    const keys = this.#keys();
    keys.find(fingerprint);
    if (!options.force) {
      const { answers, silent } = await this.#askAll();
      const without = answers.filter(({ all }) => !all.includes(fingerprint));
      refuseUnready(fingerprint, 'do not have', [...without.map(({ name }) => name), ...silent]);
    }
    keys.use(fingerprint);
    this.#options.announce();
  }

  /** Rejects with KEY_NOT_EVERYWHERE while a member that is alive still seals with it, unless forced. */
  async remove(fingerprint: string, options: { readonly force: boolean }): Promise<void> {
    const keys = this.#keys();
    keys.find(fingerprint);
    if (!options.force) {
      const { answers, silent } = await this.#askAll();
      const using = answers.filter(({ primary }) => primary === fingerprint);
      refuseUnready(fingerprint, 'may still use', [...using.map(({ name }) => name), ...silent]);
    }
    keys.remove(fingerprint);
    this.#options.announce();
  }

  async list(): Promise<KeyList> {
    const { answers, silent } = await this.#askAll();
    const own = this.#keys().fingerprints;
    const all = new Set([...own, ...answers.flatMap((answer) => answer.all)]);
    const keys = [...all].map((fingerprint) => ({
      fingerprint,
      primary: fingerprint === own[0],
      nodes: answers.filter((answer) => answer.all.includes(fingerprint)).length,
      primaryOn: answers.filter(({ primary }) => primary === fingerprint).length,
    }));
    return { keys, nodes: answers.length, silent };
  }

  #keys(): ClusterKeys {
    if (this.#options.keys) return this.#options.keys;
    throw new WarrenError('KEY_NONE', 'this cluster has no key: its gossip is in clear text', {
      hint: 'Make one with `warren key generate`, and set cluster.keyFile on every node.',
    });
  }

  async #askAll(): Promise<{ readonly answers: readonly NodeKeys[]; readonly silent: readonly string[] }> {
    const { rpc, name, others } = this.#options;
    const all = this.#keys().fingerprints;
    const { answers, silent } = await askAllKeyFingerprints(rpc, others());
    return { answers: [{ name: name(), primary: all[0]!, all }, ...answers], silent };
  }
}

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
