/**
 * What the namespace thread has half done, in memory that outlives it: where it is lost, the control thread undoes
 * what a request had begun and closes the descriptors that the thread held.
 */

/** Slots of int32. */
const REQUEST = 0;
/** 1 while a descriptor is being opened or closed: it may be open and in no slot, should the thread end just then. */
const CHANGING = 1;
const FIRST_FD = 2;
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

  /** Opens a descriptor and remembers it. */
  opens<T>(open: () => T, fdOf: (opened: T) => number): T {
    Atomics.store(this.#slots, CHANGING, 1);
    const opened = open();
    this.#remember(fdOf(opened));
    Atomics.store(this.#slots, CHANGING, 0);
    return opened;
  }

  /** Closes a descriptor that it remembers. */
  closes(fd: number, close: () => void): void {
    Atomics.store(this.#slots, CHANGING, 1);
    for (let i = FIRST_FD; i < FIRST_FD + FD_SLOTS; i++) Atomics.compareExchange(this.#slots, i, fd, 0);
    close();
    Atomics.store(this.#slots, CHANGING, 0);
  }

  /** Whether one more than `held` may be open. */
  get mayMissOne(): boolean {
    return Atomics.load(this.#slots, CHANGING) !== 0;
  }

  #remember(fd: number): void {
    for (let i = FIRST_FD; i < FIRST_FD + FD_SLOTS; i++) {
      if (Atomics.compareExchange(this.#slots, i, 0, fd) === 0) return;
    }
  }

  /** The descriptors that are open. */
  get held(): number[] {
    return [...this.#slots.subarray(FIRST_FD)].filter((fd) => fd !== 0);
  }
}
