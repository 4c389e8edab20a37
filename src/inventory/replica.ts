/**
 * Another node's inventory as this node has it. Readers see only what the node has signed: the entries whose hash
 * stands in a record of it. An answer that is newer than the record known here is kept aside until that record comes,
 * or is what the next difference is applied to.
 */
import type { InventoryMark } from '../membership/types.ts';
import { ChangeLog } from './change-log.ts';
import { EMPTY_HASH } from './entry.ts';
import type { PullAnswer } from './pull-messages.ts';
import { applied, emptySnapshot, isWithinBounds, type Snapshot } from './snapshot.ts';

/** What a pull asks for, and what its answer will be applied to. */
export interface PullBasis {
  readonly mark: InventoryMark;
  /** Undefined: all is asked for. */
  readonly base: Snapshot | undefined;
}

/**
 * `taken`: it is what the node signed. `ahead`: newer than what is known to be signed, kept aside. `wrong`: not what
 * the node signed. `useless`: older than what was asked for. `full`: there is no room for it.
 */
export type Verdict = 'taken' | 'ahead' | 'wrong' | 'useless' | 'full';

export class Replica {
  readonly nodeId: string;
  readonly #mayGrow: (byBytes: number) => boolean;
  readonly #onTaken: (before: Snapshot | undefined, after: Snapshot) => void;
  #mark: InventoryMark;
  #snapshot: Snapshot | undefined;
  #ahead: Snapshot | undefined;
  #log = new ChangeLog(0);
  #isWholeNeeded = false;

  constructor(
    nodeId: string,
    mark: InventoryMark,
    options: {
      /** Whether there is room for so many bytes more, which then count as taken. */
      readonly mayGrow: (byBytes: number) => boolean;
      readonly onTaken: (before: Snapshot | undefined, after: Snapshot) => void;
    },
  ) {
    this.nodeId = nodeId;
    this.#mark = mark;
    this.#mayGrow = options.mayGrow;
    this.#onTaken = options.onTaken;
  }

  get mark(): InventoryMark {
    return this.#mark;
  }

  /** The last one that was whole and signed; it may be behind the mark. */
  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get log(): ChangeLog {
    return this.#log;
  }

  get isCurrent(): boolean {
    return this.#snapshot?.version === this.#mark.version && this.#snapshot.hash === this.#mark.hash;
  }

  /** All bytes that it holds. */
  get bytes(): number {
    return (this.#snapshot?.bytes ?? 0) + (this.#ahead?.bytes ?? 0);
  }

  /** The mark in the newest record of the node. What is here already may be just that. */
  announced(mark: InventoryMark): void {
    this.#mark = mark;
    if (this.isCurrent) return;
    const ahead = this.#ahead;
    if (this.#snapshot?.hash === mark.hash) {
      // As after a restart. What was in between, if anything, is not known.
      this.#take({ ...this.#snapshot, version: mark.version });
    } else if (mark.hash === EMPTY_HASH) {
      this.#take(emptySnapshot(mark.version));
    } else if (ahead?.version === mark.version && ahead.hash === mark.hash) {
      this.#take(ahead);
    } else if (ahead && ahead.version === mark.version) {
      this.#setAhead(undefined);
    }
  }

  /** What to ask for now. */
  basis(): PullBasis {
    const bases = this.#isWholeNeeded ? [] : [this.#ahead, this.#snapshot];
    return {
      mark: this.#mark,
      base: bases.find((base) => base && base.version < this.#mark.version && base.entries.size > 0),
    };
  }

  accept(answer: PullAnswer, { mark, base }: PullBasis): Verdict {
    if (answer.kind === 'absent' || answer.version < mark.version) return 'useless';
    if (answer.kind === 'difference' && !base) return 'wrong';
    const before = answer.kind === 'difference' ? base! : emptySnapshot(0);
    const difference = { set: answer.entries, deleted: answer.deleted };
    const result = applied(before, difference, answer.version);
    const isSigned = [mark, this.#mark].some(
      ({ version, hash }) => version === result.version && hash === result.hash,
    );
    if (!isWithinBounds(result)) return this.#refuse();
    if (isSigned) {
      // Of a mark that is out of date by now, only what is newer than what came meanwhile.
      if (!this.#isNews(result)) return 'useless';
      const isNext = answer.kind === 'difference' && before === this.#snapshot;
      if (!this.#take(result, isNext ? difference : undefined)) return 'full';
      this.#isWholeNeeded = false;
      return 'taken';
    }
    if (result.version > this.#mark.version) return this.#setAhead(result) ? 'ahead' : 'full';
    return this.#refuse();
  }

  /** Frees what it holds. */
  drop(): void {
    this.#mayGrow(-this.bytes);
    this.#snapshot = undefined;
    this.#ahead = undefined;
  }

  /** Either base may be what is wrong. */
  #refuse(): Verdict {
    this.#setAhead(undefined);
    this.#isWholeNeeded = true;
    return 'wrong';
  }

  #isNews({ version, hash }: Snapshot): boolean {
    const isPresent = version === this.#mark.version && hash === this.#mark.hash;
    return isPresent || (!this.isCurrent && version > (this.#snapshot?.version ?? 0));
  }

  #take(snapshot: Snapshot, step?: { set: PullAnswer['entries']; deleted: readonly string[] }): boolean {
    const ahead = this.#ahead && this.#ahead.version <= snapshot.version ? this.#ahead : undefined;
    const growth = snapshot.bytes - (this.#snapshot?.bytes ?? 0) - (ahead?.bytes ?? 0);
    if (!this.#mayGrow(growth)) return false;
    if (ahead) this.#ahead = undefined;
    const before = this.#snapshot;
    this.#snapshot = snapshot;
    if (step) this.#log.add(snapshot.version, step);
    else this.#log = new ChangeLog(snapshot.version);
    this.#onTaken(before, snapshot);
    return true;
  }

  #setAhead(snapshot: Snapshot | undefined): boolean {
    if (!this.#mayGrow((snapshot?.bytes ?? 0) - (this.#ahead?.bytes ?? 0))) return false;
    this.#ahead = snapshot;
    return true;
  }
}
