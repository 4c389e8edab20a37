/**
 * Memory that both JavaScript and the kernel work on: one ArrayBuffer whose address is known.
 *
 * A packet is a pair of numbers (offset, length) into an arena; structures for system calls (iovec, msghdr,
 * sockaddr) lie in one too. V8 never moves an ArrayBuffer's bytes, and an arena keeps its buffer alive, so
 * `base + offset` stays good as long as the arena is referenced.
 *
 * It is an ordinary ArrayBuffer: copies within a SharedArrayBuffer were several times slower.
 */
import koffi from 'koffi';

const WORD_SPAN = 0x1_0000_0000;

export class Arena {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Address of the first byte. */
  readonly base: number;
  readonly #words: Int32Array;
  /** The upper and lower 32 bits of `base` as int32. */
  readonly #baseHigh: number;
  readonly #baseLow: number;

  /** `byteLength` is rounded up to whole words. */
  constructor(byteLength: number) {
    const wholeBytes = (byteLength + 3) & ~3;
    this.buffer = allocate(wholeBytes);
    this.bytes = new Uint8Array(this.buffer, 0, byteLength);
    this.view = new DataView(this.buffer, 0, byteLength);
    this.#words = new Int32Array(this.buffer);
    this.base = addressOf(this.buffer);
    this.#baseHigh = Math.floor(this.base / WORD_SPAN) | 0;
    this.#baseLow = this.base | 0;
  }

  /** The address of byte `offset`, for a system call. */
  address(offset: number): number {
    return this.base + offset;
  }

  /** Writes a 64-bit field (pointer, size_t) in host order; `value` is an exact integer below 2^53. */
  setWord(offset: number, value: number): void {
    this.view.setUint32(offset, value >>> 0, true);
    this.view.setUint32(offset + 4, (value / WORD_SPAN) >>> 0, true);
  }

  /** Writes at `offset`, a multiple of four, a pointer to byte `target` of this arena. */
  setPointer(offset: number, target: number): void {
    const word = offset >> 2;
    this.#words[word] = (this.#baseLow + target) | 0;
    this.#words[word + 1] = this.#baseHigh;
  }
}

/** A buffer that crosses no multiple of 2^32, so that all of its addresses have one upper half. */
function allocate(byteLength: number): ArrayBuffer {
  const passedOver: ArrayBuffer[] = [];
  for (;;) {
    const buffer = new ArrayBuffer(byteLength);
    const base = addressOf(buffer);
    if (Math.floor(base / WORD_SPAN) === Math.floor((base + byteLength) / WORD_SPAN)) return buffer;
    // Held until the next one is there, so that it is another.
    passedOver.push(buffer);
  }
}

function addressOf(buffer: ArrayBuffer): number {
  return Number(koffi.address(new Uint8Array(buffer)));
}
