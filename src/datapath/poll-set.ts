/** Descriptors that a thread blocks on together (poll(2)); a vector that is laid out once and asked again and again. */
import { Arena } from '../sys/arena.ts';
import { EINTR } from '../sys/constants.ts';
import { SysError } from '../sys/errors.ts';
import * as libc from '../sys/libc.ts';
import { POLLFD } from '../sys/structs.ts';

export interface Watched {
  readonly fd: number;
  /** POLLIN or POLLOUT. */
  readonly events: number;
}

export class PollSet {
  readonly #vector: Arena;
  readonly #count: number;

  constructor(watched: readonly Watched[]) {
    this.#count = watched.length;
    this.#vector = new Arena(watched.length * POLLFD.bytes);
    for (const [index, { fd, events }] of watched.entries()) {
      this.#vector.view.setInt32(index * POLLFD.bytes + POLLFD.fd, fd, true);
      this.#vector.view.setInt16(index * POLLFD.bytes + POLLFD.events, events, true);
    }
  }

  /**
   * Blocks until one of the first `count` (by default all) is ready, for `timeoutMs` at most; -1: for as long as it
   * takes. False if a signal came first: then nothing is known of any.
   */
  wait(timeoutMs: number, count = this.#count): boolean {
    if (libc.poll(this.#vector.address(0), count, timeoutMs) >= 0) return true;
    const errno = libc.errno();
    if (errno === EINTR) return false;
    throw new SysError('poll', errno, 'waiting for packets');
  }

  /** Whether the wait before found that one ready, or broken. */
  isReady(index: number): boolean {
    return this.#vector.view.getInt16(index * POLLFD.bytes + POLLFD.revents, true) !== 0;
  }

  /** Never reports that one again: poll(2) passes over a negative descriptor. */
  forget(index: number): void {
    this.#vector.view.setInt32(index * POLLFD.bytes + POLLFD.fd, -1, true);
  }
}
