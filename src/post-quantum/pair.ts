/** What is known of the keys with one run of one peer: which there are, what was tried, and what came of it. */
import { PairKeyList } from './pair-key-list.ts';

const FIRST_PAUSE_MS = 250;
const LAST_PAUSE_MS = 30_000;
/** Who has refused an offer, such as for being asking itself, is left alone for that long. */
const REFUSED_PAUSE_MS = 500;
/** Packets wait for a handshake for 90 s at most, and a handshake is tried again every 5 s. */
const WANTED_FOR_MS = 10_000;
/** One try in vain is nothing to tell of: the peer may be about to end, or have begun. */
const TOLD_FAILURES = 2;
/** For how long a failure is told of after the last try. */
const FAILED_FOR_MS = 120_000;

/** A secret that was made for a peer's key, until the peer has said what it makes of it. */
export interface Offer {
  readonly name: string;
  readonly keyHash: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly proof: Uint8Array;
}

export class Pair {
  readonly id: string;
  readonly run: string;
  readonly keys = new PairKeyList();
  offer: Offer | undefined;
  /** A call of ours is under way. */
  isAsking = false;
  /** The latest attempt of the peer's that came; earlier ones count no more, whatever became of this one. */
  heardAttempt = 0;
  /** It is to be asked after a pause. */
  isPaused = false;
  #wantedAtMs = Number.NEGATIVE_INFINITY;
  #notBeforeMs = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #failedAtMs = 0;
  #reason = '';

  constructor(id: string, run: string) {
    this.id = id;
    this.run = run;
  }

  wanted(nowMs: number): void {
    this.#wantedAtMs = nowMs;
  }

  /** Whether the peer is to be asked, now or after a pause. `renewAfterMs`: of a key, while it is in use. */
  needsKey(nowMs: number, renewAfterMs: number, isInUse: () => boolean): boolean {
    const { sharedSinceMs } = this.keys;
    if (sharedSinceMs === undefined) return nowMs - this.#wantedAtMs < WANTED_FOR_MS;
    return nowMs - sharedSinceMs >= renewAfterMs && isInUse();
  }

  /** For how long the peer is not to be asked; 0: it may be. */
  pauseMs(nowMs: number): number {
    return Math.max(0, this.#notBeforeMs - nowMs);
  }

  /** Why there is no key, or no new one; undefined: all is well. */
  failure(nowMs: number): string | undefined {
    return this.#failures >= TOLD_FAILURES && nowMs - this.#failedAtMs < FAILED_FOR_MS
      ? this.#reason
      : undefined;
  }

  agreed(): void {
    this.#failures = 0;
    this.#notBeforeMs = Number.NEGATIVE_INFINITY;
    this.offer = undefined;
  }

  /** Nothing will come of the offer: the peer is asking itself and comes first, or has another key by now. */
  refused(nowMs: number): void {
    if (this.offer) this.keys.remove(this.offer.name);
    this.offer = undefined;
    this.#notBeforeMs = nowMs + REFUSED_PAUSE_MS;
  }

  failed(nowMs: number, reason: string): void {
    this.#notBeforeMs = nowMs + Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures);
    this.#failures++;
    this.#failedAtMs = nowMs;
    this.#reason = reason;
  }

  close(): void {
    this.keys.clear();
    this.offer = undefined;
  }
}
