/**
 * Whether groups of datagrams arrive whole at one peer, as far as is known, and when to look next. No I/O, and time is a
 * parameter:
 *
 *     fresh      nothing is known: probed at first contact, and when the link or the peer is another
 *     whole      groups arrive; looked at again each second in which groups were sent there
 *     suspected  a look missed some: looked at closely, at once
 *     broken     they do not arrive, so the peer is sent single datagrams; tried again with growing pauses
 *
 * A peer that does not answer, or not clearly, is asked again with growing pauses, and nothing is concluded meanwhile.
 */
import type { Depth } from './plan.ts';

/** Between two looks while groups are sent. What breaks is found within this and the two probes that follow. */
export const LOOK_MS = 1000;
/** A look comes with a tick of some 1 s, which is not exact. */
const LOOK_SLACK_MS = 100;
const UNCLEAR_FIRST_MS = 1000;
const UNCLEAR_LAST_MS = 600_000;
/** While it is suspected: how often it is looked at without a clear answer, and how soon again. */
const CLOSE_LOOKS = 4;
const CLOSE_LOOK_MS = 300;
export const RETRY_FIRST_MS = 10_000;
export const RETRY_LAST_MS = 600_000;
/** Groups that arrived for so long are no longer expected to break again soon. */
export const TRUSTED_AFTER_MS = 600_000;

export interface WantedProbe {
  readonly depth: Depth;
  readonly rounds: number;
  /** Of those, how many have to count (verdict.ts). */
  readonly enough: number;
}

const LOOK: WantedProbe = { depth: 'short', rounds: 1, enough: 1 };
const FIRST: WantedProbe = { depth: 'full', rounds: 1, enough: 1 };
/** Four losses of one datagram in a row: with 5 % of random loss once in 5,000 times, and only after a lossy look. */
const close = (depth: Depth): WantedProbe => ({ depth, rounds: 5, enough: 4 });
const RETRY = close('full');

export type Outcome = 'whole' | 'broken' | 'unclear' | 'unanswered' | 'unsupported';

/** Datagrams that were sent to the peer so far. */
export interface Sent {
  readonly packets: number;
  /** Of those, in groups. */
  readonly grouped: number;
}

type State = 'fresh' | 'whole' | 'suspected' | 'broken';

export class GroupPath {
  #state: State = 'fresh';
  #wanted = FIRST;
  #isAsked = false;
  /** Not before. */
  #dueMs: number;
  /** Only if more was sent there since. */
  #since: Sent | undefined;
  #unclearMs = UNCLEAR_FIRST_MS;
  #closeLooks = 0;
  #retryMs = RETRY_FIRST_MS;
  #wholeSinceMs = 0;
  /** The link is another since the probe that is under way was sent. */
  #isOutdated = false;

  /** First contact is `delayMs` from now, or when the first groups are sent. */
  constructor(nowMs: number, delayMs: number) {
    this.#dueMs = nowMs + delayMs;
  }

  get isSentSingly(): boolean {
    return this.#state === 'broken';
  }

  /** When it is tried again, for one that is sent single datagrams. */
  get retryAtMs(): number {
    return this.#dueMs;
  }

  /** What to send now; undefined: nothing. Until `result` there is nothing more. */
  due(nowMs: number, sent: Sent): WantedProbe | undefined {
    if (this.#isAsked || !this.#isDue(nowMs, sent)) return undefined;
    this.#isAsked = true;
    this.#isOutdated = false;
    if (this.#state === 'whole') this.#dueMs = nowMs + LOOK_MS - LOOK_SLACK_MS;
    return this.#wanted;
  }

  #isDue(nowMs: number, sent: Sent): boolean {
    // First contact that has begun by itself.
    if (this.#state === 'fresh' && this.#since === undefined && sent.grouped > 0) return true;
    if (nowMs < this.#dueMs) return false;
    if (this.#since === undefined) return true;
    return this.#state === 'broken' ? sent.packets > this.#since.packets : sent.grouped > this.#since.grouped;
  }

  /** The link or the peer is another: what was known is not known any more. */
  changed(nowMs: number): void {
    this.#isOutdated = true;
    this.#dueMs = nowMs;
    this.#since = undefined;
    this.#unclearMs = UNCLEAR_FIRST_MS;
    this.#retryMs = RETRY_FIRST_MS;
    // One that is sent single datagrams is so until a probe says otherwise.
    if (this.#state !== 'broken') this.#become('fresh', FIRST);
  }

  /** What came of the probe; `sent`: with it. */
  result(nowMs: number, outcome: Outcome, sent: Sent): void {
    this.#isAsked = false;
    if (this.#isOutdated) return;
    this.#since = sent;
    if (outcome === 'whole') this.#foundWhole(nowMs);
    else if (outcome === 'broken') this.#foundBroken(nowMs);
    else this.#foundNothing(nowMs, outcome);
  }

  #foundWhole(nowMs: number): void {
    this.#unclearMs = UNCLEAR_FIRST_MS;
    if (this.#state === 'broken') this.#wholeSinceMs = nowMs;
    if (this.#state !== 'whole') {
      this.#dueMs = nowMs + LOOK_MS - LOOK_SLACK_MS;
      this.#become('whole', LOOK);
    }
  }

  #foundBroken(nowMs: number): void {
    this.#unclearMs = UNCLEAR_FIRST_MS;
    if (this.#state === 'fresh' || this.#state === 'whole') {
      this.#closeLooks = CLOSE_LOOKS;
      this.#become('suspected', close(this.#wanted.depth));
      this.#at(nowMs);
      return;
    }
    if (this.#state === 'suspected' && nowMs - this.#wholeSinceMs >= TRUSTED_AFTER_MS)
      this.#retryMs = RETRY_FIRST_MS;
    this.#become('broken', RETRY);
    this.#pause(nowMs);
  }

  #foundNothing(nowMs: number, outcome: 'unclear' | 'unanswered' | 'unsupported'): void {
    if (this.#state === 'broken') {
      this.#pause(nowMs);
      return;
    }
    if (this.#state === 'suspected') {
      if (--this.#closeLooks > 0) {
        this.#at(nowMs + CLOSE_LOOK_MS);
        return;
      }
      this.#become('fresh', FIRST);
    }
    if (outcome === 'unsupported') this.#unclearMs = UNCLEAR_LAST_MS;
    this.#dueMs = nowMs + this.#unclearMs;
    this.#unclearMs = Math.min(2 * this.#unclearMs, UNCLEAR_LAST_MS);
  }

  /** Whatever is sent meanwhile. */
  #at(dueMs: number): void {
    this.#dueMs = dueMs;
    this.#since = undefined;
  }

  #pause(nowMs: number): void {
    this.#dueMs = nowMs + this.#retryMs;
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_LAST_MS);
  }

  #become(state: State, wanted: WantedProbe): void {
    this.#state = state;
    this.#wanted = wanted;
  }
}
