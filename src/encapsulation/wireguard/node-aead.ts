/** The engine that works wherever Node does: node:crypto, with a cipher object and copies for each datagram. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import type { Arena } from '../../sys/arena.ts';
import { type AeadEngine, COUNTER_NONCE_BYTES, type Opener, type Sealer, writeNonce } from './aead.ts';
import { TAG_BYTES } from './constants.ts';
import { PADDING_BYTES } from './data-message.ts';

const CIPHER = 'chacha20-poly1305';
const OPTIONS = { authTagLength: TAG_BYTES };
const ZEROS = Buffer.alloc(PADDING_BYTES);

export class NodeAead implements AeadEngine {
  readonly name = 'node:crypto';

  sealer(key: Uint8Array, source: Arena, output: Arena): Sealer {
    return new NodeSealer(createSecretKey(key), source.bytes, output.bytes);
  }

  opener(key: Uint8Array, memory: Arena): Opener {
    return new NodeOpener(createSecretKey(key), memory.bytes);
  }
}

class NodeSealer implements Sealer {
  #key: KeyObject | undefined;
  readonly #source: Uint8Array;
  readonly #output: Uint8Array;
  readonly #nonce = new DataView(new ArrayBuffer(COUNTER_NONCE_BYTES));

  constructor(key: KeyObject, source: Uint8Array, output: Uint8Array) {
    this.#key = key;
    this.#source = source;
    this.#output = output;
  }

  seal(
    counter: number,
    head: number,
    headBytes: number,
    tail: number,
    tailBytes: number,
    padding: number,
    to: number,
  ): boolean {
    if (this.#key === undefined) return false;
    writeNonce(this.#nonce, 0, counter);
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce, OPTIONS);
    this.#output.set(cipher.update(this.#source.subarray(head, head + headBytes)), to);
    this.#output.set(cipher.update(this.#source.subarray(tail, tail + tailBytes)), to + headBytes);
    const end = to + headBytes + tailBytes;
    if (padding > 0) this.#output.set(cipher.update(ZEROS.subarray(0, padding)), end);
    cipher.final();
    this.#output.set(cipher.getAuthTag(), end + padding);
    return true;
  }

  /** The key's memory is overwritten when the object is collected. */
  destroy(): void {
    this.#key = undefined;
  }
}

class NodeOpener implements Opener {
  #key: KeyObject | undefined;
  readonly #memory: Uint8Array;
  readonly #nonce = new DataView(new ArrayBuffer(COUNTER_NONCE_BYTES));

  constructor(key: KeyObject, memory: Uint8Array) {
    this.#key = key;
    this.#memory = memory;
  }

  open(counter: number, at: number, bytes: number): boolean {
    const end = at + bytes - TAG_BYTES;
    if (this.#key === undefined || end < at) return false;
    writeNonce(this.#nonce, 0, counter);
    const decipher = createDecipheriv(CIPHER, this.#key, this.#nonce, OPTIONS);
    decipher.setAuthTag(this.#memory.subarray(end, end + TAG_BYTES));
    const plaintext = decipher.update(this.#memory.subarray(at, end));
    try {
      decipher.final();
    } catch {
      return false;
    }
    this.#memory.set(plaintext, at);
    return true;
  }

  destroy(): void {
    this.#key = undefined;
  }
}
