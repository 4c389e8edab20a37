/** The first look at every handshake message, so the one that is worth being fast: a keyed BLAKE2s by OpenSSL where it is. */
import { findKeyedBlake2s, type KeyedBlake2s } from '../../sys/evp-mac.ts';
import { MAC_BYTES, mac } from './blake2s.ts';

export class Mac1 {
  readonly #key: Buffer;
  readonly #fast: KeyedBlake2s | undefined;
  readonly #result = Buffer.alloc(MAC_BYTES);

  /** `find`: other than what this program has in tests. */
  constructor(key: Buffer, find: typeof findKeyedBlake2s = findKeyedBlake2s) {
    this.#key = key;
    const fast = find(key, MAC_BYTES);
    if (fast && this.#agrees(fast)) this.#fast = fast;
  }

  get isFast(): boolean {
    return this.#fast !== undefined;
  }

  /** The result is overwritten by the next call. */
  of(bytes: Buffer): Buffer {
    if (this.#fast?.mac(bytes, this.#result) === true) return this.#result;
    return mac(this.#key, bytes);
  }

  /** Over nothing, less than a block, a block, more. */
  #agrees(fast: KeyedBlake2s): boolean {
    return [0, 1, 63, 64, 65, 116].every((length) => {
      const bytes = Buffer.from(Array.from({ length }, (_, at) => at * 7));
      return fast.mac(bytes, this.#result) && this.#result.equals(mac(this.#key, bytes));
    });
  }
}
