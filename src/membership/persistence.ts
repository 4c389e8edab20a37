/** Writes what membership keeps across restarts (store.ts): a little after it changes, and when the agent stops. */
import { errorMessage } from '../errors.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { Clock, TimerGroup } from './clock.ts';
import { type Random, sample } from './random.ts';
import type { Roster } from './roster.ts';
import type { SelfRecord } from './self.ts';
import { MAX_REMEMBERED, type MembershipStore, type StoredMembership } from './store.ts';

export interface PersistenceOptions {
  readonly store: MembershipStore;
  readonly self: SelfRecord;
  readonly roster: Roster;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly random: Random;
  readonly logger: Logger;
  /** What the store held at the start. */
  readonly stored: StoredMembership | undefined;
}

/** Incarnation and members are written at most this often. */
const SAVE_DELAY_MS = 1000;

export class Persistence {
  readonly #options: PersistenceOptions;
  #members: readonly Endpoint[];
  #isDue = false;

  constructor(options: PersistenceOptions) {
    this.#options = options;
    this.#members = options.stored?.members ?? [];
    const nowMs = options.clock.wallTime();
    for (const { id, generation, at } of options.stored?.tombstones ?? []) {
      options.roster.tombstones.add(id, generation, Math.max(0, nowMs - at));
    }
  }

  /** To be called when something that is kept has changed. */
  changed(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.timers.after(SAVE_DELAY_MS, () => this.write());
  }

  write(): void {
    this.#isDue = false;
    const { store, self, roster, clock, random, logger } = this.#options;
    const others = sample(
      random,
      roster.table,
      MAX_REMEMBERED,
      (entry) => entry.id !== self.id && entry.status !== 'left' && entry.status !== 'dead',
    );
    // A node that lost everyone keeps what it remembers.
    if (others.length > 0) this.#members = others.map((entry) => entry.record.gossip);
    const startMs = clock.wallTime() - clock.now();
    try {
      store.save({
        incarnation: self.record.incarnation,
        generation: self.record.generation,
        members: this.#members,
        tombstones: [...roster.tombstones].map(({ id, generation, sinceMs }) => ({
          id,
          generation,
          at: Math.round(startMs + sinceMs),
        })),
      });
    } catch (error) {
      logger.error({ reason: errorMessage(error) }, 'cannot write the known members');
    }
  }
}
