/** Many lease histories, and what became of them. */
import { runLeaseHistory } from './lease-history.ts';

export interface LeaseFailure {
  readonly seed: number;
  readonly violation: string;
}

export interface LeaseResults {
  readonly firstSeed: number;
  readonly histories: number;
  readonly failures: readonly LeaseFailure[];
  readonly slowestAgreementMs: number;
}

export async function runLeaseHistories(firstSeed: number, histories: number): Promise<LeaseResults> {
  const failures: LeaseFailure[] = [];
  let slowestAgreementMs = 0;
  for (let seed = firstSeed; seed < firstSeed + histories; seed++) {
    const { violations, agreedAfterMs } = await runLeaseHistory(seed);
    slowestAgreementMs = Math.max(slowestAgreementMs, agreedAfterMs);
    const [violation] = violations;
    if (violation !== undefined) failures.push({ seed, violation });
  }
  return { firstSeed, histories, failures, slowestAgreementMs };
}

/** What parts of one run of histories, in order, come to together. */
export function joinLeaseResults(parts: readonly LeaseResults[]): LeaseResults {
  return {
    firstSeed: parts[0]?.firstSeed ?? 0,
    histories: parts.reduce((sum, { histories }) => sum + histories, 0),
    failures: parts.flatMap(({ failures }) => failures),
    slowestAgreementMs: Math.max(0, ...parts.map((part) => part.slowestAgreementMs)),
  };
}
