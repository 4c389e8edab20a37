/**
 * This node's own key, for which others make secrets. It is made when it is first needed and lives for a day; its secret half
 * is nowhere but in memory, and what was made for it is safe once it is gone.
 */
import type { MlKem } from './ml-kem.ts';
import { XWingKey } from './x-wing.ts';

export class OwnKey {
  readonly #kem: MlKem;
  readonly #lifeMs: number;
  readonly #announce: (keyHash: Uint8Array) => void;
  #key: XWingKey | undefined;
  #madeAtMs = 0;

  /** `announce`: others are to hear of another key than before. */
  constructor(kem: MlKem, lifeMs: number, announce: (keyHash: Uint8Array) => void) {
    this.#kem = kem;
    this.#lifeMs = lifeMs;
    this.#announce = announce;
  }

  /** Made now if there is none. */
  get(nowMs: number): XWingKey {
    if (this.#key === undefined) return this.#make(nowMs);
    return this.#key;
  }

  /** The key with this hash, if it is there still. */
  withHash(keyHash: Uint8Array): XWingKey | undefined {
    return this.#key && Buffer.compare(this.#key.hash, keyHash) === 0 ? this.#key : undefined;
  }

  /** To be called now and then. */
  tick(nowMs: number): void {
    if (this.#key !== undefined && nowMs - this.#madeAtMs >= this.#lifeMs) this.#make(nowMs);
  }

  close(): void {
    this.#key?.wipe();
    this.#key = undefined;
  }

  #make(nowMs: number): XWingKey {
    const key = new XWingKey(this.#kem);
    this.#key?.wipe();
    this.#key = key;
    this.#madeAtMs = nowMs;
    this.#announce(key.hash);
    return key;
  }
}
