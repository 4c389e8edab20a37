/**
 * The latest changes of an inventory, so that who has an older version can be given the difference. A step says which
 * entries changed and what they were afterwards. So the steps from any version at or before the asker's make the
 * right result: what did not change in between is set to what it is already.
 */
import type { StoredEntry } from './entry.ts';
import type { Difference } from './snapshot.ts';

const MAX_STEPS = 256;
/** Entries named in all steps together. */
const MAX_CHANGES = 2048;

interface Step extends Difference {
  readonly to: number;
}

export class ChangeLog {
  /** The version before the first step. */
  #from: number;
  /** Bounded by MAX_STEPS and MAX_CHANGES; the oldest go first. */
  #steps: Step[] = [];
  #changes = 0;

  constructor(version: number) {
    this.#from = version;
  }

  add(to: number, { set, deleted }: Difference): void {
    this.#steps.push({ to, set, deleted });
    this.#changes += set.length + deleted.length;
    while (this.#steps.length > MAX_STEPS || this.#changes > MAX_CHANGES) {
      const oldest = this.#steps.shift()!;
      this.#from = oldest.to;
      this.#changes -= oldest.set.length + oldest.deleted.length;
    }
  }

  /** From `have` to the first version here that is not below `version`; undefined: the log does not reach so far. */
  between(have: number, version: number): (Difference & { readonly version: number }) | undefined {
    if (have < this.#from || have >= version) return undefined;
    const changed = new Map<string, StoredEntry | undefined>();
    for (const { to, set, deleted } of this.#steps) {
      if (to <= have) continue;
      for (const id of deleted) changed.set(id, undefined);
      for (const stored of set) changed.set(stored.entry.id, stored);
      if (to < version) continue;
      const all = [...changed];
      return {
        version: to,
        set: all.flatMap(([, stored]) => stored ?? []),
        deleted: all.flatMap(([id, stored]) => (stored ? [] : id)),
      };
    }
    return undefined;
  }
}
