/**
 * The keys that this node may have in common with one run of one peer, newest first. Who makes a key does not know that the
 * other has it before the other says so, and the answer may be lost; who is given one knows that the maker has it.
 *
 *   shared      the other surely has it: handshakes are answered with the newest of these
 *   candidate   the other may have it, and may answer with it
 *
 * What the other answers with is always in here: it is the newest that it knows this side to have, which is the newest or the
 * previous of those that this side knows both to have. Older ones go, and with one candidate that makes three.
 */
import type { PresharedKeys } from '../encapsulation/wireguard/preshared-keys.ts';

export const MAX_KEYS = 3;
const MAX_SHARED = 2;

interface Entry {
  readonly name: string;
  readonly key: Buffer;
  readonly madeAtMs: number;
  isShared: boolean;
}

export class PairKeyList {
  /** At most `MAX_KEYS`. */
  readonly #entries: Entry[] = [];

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** When the newest key was made that both have; undefined: there is none. */
  get sharedSinceMs(): number | undefined {
    return this.#entries.find(({ isShared }) => isShared)?.madeAtMs;
  }

  /**
   * No handshake is begun before the other has a key for it. One that it begins itself it can only have begun with the
   * candidate, where there is nothing else.
   */
  get keys(): PresharedKeys {
    const shared = this.#entries.find(({ isShared }) => isShared);
    return {
      respondWith: (shared ?? this.#entries[0])?.key,
      accept: shared ? this.#entries.map(({ key }) => key) : [],
    };
  }

  has(name: string): boolean {
    return this.#entries.some((entry) => entry.name === name);
  }

  add(name: string, key: Buffer, isShared: boolean, nowMs: number): void {
    this.#entries.unshift({ name, key, isShared, madeAtMs: nowMs });
    for (const { key: old } of this.#entries.splice(MAX_KEYS)) old.fill(0);
    this.#trim();
  }

  /** The other has said that it has it. */
  share(name: string): void {
    const entry = this.#entries.find((one) => one.name === name);
    if (entry) entry.isShared = true;
    this.#trim();
  }

  /** The other has said that it will not have it. */
  remove(name: string): void {
    const at = this.#entries.findIndex((entry) => entry.name === name && !entry.isShared);
    if (at >= 0) for (const { key } of this.#entries.splice(at, 1)) key.fill(0);
  }

  /** Of those that both have, no older one than the previous is kept. */
  #trim(): void {
    const old = this.#entries.filter(({ isShared }) => isShared).slice(MAX_SHARED);
    for (const entry of old) {
      entry.key.fill(0);
      this.#entries.splice(this.#entries.indexOf(entry), 1);
    }
  }

  clear(): void {
    for (const { key } of this.#entries.splice(0)) key.fill(0);
  }
}
