/**
 * Which counters of a session came in already. The window reaches 8,160 back from the highest one: a bit each, in a ring of
 * words that is cleared as it moves on (RFC 6479).
 *
 * A counter is looked at (`isFresh`), then the datagram is opened, then the counter is marked (`commit`): so what is forged
 * moves nothing. Whoever opens datagrams of a session on one thread has its window; it is never shared.
 */
import { REJECT_AFTER_MESSAGES } from './constants.ts';

const WORD_BITS = 32;
const WORDS = 256;
/** One word less than there are: the one of the highest counter is not full yet. */
export const REPLAY_WINDOW = (WORDS - 1) * WORD_BITS;

export class ReplayWindow {
  readonly #words = new Int32Array(WORDS);
  #highest = -1;

  /** Above the highest so far, but below where a key ends; or in the window and not marked. */
  isFresh(counter: number): boolean {
    if (counter > this.#highest) return counter < REJECT_AFTER_MESSAGES;
    if (this.#highest - counter >= REPLAY_WINDOW) return false;
    return (this.#words[wordOf(counter)]! & bitOf(counter)) === 0;
  }

  /** Marks a counter that is fresh. */
  commit(counter: number): void {
    if (counter > this.#highest) {
      this.#clear(counter);
      this.#highest = counter;
    }
    this.#words[wordOf(counter)]! |= bitOf(counter);
  }

  /** The words behind that of the highest counter, up to that of `counter`. */
  #clear(counter: number): void {
    const last = Math.floor(this.#highest / WORD_BITS);
    const count = Math.min(WORDS, Math.floor(counter / WORD_BITS) - last);
    for (let step = 1; step <= count; step++) this.#words[(last + step + WORDS) % WORDS] = 0;
  }
}

function wordOf(counter: number): number {
  return Math.floor(counter / WORD_BITS) % WORDS;
}

function bitOf(counter: number): number {
  return 1 << (counter % WORD_BITS);
}
