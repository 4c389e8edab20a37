/**
 * What the namespace thread has half done, in memory that outlives it: where it is lost, the control thread undoes
 * what a request had begun and closes the descriptors that the thread held.
 */

/** Slots of int32. */
const REQUEST = 0;
const FIRST_FD = 1;
const FD_SLOTS = 4;

export class Journal {
  readonly shared: SharedArrayBuffer;
  readonly #slots: Int32Array;

  constructor(shared = new SharedArrayBuffer(4 * (FIRST_FD + FD_SLOTS))) {
    this.shared = shared;
    this.#slots = new Int32Array(shared);
  }

  /** From now on request `id` (from 1) has made something that was not there before. */
  begin(id: number): void {
    Atomics.store(this.#slots, REQUEST, id);
  }

  /** All that was begun is done or undone. */
  finish(): void {
    Atomics.store(this.#slots, REQUEST, 0);
  }

  /** The request that is half done, or 0. */
  get begun(): number {
    return Atomics.load(this.#slots, REQUEST);
  }

  /** Remembers an open descriptor. */
  holds(fd: number): void {
    for (let i = FIRST_FD; i < FIRST_FD + FD_SLOTS; i++) {
      if (Atomics.compareExchange(this.#slots, i, 0, fd) === 0) return;
    }
  }

  /** To be called before it is closed. */
  forgets(fd: number): void {
    for (let i = FIRST_FD; i < FIRST_FD + FD_SLOTS; i++) Atomics.compareExchange(this.#slots, i, fd, 0);
  }

  /** The descriptors that are open. */
  get held(): number[] {
    return [...this.#slots.subarray(FIRST_FD)].filter((fd) => fd !== 0);
  }
}
