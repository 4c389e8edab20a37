/**
 * Writes of one file that share the disk: one is in flight, and all changes that come meanwhile go with the next one.
 * A hundred changes at once cost two writes, not a hundred.
 *
 *     request ─┐              request ─┐
 *     request ─┴─> write 1    request ─┴─> waits for write 1, then write 2
 */
export class SharedWrite {
  readonly #write: () => Promise<void>;
  /** The write that runs; never rejects. */
  #current: Promise<void> = Promise.resolve();
  /** The write after it, for which all requests of now wait. */
  #next: Promise<void> | undefined;

  /** `write` reads the state when it is called, before its first await. */
  constructor(write: () => Promise<void>) {
    this.#write = write;
  }

  /** Resolves when a write that began after this call is on the disk; rejects with that write's error. */
  request(): Promise<void> {
    this.#next ??= this.#current.then(() => {
      this.#next = undefined;
      const write = this.#write();
      this.#current = write.then(ignore, ignore);
      return write;
    });
    return this.#next;
  }

  /** Resolves when nothing is being written and nothing waits to be. */
  async idle(): Promise<void> {
    while (this.#next !== undefined) await this.#next.then(ignore, ignore);
    await this.#current;
  }
}

function ignore(): void {}
