/**
 * Refuses datagrams that were received before. A sender numbers its datagrams 1, 2, 3, ... within a session
 * (one run of the agent); a receiver remembers the highest number and which of the 64 before it came in.
 * Numbers below that window are refused as stale (RFC 6479 describes the same idea for IPsec).
 */
interface Window {
  highest: number;
  /** Bit i (0 to 31): number `highest - i` was seen. */
  recent: number;
  /** Bit i: number `highest - 32 - i` was seen. */
  older: number;
}

export const REPLAY_WINDOW = 64;
/**
 * One per member and some to spare, about 150 bytes each. The session unheard for the longest is forgotten
 * first, and what comes under a session of no member changes nothing (link.ts).
 */
const MAX_SESSIONS = 20_000;

export class ReplayGuard {
  readonly #windows = new Map<string, Window>();

  /** Marks `number` of `session` as seen; false if it was seen before or is too old to tell. */
  accept(session: string, number: number): boolean {
    const window = this.#windows.get(session);
    if (window === undefined) {
      this.#windows.set(session, { highest: number, recent: 1, older: 0 });
      this.#forgetOldest();
      return true;
    }
    // Most recently used last.
    this.#windows.delete(session);
    this.#windows.set(session, window);
    return acceptNumber(window, number);
  }

  #forgetOldest(): void {
    if (this.#windows.size <= MAX_SESSIONS) return;
    for (const oldest of this.#windows.keys()) {
      this.#windows.delete(oldest);
      return;
    }
  }
}

function acceptNumber(window: Window, number: number): boolean {
  if (number > window.highest) {
    advance(window, number - window.highest);
    window.highest = number;
    window.recent |= 1;
    return true;
  }
  const age = window.highest - number;
  if (age >= REPLAY_WINDOW) return false;
  const bit = 1 << (age & 31);
  if (age < 32) {
    if (window.recent & bit) return false;
    window.recent |= bit;
  } else {
    if (window.older & bit) return false;
    window.older |= bit;
  }
  return true;
}

function advance(window: Window, by: number): void {
  if (by >= REPLAY_WINDOW) {
    window.recent = 0;
    window.older = 0;
  } else if (by >= 32) {
    window.older = by === 32 ? window.recent : window.recent << (by - 32);
    window.recent = 0;
  } else {
    window.older = (window.older << by) | (window.recent >>> (32 - by));
    window.recent <<= by;
  }
}
