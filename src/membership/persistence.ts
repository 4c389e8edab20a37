/**
 * Writes what membership keeps across restarts (store.ts), a little after it changes and when the agent stops, and
 * restores it at the start: members that had leases come back as `restored`, which counts as dead until there is news
 * of them.
 */

import type { Clock, TimerGroup } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import { type Boot, downtimeMs } from './downtime.ts';
import { isGone } from './entry-store.ts';
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
  /** Absent: time that passes while the agent does not run is not known. */
  readonly boot: Boot | undefined;
  /** What the store held at the start. */
  readonly stored: StoredMembership | undefined;
}

/** Changes are written at most this often; in a large cluster less often, since all of it is written. */
const SAVE_DELAY_MS = 1000;
const SAVE_DELAY_PER_MEMBER_MS = 2;
const RETRY_MS = 10_000;

export class Persistence {
  readonly #options: PersistenceOptions;
  #members: readonly Endpoint[];
  #isDue = false;
  #problem: string | undefined;

  constructor(options: PersistenceOptions) {
    this.#options = options;
    const { roster, stored, boot } = options;
    this.#members = stored?.members ?? [];
    const written = stored?.written;
    const sinceMs = written && boot ? downtimeMs(written, boot) : 0;
    // A clock that was set back meanwhile makes nothing younger than new, one that was set ahead nothing older.
    const ageMs = (at: number) => (written ? Math.max(0, written.at - at) + sinceMs : 0);
    for (const { id, generation, at } of stored?.tombstones ?? []) {
      roster.tombstones.add(id, generation, ageMs(at));
    }
    // Who was there when this node stopped may have gone at any time since: its time runs from now.
    for (const { signed, goneAt } of stored?.lessees ?? []) {
      roster.restore(signed, goneAt === undefined ? 0 : ageMs(goneAt));
    }
  }

  /** Why the disk does not hold what it should. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** To be called when something that is kept has changed. */
  changed(): void {
    this.#writeAfter(SAVE_DELAY_MS + SAVE_DELAY_PER_MEMBER_MS * this.#options.roster.table.length);
  }

  write(): void {
    this.#isDue = false;
    try {
      this.#options.store.save(() => this.#state());
      this.#problem = undefined;
    } catch (error) {
      const text = `cannot write the known members: ${errorMessage(error)}`;
      if (this.#problem !== text) this.#options.logger.error(`${text}; trying again`);
      this.#problem = text;
      this.#writeAfter(RETRY_MS);
    }
  }

  #writeAfter(delayMs: number): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#options.timers.after(delayMs, () => {
      if (this.#isDue) this.write();
    });
  }

  #state(): StoredMembership {
    const { self, roster, clock, random, boot } = this.#options;
    const others = sample(
      random,
      roster.table,
      MAX_REMEMBERED,
      (entry) => entry.id !== self.id && entry.status !== 'left' && entry.status !== 'dead',
    );
    // A node that lost everyone keeps what it remembers.
    if (others.length > 0) this.#members = others.map((entry) => entry.record.gossip);
    const startMs = clock.wallTime() - clock.now();
    const lessees = [...roster.table].filter(({ id, record }) => record.lease && id !== self.id);
    return {
      written: { bootId: boot?.id ?? '', uptimeMs: boot?.uptimeMs() ?? 0, at: Math.round(clock.wallTime()) },
      incarnation: self.record.incarnation,
      generation: self.record.generation,
      members: this.#members,
      tombstones: [...roster.tombstones].map(({ id, generation, sinceMs }) => ({
        id,
        generation,
        at: Math.round(startMs + sinceMs),
      })),
      lessees: lessees.map(({ signed, status, statusSinceMs }) => ({
        signed,
        goneAt: isGone(status) ? Math.round(startMs + statusSinceMs) : undefined,
      })),
    };
  }
}
