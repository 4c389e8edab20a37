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
  /** The upper and lower 32 bits of `base`. */
  readonly #baseHigh: number;
  readonly #baseLow: number;

  constructor(byteLength: number) {
    this.buffer = new ArrayBuffer(byteLength);
    this.bytes = new Uint8Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.base = Number(koffi.address(this.bytes));
    this.#baseHigh = Math.floor(this.base / WORD_SPAN);
    this.#baseLow = this.base % WORD_SPAN;
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

  /** Writes at `offset` a pointer to byte `target` of this arena. */
  setPointer(offset: number, target: number): void {
    const low = this.#baseLow + target;
    this.view.setUint32(offset, low >>> 0, true);
    this.view.setUint32(offset + 4, low < WORD_SPAN ? this.#baseHigh : this.#baseHigh + 1, true);
  }
}
