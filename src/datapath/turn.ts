/**
 * A turn of one direction: how much it may do before the other one gets its own, and how long it may wait where
 * the kernel takes no more.
 *
 * All peers share one UDP socket, and so one send buffer. Datagrams to a peer whose route is slow (a shaper, a
 * link that backs up) stay charged to it until they leave; once they fill it the kernel takes none for any peer,
 * and does not say whose fill it. So a slow peer cannot be told from a slow link, and this is what holds:
 *
 *   - A turn waits once, FULL_WAIT_MS in all, however many messages meet a full buffer. After that each one left
 *     is tried once more, which lets those through that there is room for; the others are dropped and counted.
 *   - A turn that had to wait is over when it has dealt with what it read. What it has not read stays in the TUN's
 *     queue, where senders feel that it is full.
 *   - The other direction goes on during the wait (worker.ts).
 *   - Who wants to stop the worker or to change its forwarding state waits WAKE_GRACE_MS longer at most. The state
 *     cannot be changed within the wait: messages that wait hold places in the table of VTEPs.
 */

/** Reads, or received messages, of one turn. */
const TURN_PACKETS = 64;
/** Bytes of one turn: four superpackets. The last read or receive may go beyond it. */
const TURN_BYTES = 256 * 1024;

/** What a flush holds, some 64 KB, leaves within this time on any link of more than 3 Mbit/s. */
export const FULL_WAIT_MS = 200;
export const WAKE_GRACE_MS = 50;
/**
 * poll(2) calls a socket writable when half of its buffer is free, which can take seconds. A message is taken as
 * soon as there is any room at all: so try now and then, whatever poll says.
 */
const RETRY_MS = 2;

export interface TurnParts {
  /**
   * Blocks until there is room, for `timeoutMs` at most. Returns whether the control thread wants to be heard,
   * which ends the wait too if `watchesWake`.
   */
  readonly blockForRoom: (timeoutMs: number, watchesWake: boolean) => boolean;
  /** A clock that never jumps. */
  readonly nowMs: () => number;
}

export class Turn {
  readonly #parts: TurnParts;
  #packets = 0;
  #bytes = 0;
  #hasWaited = false;
  #isWoken = false;
  #deadlineMs = 0;

  constructor(parts: TurnParts) {
    this.#parts = parts;
  }

  begin(): void {
    this.#packets = 0;
    this.#bytes = 0;
    this.#hasWaited = false;
  }

  /** One more read or received message. */
  count(bytes: number): void {
    this.#packets++;
    this.#bytes += bytes;
  }

  get isOver(): boolean {
    return this.#packets >= TURN_PACKETS || this.#bytes >= TURN_BYTES || this.#hasWaited;
  }

  /** After EAGAIN: true if it is worth another try, false if this turn has waited long enough. */
  waitForRoom(): boolean {
    const nowMs = this.#parts.nowMs();
    if (!this.#hasWaited) {
      this.#hasWaited = true;
      this.#isWoken = false;
      this.#deadlineMs = nowMs + FULL_WAIT_MS;
    }
    const leftMs = this.#deadlineMs - nowMs;
    if (leftMs <= 0) return false;
    if (this.#parts.blockForRoom(Math.min(RETRY_MS, Math.ceil(leftMs)), !this.#isWoken)) {
      this.#isWoken = true;
      this.#deadlineMs = Math.min(this.#deadlineMs, nowMs + WAKE_GRACE_MS);
    }
    return true;
  }
}
