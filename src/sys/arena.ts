/**
 * Memory that both JavaScript and the kernel work on: one ArrayBuffer whose address is known.
 *
 * A packet is a pair of numbers (offset, length) into an arena; structures for system calls (iovec, msghdr,
 * sockaddr) lie in one too. V8 never moves an ArrayBuffer's bytes, and an arena keeps its buffer alive, so
 * `base + offset` stays good as long as the arena is referenced.
 *
 * It is an ordinary ArrayBuffer: copies within a SharedArrayBuffer were several times slower. Where payloads are
 * summed it is that of a WebAssembly memory, on which JavaScript is as fast as on any other; the memory cannot grow,
 * which would give it another buffer.
 */
import koffi from 'koffi';

const WORD_SPAN = 0x1_0000_0000;
const WASM_PAGE_BYTES = 65_536;

/**
 * `wasm`: a WebAssembly memory, for which V8 sets some 10 GB of address space aside (not of memory); where it has
 * none, `plain`.
 */
export type ArenaKind = 'plain' | 'wasm';

export class Arena {
  readonly buffer: ArrayBuffer;
  /** What `buffer` belongs to, if WebAssembly can work on it. */
  readonly memory: WebAssembly.Memory | undefined;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Address of the first byte. */
  readonly base: number;
  readonly #words: Int32Array;
  /** The upper and lower 32 bits of `base` as int32. */
  readonly #baseHigh: number;
  readonly #baseLow: number;

  /** `byteLength` is rounded up to whole words. */
  constructor(byteLength: number, kind: ArenaKind = 'plain') {
    const wholeBytes = (byteLength + 3) & ~3;
    const { buffer, memory } = allocate(wholeBytes, kind);
    this.buffer = buffer;
    this.memory = memory;
    this.bytes = new Uint8Array(this.buffer, 0, byteLength);
    this.view = new DataView(this.buffer, 0, byteLength);
    this.#words = new Int32Array(this.buffer);
    this.base = addressOf(this.buffer);
    this.#baseHigh = Math.floor(this.base / WORD_SPAN) | 0;
    this.#baseLow = this.base | 0;
  }

  /** What payloads are summed over: the memory where there is one. */
  get summable(): WebAssembly.Memory | ArrayBuffer {
    return this.memory ?? this.buffer;
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

interface Allocation {
  readonly buffer: ArrayBuffer;
  readonly memory: WebAssembly.Memory | undefined;
}

/** A buffer that crosses no multiple of 2^32, so that all of its addresses have one upper half. */
function allocate(byteLength: number, kind: ArenaKind): Allocation {
  const passedOver: Allocation[] = [];
  for (;;) {
    const allocation = allocateAnywhere(byteLength, kind);
    const base = addressOf(allocation.buffer);
    if (Math.floor(base / WORD_SPAN) === Math.floor((base + byteLength) / WORD_SPAN)) return allocation;
    // Held until the next one is there, so that it is another.
    passedOver.push(allocation);
  }
}

function allocateAnywhere(byteLength: number, kind: ArenaKind): Allocation {
  if (kind === 'wasm') {
    try {
      const pages = Math.ceil(byteLength / WASM_PAGE_BYTES);
      const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
      return { buffer: memory.buffer, memory };
    } catch {
      // No WebAssembly (node --jitless), or a limit on address space (ulimit -v).
    }
  }
  return { buffer: new ArrayBuffer(byteLength), memory: undefined };
}

function addressOf(buffer: ArrayBuffer): number {
  return Number(koffi.address(new Uint8Array(buffer)));
}
