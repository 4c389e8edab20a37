/** The lease on its way to the disk: nothing is announced that is not written, and a disk that refuses is tried again. */
import type { TimerGroup } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import type { Logger } from '../log/logger.ts';
import type { LeaseStore, StoredLease } from './lease-store.ts';

export interface LeaseWriterOptions {
  readonly store: LeaseStore;
  readonly logger: Logger;
  readonly timers: TimerGroup;
  readonly retryMs: number;
}

export class LeaseWriter {
  readonly #options: LeaseWriterOptions;
  #problem: string | undefined;

  constructor(options: LeaseWriterOptions) {
    this.#options = options;
  }

  /** Why the disk does not hold what it should. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** False if the disk refuses: the caller tries again after `retryMs`, if it still wants that lease then. */
  save(lease: StoredLease): boolean {
    return this.#write(() => this.#options.store.save(lease));
  }

  /** A lease that stays on the disk is only asked for again after a restart: retried while `isWanted`, no longer. */
  clear(isWanted: () => boolean): void {
    if (this.#write(() => this.#options.store.clear())) return;
    this.#options.timers.after(this.#options.retryMs, () => {
      if (isWanted()) this.clear(isWanted);
    });
  }

  #write(write: () => void): boolean {
    try {
      write();
      this.#problem = undefined;
      return true;
    } catch (error) {
      const text = `cannot write the lease: ${errorMessage(error)}`;
      if (this.#problem !== text) this.#options.logger.error(`${text}; trying again`);
      this.#problem = text;
      return false;
    }
  }
}
