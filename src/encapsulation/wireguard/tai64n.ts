/**
 * TAI64N timestamps (https://cr.yp.to/libtai/tai64.html), which make an old initiation worthless: a responder takes only
 * one that is later than all before it from the same key.
 *
 *    0               8          12
 *    +---------------+-----------+
 *    | 2^62 + second | nanosecond|   big-endian, so that bytes compare as times do
 *    +---------------+-----------+
 *
 * A node whose clock was put back would be refused by all its peers until the clock is past the old time. So each run
 * begins at the larger of the clock and a ceiling on disk, which is raised before a timestamp reaches it.
 */

export const TIMESTAMP_BYTES = 12;

const TAI_BASE = 2n ** 62n;
/** TAI was ten seconds ahead of UTC in 1970. Leap seconds do not matter: only this node's own timestamps are compared. */
const TAI_OFFSET_S = 10n;
const MICROSECONDS = 1_000_000;
/** How far the ceiling is raised each time: one write in ten minutes, while there are handshakes. */
const AHEAD_MS = 600_000;

/** The highest time that may have been sent, in microseconds since 1970. */
export interface CeilingStore {
  /** Undefined: nothing was ever sent. */
  load(): number | undefined;
  /** Durable when it returns. */
  save(ceilingUs: number): void;
}

export class Timestamps {
  readonly #wallTime: () => number;
  readonly #store: CeilingStore;
  /** What was given last; a whole number of microseconds, exact until the year 2255. */
  #lastUs: number;
  #ceilingUs: number;

  /** `wallTime`: milliseconds since 1970, as the host believes. */
  constructor(wallTime: () => number, store: CeilingStore) {
    this.#wallTime = wallTime;
    this.#store = store;
    this.#ceilingUs = store.load() ?? 0;
    this.#lastUs = this.#ceilingUs;
  }

  /** Later than each one before, in this run and in earlier ones. Throws if the ceiling cannot be written. */
  next(): Buffer {
    // Whole milliseconds: finer ones would tell others about this machine's clock.
    const nextUs = Math.max(Math.floor(this.#wallTime()) * 1_000, this.#lastUs + 1);
    if (nextUs >= this.#ceilingUs) {
      const ceilingUs = nextUs + AHEAD_MS * 1_000;
      this.#store.save(ceilingUs);
      this.#ceilingUs = ceilingUs;
    }
    this.#lastUs = nextUs;
    return timestampOf(nextUs);
  }
}

function timestampOf(microseconds: number): Buffer {
  const bytes = Buffer.alloc(TIMESTAMP_BYTES);
  bytes.writeBigUInt64BE(TAI_BASE + TAI_OFFSET_S + BigInt(Math.floor(microseconds / MICROSECONDS)), 0);
  bytes.writeUInt32BE((microseconds % MICROSECONDS) * 1_000, 8);
  return bytes;
}
