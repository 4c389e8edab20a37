/**
 * All statements that this node goes by, as a set that merges: of each approver's statements about a node the latest is
 * kept. Merging is commutative, associative and idempotent, so nodes that trust the same approvers come to the same
 * verdicts, whatever order the news comes in.
 *
 * Each approver's word is kept apart, so that what one says cannot push out what another has said: when an approver is
 * not trusted any more, the others' words count again.
 */
import type { SignedStatement, Statement, Verdict } from './statement.ts';

export const MAX_APPROVERS = 8;
/** More nodes than a cluster has at a time; what was said of those that have gone is kept too. Some 500 bytes each. */
export const MAX_STATEMENTS_PER_APPROVER = 12_000;

export interface KeptStatement {
  readonly statement: Statement;
  readonly signed: SignedStatement;
}

export class Statements {
  /** By approver, then by node; bounded by the two limits above. */
  readonly #byApprover = new Map<string, Map<string, KeptStatement>>();

  /** Whether `statement` says more than what is known of its approver about its node. */
  isNews(statement: Statement, signed: SignedStatement): boolean {
    const known = this.#byApprover.get(statement.approver)?.get(statement.node);
    return known === undefined || supersedes({ statement, signed }, known);
  }

  /** Whether there is room for one more. */
  hasRoom({ approver, node }: Statement): boolean {
    const all = this.#byApprover.get(approver);
    if (!all) return this.#byApprover.size < MAX_APPROVERS;
    return all.has(node) || all.size < MAX_STATEMENTS_PER_APPROVER;
  }

  /** What it replaces. */
  put(kept: KeptStatement): KeptStatement | undefined {
    const { approver, node } = kept.statement;
    const all = this.#byApprover.get(approver) ?? new Map<string, KeptStatement>();
    this.#byApprover.set(approver, all);
    const before = all.get(node);
    all.set(node, kept);
    return before;
  }

  /** Lets go of all that this approver has said. */
  drop(approver: string): KeptStatement[] {
    const all = [...(this.#byApprover.get(approver)?.values() ?? [])];
    this.#byApprover.delete(approver);
    return all;
  }

  approvers(): string[] {
    return [...this.#byApprover.keys()];
  }

  /**
   * What counts about a node: the highest version, and at the same one a revocation. What an approver says of itself does
   * not count.
   */
  about(node: string): Statement | undefined {
    let best: Statement | undefined;
    for (const [approver, all] of this.#byApprover) {
      const statement = approver === node ? undefined : all.get(node)?.statement;
      if (statement && (!best || outranks(statement, best))) best = statement;
    }
    return best;
  }

  of(approver: string, node: string): Statement | undefined {
    return this.#byApprover.get(approver)?.get(node)?.statement;
  }

  /** The nodes that somebody has said something about. */
  nodes(): Set<string> {
    const nodes = new Set<string>();
    for (const all of this.#byApprover.values()) for (const node of all.keys()) nodes.add(node);
    return nodes;
  }

  /** The version of the next statement about this node. */
  nextVersion(node: string): number {
    let highest = 0;
    for (const all of this.#byApprover.values()) {
      highest = Math.max(highest, all.get(node)?.statement.version ?? 0);
    }
    return Math.min(0xffff_ffff, highest + 1);
  }

  *[Symbol.iterator](): IterableIterator<KeptStatement> {
    for (const all of this.#byApprover.values()) yield* all.values();
  }
}

/** Of two statements of one approver about one node. Equal versions come of an approver whose state was put back. */
function supersedes(a: KeptStatement, b: KeptStatement): boolean {
  if (a.statement.version !== b.statement.version) return a.statement.version > b.statement.version;
  if (a.statement.verdict !== b.statement.verdict) return a.statement.verdict === 'revoked';
  return Buffer.compare(a.signed.bytes, b.signed.bytes) > 0;
}

function outranks(a: Statement, b: Statement): boolean {
  if (a.version !== b.version) return a.version > b.version;
  return isRevoked(a.verdict) && !isRevoked(b.verdict);
}

function isRevoked(verdict: Verdict): boolean {
  return verdict === 'revoked';
}

/** 32 bits, for the digest of what a node knows. */
export function statementDigest({ signed: { signature } }: KeptStatement): number {
  return Buffer.from(signature.buffer, signature.byteOffset, 4).readInt32BE();
}
