/**
 * Which counters of a session came in already. The window reaches 8,160 back from the highest one: a bit each, in a ring of
 * words that is cleared as it moves on (RFC 6479).
 *
 * A counter is looked at (`isFresh`), then the datagram is opened, then the counter is marked (`commit`): so what is forged
 * moves nothing. Whoever opens datagrams of a session on one thread has its window; it is never shared.
 */
import { REJECT_AFTER_MESSAGES } from './constants.ts';

const WORD_BITS = 32;
export const REPLAY_WORDS = 256;
/** One word less than there are: the one of the highest counter is not full yet. */
export const REPLAY_WINDOW = (REPLAY_WORDS - 1) * WORD_BITS;

export class ReplayWindow {
  readonly #words: Int32Array;
  readonly #highest: Float64Array;

  /** The memory of a window that goes on where one before it ended; `highest`, one number, is -1 at the beginning. */
  constructor(
    words: Int32Array = new Int32Array(REPLAY_WORDS),
    highest: Float64Array = new Float64Array(1).fill(-1),
  ) {
    this.#words = words;
    this.#highest = highest;
  }

  /** Above the highest so far, but below where a key ends; or in the window and not marked. */
  isFresh(counter: number): boolean {
    if (counter > this.#highest[0]!) return counter < REJECT_AFTER_MESSAGES;
    if (this.#highest[0]! - counter >= REPLAY_WINDOW) return false;
    return (this.#words[wordOf(counter)]! & bitOf(counter)) === 0;
  }

  /** Marks a counter that is fresh. */
  commit(counter: number): void {
    if (counter > this.#highest[0]!) {
      this.#clear(counter);
      this.#highest[0] = counter;
    }
    this.#words[wordOf(counter)]! |= bitOf(counter);
  }

  /** The words behind that of the highest counter, up to that of `counter`. */
  #clear(counter: number): void {
    const last = Math.floor(this.#highest[0]! / WORD_BITS);
    const count = Math.min(REPLAY_WORDS, Math.floor(counter / WORD_BITS) - last);
    for (let step = 1; step <= count; step++) this.#words[(last + step + REPLAY_WORDS) % REPLAY_WORDS] = 0;
  }
}

function wordOf(counter: number): number {
  return Math.floor(counter / WORD_BITS) % REPLAY_WORDS;
}

function bitOf(counter: number): number {
  return 1 << (counter % WORD_BITS);
}
