/**
 * Decodes messages for thousands of nodes in one process. The same news reaches each of them many times, and says
 * the same everywhere: what was decoded lately is handed out again. No reader changes a message.
 */
import { decodeMessage } from '../membership/codec.ts';

type Decoded = ReturnType<typeof decodeMessage>;

/** Of one generation; two are kept. News is in use for seconds, and this lasts longer. */
const GENERATION = 20_000;

export class SharedDecoder {
  #young = new Map<string, Decoded>();
  #old = new Map<string, Decoded>();

  decode(bytes: Uint8Array): Decoded {
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    let decoded = this.#young.get(key);
    if (decoded) return decoded;
    // Of a copy: what is kept must not keep the whole datagram.
    decoded = this.#old.get(key) ?? decodeMessage(Uint8Array.from(bytes));
    if (this.#young.size >= GENERATION) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, decoded);
    return decoded;
  }
}
