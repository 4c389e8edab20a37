/**
 * Which initiations and responses are worth a key agreement (0.1 ms of CPU each), by what is cheap to look at:
 *
 * 1. MAC1: the sender knows this node's public key; else nothing is done, and nothing is answered
 * 2. not under load: it is worth it
 * 3. under load, MAC2: the sender receives at its address; else it is sent a cookie to show that
 * 4. under load, no more than its share of messages per source
 *
 * A cookie costs more than all that is looked at here, so of those only 1,000 a second go to addresses where no peer is known
 * to be: a flood from forged ones gets no further, and keeps no peer out.
 *
 * This node is under load for a second after one in which more than 500 messages had a good MAC1.
 */
import type { MacChecker } from './macs.ts';
import { SourceLimit } from './source-limit.ts';

export const LOAD_MESSAGES_PER_SECOND = 500;
const LOAD_SPAN_MS = 1_000;
export const COOKIES_PER_SECOND = 1_000;

export type Admission =
  | 'admitted'
  | 'bad-mac1'
  | 'rate-limited'
  /** Not now, and nothing is said. */
  | 'unanswered'
  /** Not now: the sender is to get this cookie reply, which is shorter than what it sent. */
  | { readonly reply: Buffer };

export class HandshakeAdmission {
  readonly #checker: MacChecker;
  readonly #limit = new SourceLimit();
  #spanFromMs = Number.NEGATIVE_INFINITY;
  #inSpan = 0;
  /** Cookies to strangers in this span. */
  #cookies = 0;
  #loadedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(checker: MacChecker) {
    this.#checker = checker;
  }

  /** `source`: the bytes of the sender's address and port. `isPeer`: whether one is known to be there. */
  admit(datagram: Buffer, source: Uint8Array, nowMs: number, isPeer: () => boolean): Admission {
    if (!this.#checker.hasMac1(datagram)) return 'bad-mac1';
    if (!this.#isUnderLoad(nowMs)) return 'admitted';
    if (!this.#checker.hasMac2(datagram, source, nowMs)) {
      if (this.#cookies >= COOKIES_PER_SECOND && !isPeer()) return 'unanswered';
      this.#cookies++;
      return { reply: this.#checker.reply(datagram, source, nowMs) };
    }
    return this.#limit.takes(source, nowMs) ? 'admitted' : 'rate-limited';
  }

  /** Counts one more. */
  #isUnderLoad(nowMs: number): boolean {
    if (nowMs - this.#spanFromMs >= LOAD_SPAN_MS) {
      this.#spanFromMs = nowMs;
      this.#inSpan = 0;
      this.#cookies = 0;
    }
    this.#inSpan++;
    if (this.#inSpan > LOAD_MESSAGES_PER_SECOND) this.#loadedUntilMs = nowMs + LOAD_SPAN_MS;
    return nowMs < this.#loadedUntilMs;
  }
}
