/** Work on one key is done one after the other, work on different keys at the same time. */
import { WarrenError } from '../errors.ts';

export class KeyedQueue {
  readonly #maxWaiting: number;
  /** The last work of each key that has any. Bounded by what runs and what waits. */
  readonly #last = new Map<string, Promise<unknown>>();
  #waiting = 0;

  /** `maxWaiting`: how many calls of `run` may wait for others at a time. */
  constructor(options: { readonly maxWaiting: number }) {
    this.#maxWaiting = options.maxWaiting;
  }

  /**
   * Runs `work` after all that came before it with this `key`: at once, before this returns, if there is none. Throws
   * ATTACHMENT_BUSY if too much waits already; work of the agent itself (`isOwn`) is bounded by the agent and is let in.
   */
  run<T>(key: string, work: () => Promise<T>, options: { readonly isOwn?: boolean } = {}): Promise<T> {
    const before = this.#last.get(key);
    if (before === undefined) return this.#track(key, work());
    if (options.isOwn === true) return this.#track(key, before.then(work));
    if (this.#waiting >= this.#maxWaiting) {
      throw new WarrenError('ATTACHMENT_BUSY', `${this.#waiting} operations on attachments wait already`, {
        hint: 'Try again later. If it stays like this, see the log for what does not end.',
      });
    }
    this.#waiting++;
    return this.#track(
      key,
      before.then(() => {
        this.#waiting--;
        return work();
      }),
    );
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }

  #track<T>(key: string, work: Promise<T>): Promise<T> {
    // What comes after it does so whatever came of it.
    const ended = work.then(
      () => forget(),
      () => forget(),
    );
    const forget = () => {
      if (this.#last.get(key) === ended) this.#last.delete(key);
    };
    this.#last.set(key, ended);
    return work;
  }
}

/** Calls `work` with each of `items`, at most `atOnce` at a time, in order. `work` must not reject. */
export async function forEachAtOnce<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
