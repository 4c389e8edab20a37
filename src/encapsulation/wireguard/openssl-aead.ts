/** The engine that calls OpenSSL on the arena's own memory: four calls a datagram, and nothing is allocated. */
import { Arena } from '../../sys/arena.ts';
import { EVP_CTRL_AEAD_GET_TAG, EVP_CTRL_AEAD_SET_TAG, type Evp } from '../../sys/evp.ts';
import { type AeadEngine, type Opener, type Sealer, writeNonce } from './aead.ts';
import { KEY_BYTES, TAG_BYTES } from './constants.ts';
import { PADDING_BYTES } from './data-message.ts';

const NONCE = 0;
/** Where OpenSSL says how many bytes it wrote, which is known. */
const WRITTEN = 16;
const ZEROS = 32;
const KEY = ZEROS + PADDING_BYTES;
const SCRATCH_BYTES = KEY + KEY_BYTES;

export class OpensslAead implements AeadEngine {
  readonly name = 'openssl';
  readonly #evp: Evp;
  /** One thread has it; what is in it is used within a call. */
  readonly #scratch = new Arena(SCRATCH_BYTES);

  constructor(evp: Evp) {
    this.#evp = evp;
  }

  sealer(key: Uint8Array, source: Arena, output: Arena): Sealer {
    const context = this.#context(key, this.#evp.encryptInit);
    return new OpensslSealer(this.#evp, context, this.#scratch, source.base, output.base);
  }

  opener(key: Uint8Array, memory: Arena): Opener {
    const context = this.#context(key, this.#evp.decryptInit);
    return new OpensslOpener(this.#evp, context, this.#scratch, memory.base);
  }

  /** One that has the key; each datagram then brings its nonce. */
  #context(key: Uint8Array, init: Evp['encryptInit']): number {
    const evp = this.#evp;
    const context = evp.newContext();
    this.#scratch.bytes.set(key, KEY);
    const done =
      context !== 0 && init(context, evp.chacha20Poly1305(), 0, this.#scratch.address(KEY), 0) === 1;
    this.#scratch.bytes.fill(0, KEY, KEY + KEY_BYTES);
    if (done) return context;
    if (context !== 0) evp.freeContext(context);
    evp.clearErrors();
    throw new Error('OpenSSL has no context for ChaCha20-Poly1305');
  }
}

class OpensslSealer implements Sealer {
  readonly #evp: Evp;
  #context: number;
  readonly #scratch: Arena;
  readonly #nonce: number;
  readonly #written: number;
  readonly #zeros: number;
  readonly #source: number;
  readonly #output: number;

  constructor(evp: Evp, context: number, scratch: Arena, source: number, output: number) {
    this.#evp = evp;
    this.#context = context;
    this.#scratch = scratch;
    this.#nonce = scratch.address(NONCE);
    this.#written = scratch.address(WRITTEN);
    this.#zeros = scratch.address(ZEROS);
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
    const evp = this.#evp;
    const context = this.#context;
    const written = this.#written;
    if (context === 0) return false;
    writeNonce(this.#scratch.view, NONCE, counter);
    let at = this.#output + to;
    let done = evp.encryptInit(context, 0, 0, 0, this.#nonce);
    if (headBytes > 0) done &= evp.encryptUpdate(context, at, written, this.#source + head, headBytes);
    at += headBytes;
    if (tailBytes > 0) done &= evp.encryptUpdate(context, at, written, this.#source + tail, tailBytes);
    at += tailBytes;
    if (padding > 0) done &= evp.encryptUpdate(context, at, written, this.#zeros, padding);
    at += padding;
    done &= evp.encryptFinal(context, at, written);
    done &= evp.control(context, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at);
    return done === 1;
  }

  destroy(): void {
    if (this.#context !== 0) this.#evp.freeContext(this.#context);
    this.#context = 0;
  }
}

class OpensslOpener implements Opener {
  readonly #evp: Evp;
  #context: number;
  readonly #scratch: Arena;
  readonly #nonce: number;
  readonly #written: number;
  readonly #memory: number;

  constructor(evp: Evp, context: number, scratch: Arena, memory: number) {
    this.#evp = evp;
    this.#context = context;
    this.#scratch = scratch;
    this.#nonce = scratch.address(NONCE);
    this.#written = scratch.address(WRITTEN);
    this.#memory = memory;
  }

  open(counter: number, at: number, bytes: number): boolean {
    const evp = this.#evp;
    const context = this.#context;
    const written = this.#written;
    const length = bytes - TAG_BYTES;
    if (context === 0 || length < 0) return false;
    writeNonce(this.#scratch.view, NONCE, counter);
    const from = this.#memory + at;
    const end = from + length;
    let done = evp.decryptInit(context, 0, 0, 0, this.#nonce);
    done &= evp.control(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, end);
    if (length > 0) done &= evp.decryptUpdate(context, from, written, from, length);
    done &= evp.decryptFinal(context, end, written);
    if (done === 1) return true;
    evp.clearErrors();
    return false;
  }

  destroy(): void {
    if (this.#context !== 0) this.#evp.freeContext(this.#context);
    this.#context = 0;
  }
}
