/** What this node has attached: changes are gathered for a moment and become one new version, which is announced. */

import type { Clock, Timer, TimerGroup } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import type { InventoryMark } from '../membership/types.ts';
import { ChangeLog } from './change-log.ts';
import { encodeEntry, MAX_ENTRIES, MAX_INVENTORY_BYTES, MAX_VERSION, type StoredEntry } from './entry.ts';
import type { InventoryEntry } from './inventory.ts';
import { applied, type Difference, differenceOf, emptySnapshot, type Snapshot } from './snapshot.ts';
import type { InventoryTiming } from './timing.ts';
import type { VersionStore } from './version-store.ts';

export interface OwnInventoryOptions {
  readonly store: VersionStore;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: InventoryTiming;
  /** Puts the mark into this node's record. */
  readonly announce: (mark: InventoryMark) => void;
  /** Tells of the mark once more. */
  readonly repeat: () => void;
  /** The entries have changed; others do not know yet. */
  readonly onChange: (difference: Difference) => void;
}

/** Versions that are written to disk at once, ahead of their use. */
export const VERSION_STEP = 1000;

export class OwnInventory {
  readonly #options: OwnInventoryOptions;
  /** What is attached now. Bounded by MAX_ENTRIES and MAX_INVENTORY_BYTES. */
  readonly #entries = new Map<string, StoredEntry>();
  #bytes = 0;
  /** Attachments that are not announced, or not with all their labels; by id. Bounded by MAX_ENTRIES. */
  readonly #misfits = new Map<string, string>();
  #announced: Snapshot;
  #log: ChangeLog;
  /** Up to here versions may be used: so it stands on disk. */
  #reserved: number;
  #isStarted = false;
  #isDue = false;
  #announcedAtMs = Number.NEGATIVE_INFINITY;
  #repeat: Timer | undefined;
  #problem: string | undefined;

  /** May throw what the store throws (STATE_CORRUPT and the like). */
  constructor(options: OwnInventoryOptions) {
    this.#options = options;
    this.#reserved = options.store.load() ?? 0;
    this.#announced = emptySnapshot(this.#reserved);
    this.#log = new ChangeLog(this.#reserved);
  }

  /** The version that others are told of. */
  get announced(): Snapshot {
    return this.#announced;
  }

  get isAnnounced(): boolean {
    return this.#isStarted && !this.#isDue;
  }

  get log(): ChangeLog {
    return this.#log;
  }

  get entries(): ReadonlyMap<string, StoredEntry> {
    return this.#entries;
  }

  /** Announces what is attached already, as one version. */
  start(): void {
    this.#isStarted = true;
    this.#announce();
  }

  stop(): void {
    if (!this.#isStarted) return;
    this.#isStarted = false;
    // The next run goes on right above.
    if (this.#reserved > this.#announced.version) this.#save(this.#announced.version);
  }

  /**
   * Adds or replaces an attachment. An attachment works without being known elsewhere: what cannot be announced is
   * no error here, but a problem to show.
   */
  set(entry: InventoryEntry): void {
    const encoded = encodeEntry(entry);
    if (!encoded) {
      this.delete(entry.id);
      this.#misfit(entry.id, 'its id, name, network or addresses are longer or more than others take');
      return;
    }
    const { stored, omittedLabels } = encoded;
    const before = this.#entries.get(entry.id);
    const bytes = this.#bytes + stored.bytes.length - (before?.bytes.length ?? 0);
    if ((!before && this.#entries.size >= MAX_ENTRIES) || bytes > MAX_INVENTORY_BYTES) {
      this.delete(entry.id);
      this.#misfit(entry.id, 'this node has more of them than others take');
      return;
    }
    this.#misfits.delete(entry.id);
    if (omittedLabels > 0) this.#misfit(entry.id, `${omittedLabels} of its labels`);
    if (before?.hash === stored.hash) return;
    this.#entries.set(entry.id, stored);
    this.#bytes = bytes;
    this.#changed({ set: [stored], deleted: [] });
  }

  /** Nothing happens if there is none of that id. */
  delete(id: string): void {
    this.#misfits.delete(id);
    const before = this.#entries.get(id);
    if (!before) return;
    this.#entries.delete(id);
    this.#bytes -= before.bytes.length;
    this.#changed({ set: [], deleted: [id] });
  }

  problems(): string[] {
    const problems: string[] = [];
    const [first] = this.#misfits;
    if (first) {
      const [id, what] = first;
      const others = this.#misfits.size === 1 ? '' : ` (and ${this.#misfits.size - 1} more)`;
      problems.push(`attachment ${id}${others} is not announced to other nodes as it is: ${what}`);
    }
    if (this.#problem) problems.push(this.#problem);
    return problems;
  }

  #misfit(id: string, what: string): void {
    if (this.#misfits.size < MAX_ENTRIES) this.#misfits.set(id.slice(0, 128), what);
  }

  #changed(difference: Difference): void {
    this.#options.onChange(difference);
    if (!this.#isStarted || this.#isDue) return;
    this.#isDue = true;
    const { clock, timers, timing } = this.#options;
    const waitMs = this.#announcedAtMs + timing.versionIntervalMs - clock.now();
    timers.after(Math.max(timing.coalesceMs, waitMs), () => {
      this.#isDue = false;
      this.#announce();
    });
  }

  #announce(): void {
    const { clock, announce, repeat, timers, timing } = this.#options;
    const present = { ...this.#announced, entries: this.#entries };
    const difference = differenceOf(this.#announced, present);
    const isFirst = this.#announcedAtMs === Number.NEGATIVE_INFINITY;
    if (!isFirst && difference.set.length + difference.deleted.length === 0) return;
    const version = this.#nextVersion();
    this.#announced = applied(this.#announced, difference, version);
    // Of what an earlier run had announced nothing is known any more.
    if (isFirst) this.#log = new ChangeLog(version);
    else this.#log.add(version, difference);
    this.#announcedAtMs = clock.now();
    announce({ version, hash: this.#announced.hash });
    this.#repeat?.cancel();
    this.#repeat = timers.after(timing.repeatMs, repeat);
  }

  #nextVersion(): number {
    const version = Math.min(this.#announced.version + 1, MAX_VERSION);
    // A node that never had anything spares its disk: what it says of nothing may be said again by its next run.
    const isNothing = this.#reserved === 0 && this.#entries.size === 0;
    if (version > this.#reserved && !isNothing) {
      this.#save(Math.min(version + VERSION_STEP - 1, MAX_VERSION));
    }
    return version;
  }

  /** If the disk refuses, others are told all the same: a version that comes twice costs them a whole pull. */
  #save(version: number): void {
    try {
      this.#options.store.save(version);
      this.#reserved = version;
      this.#problem = undefined;
    } catch (error) {
      this.#problem = errorMessage(error);
    }
  }
}
