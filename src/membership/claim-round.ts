/** Shows a claim to other nodes at once, and waits for what each of them knows of the same subnets. */
import type { TimerGroup } from '../clock.ts';
import type { MemberEntry } from './member-table.ts';
import { type Random, sample } from './random.ts';
import type { Roster } from './roster.ts';
import type { Synchronizer } from './sync.ts';

export interface ClaimRoundOptions {
  readonly selfId: string;
  readonly roster: Roster;
  readonly synchronizer: Synchronizer;
  readonly random: Random;
  readonly timers: TimerGroup;
}

export interface ClaimRoundResult {
  readonly asked: number;
  readonly answered: number;
}

/** Asks `others` random members, and those of the ids in `first`. */
export function claimRound(
  { selfId, roster, synchronizer, random, timers }: ClaimRoundOptions,
  first: Iterable<string>,
  others: number,
  done: (result: ClaimRoundResult) => void,
): void {
  const isOther = (entry: MemberEntry) => entry.status === 'alive' && entry.id !== selfId;
  const chosen = new Set(sample(random, roster.table, others, isOther));
  for (const id of first) {
    const entry = roster.table.get(id);
    if (entry && isOther(entry)) chosen.add(entry);
  }
  const result = { asked: chosen.size, answered: 0 };
  let open = chosen.size;
  if (open === 0) timers.after(0, () => done(result));
  for (const { record } of chosen) {
    synchronizer.claim(record, (outcome) => {
      if (!('error' in outcome)) result.answered++;
      if (--open === 0) done(result);
    });
  }
}
