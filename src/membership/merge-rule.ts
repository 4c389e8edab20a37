/**
 * What a node does with news about a member, as pure functions. Together they make member tables converge:
 * whatever the order in which two nodes hear the same news, they end with the same entry, but for an accusation
 * that the accused will refute.
 *
 * Records are signed, so only the member itself raises its incarnation. An accusation counts only against
 * exactly the incarnation that is known: a lower one is out of date, and a higher one has no signed record to
 * stand on (were it believed, one false accusation at the highest number could never be refuted).
 */
import type { StateStatus } from './codec.ts';
import type { MemberStatus } from './types.ts';

export interface KnownState {
  readonly incarnation: number;
  readonly status: MemberStatus;
}

/** Whether a (validly signed) record replaces what is known. */
export function recordIsNews(known: KnownState | undefined, incarnation: number): boolean {
  return known === undefined || incarnation > known.incarnation;
}

export type SuspectVerdict = 'suspect' | 'confirm' | 'ignore';

export function judgeSuspect(known: KnownState | undefined, incarnation: number): SuspectVerdict {
  if (known?.incarnation !== incarnation) return 'ignore';
  if (known.status === 'alive') return 'suspect';
  return known.status === 'suspect' ? 'confirm' : 'ignore';
}

/** Whether the member is now dead. One that has left stays so. */
export function deathIsNews(known: KnownState | undefined, incarnation: number): boolean {
  return known?.incarnation === incarnation && (known.status === 'alive' || known.status === 'suspect');
}

/**
 * What a state heard in a push-pull means for a member that was already known: a death is only a reason to
 * suspect, so that a member that this node can hear gets the chance to refute.
 */
export function judgeRemoteStatus(status: StateStatus): 'suspect' | 'nothing' {
  return status === 'suspect' || status === 'dead' ? 'suspect' : 'nothing';
}
