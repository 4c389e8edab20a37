/**
 * What the rounds of a probe say. Damage by a kernel or a driver hits the same datagrams of a group each time; loss on
 * the way hits now these, now those, and single datagrams as well. So a group is broken if one of its datagrams is
 * missing in every round that counts, and a round counts for a group whose single datagram came.
 */
import type { Group, Plan } from './plan.ts';

/** What came whole of one round. */
export type Received = ReadonlySet<number>;

export interface Verdict {
  readonly finding: 'whole' | 'broken' | 'unclear';
  /** Datagrams that were sent in groups and did not come whole, of how many; in rounds that count. */
  readonly lost: number;
  readonly sent: number;
}

/** `enough`: rounds that must count for a group. */
export function verdictOf(plan: Plan, rounds: readonly Received[], enough: number): Verdict {
  let lost = 0;
  let sent = 0;
  let isBroken = false;
  let isUnclear = false;
  for (const group of plan.groups) {
    const counting = rounds.filter((received) => received.has(group.single));
    for (const received of counting) lost += group.slots.filter((slot) => !received.has(slot)).length;
    sent += counting.length * group.slots.length;
    if (counting.length < enough) isUnclear = true;
    else if (isAlwaysMissing(group, counting)) isBroken = true;
  }
  return { finding: isBroken ? 'broken' : isUnclear ? 'unclear' : 'whole', lost, sent };
}

function isAlwaysMissing({ slots }: Group, rounds: readonly Received[]): boolean {
  return slots.some((slot) => rounds.every((received) => !received.has(slot)));
}
