/**
 * Who may take part in forwarding (`cluster.admission`), by the word of the nodes in `cluster.approvers`.
 *
 *     open         everyone whom no approver has revoked
 *     allowlist    the approvers, and whom they have approved
 *
 * Who may say so is in the configuration, for every node by itself, and nothing that comes over the network changes it.
 * If any holder of the cluster key could approve, a list of those who may join would keep nobody out who has the key. If
 * any approved node could, one that is broken into would let in whom it likes, and throw the others out. And whether a
 * revocation counts would depend on other statements, whose signers may be revoked in their turn: an order that nodes
 * without a common store cannot agree on. With the approvers fixed, a verdict is the latest of a few statements.
 *
 * An approver is admitted without being approved. Another approver can revoke it, which ends its forwarding; its word
 * counts until it is taken out of the configuration.
 */
import { EventEmitter } from 'node:events';
import type { Clock } from '../clock.ts';
import { errorMessage, WarrenError } from '../errors.ts';
import type { Identity } from '../identity.ts';
import type { MessageRefusal } from '../protobuf/fields.ts';
import type { AdmissionGate, ChangedNodes } from './gate.ts';
import {
  decodeStatement,
  type SignedStatement,
  type Statement,
  signStatement,
  type Verdict,
  verifyStatement,
} from './statement.ts';
import type { StatementStore } from './statement-store.ts';
import { type KeptStatement, Statements } from './statements.ts';

export type AdmissionMode = 'open' | 'allowlist';

export interface AdmissionRules {
  readonly mode: AdmissionMode;
  /** Node ids; at most MAX_APPROVERS. */
  readonly approvers: readonly string[];
}

export interface AdmissionOptions {
  readonly clusterName: string;
  readonly identity: Identity;
  readonly rules: AdmissionRules;
  readonly store: StatementStore;
  readonly clock: Pick<Clock, 'wallTime'>;
}

/** pending: nobody has said anything about it yet. */
export type Standing = Verdict | 'pending';

/** What became of a statement of another node. */
export type Merged = 'taken' | 'known' | 'untrusted' | 'full' | MessageRefusal;

export interface AdmissionEvents {
  change: [nodes: ChangedNodes];
  /** Which statements are kept is another set now. */
  statements: [added: readonly KeptStatement[], removed: readonly KeptStatement[]];
}

export class Admission extends EventEmitter<AdmissionEvents> implements AdmissionGate {
  readonly #options: AdmissionOptions;
  readonly #statements = new Statements();
  #rules: AdmissionRules;
  #problem: string | undefined;

  /** Reads the store, and may throw its errors (STATE_CORRUPT). */
  constructor(options: AdmissionOptions) {
    super();
    this.#options = options;
    this.#rules = options.rules;
    for (const signed of options.store.load()) {
      // Signatures were verified before they were written, and nobody else writes there.
      const decoded = decodeStatement(signed.bytes);
      if (decoded.ok && this.#isTrusted(decoded.value.approver) && this.#statements.hasRoom(decoded.value)) {
        this.#statements.put({ statement: decoded.value, signed });
      }
    }
  }

  get rules(): AdmissionRules {
    return this.#rules;
  }

  /** Of this node: whether its word counts. */
  get isApprover(): boolean {
    return this.#isTrusted(this.#options.identity.id);
  }

  /** Why what others have said is not on the disk. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** All that is kept, in no order. */
  statements(): Iterable<KeptStatement> {
    return this.#statements;
  }

  /** The nodes that somebody has said something about. */
  nodes(): ReadonlySet<string> {
    return this.#statements.nodes();
  }

  /** What counts about this node; undefined: nothing was said. */
  about(nodeId: string): Statement | undefined {
    return this.#statements.about(nodeId);
  }

  /** Whether this very node, as an approver, has said this of it. */
  hasSaid(nodeId: string, verdict: Verdict): boolean {
    return this.#statements.of(this.#options.identity.id, nodeId)?.verdict === verdict;
  }

  standing(nodeId: string): Standing {
    const verdict = this.#statements.about(nodeId)?.verdict;
    return verdict ?? (this.#isTrusted(nodeId) ? 'approved' : 'pending');
  }

  admits(nodeId: string): boolean {
    const standing = this.standing(nodeId);
    return this.#rules.mode === 'open' ? standing !== 'revoked' : standing === 'approved';
  }

  /** Other rules count from now on. What approvers that are none any more have said is forgotten. */
  setRules(rules: AdmissionRules): void {
    this.#rules = rules;
    const removed = this.#statements
      .approvers()
      .filter((approver) => !this.#isTrusted(approver))
      .flatMap((approver) => this.#statements.drop(approver));
    if (removed.length > 0) {
      this.save();
      this.emit('statements', [], removed);
    }
    this.emit('change', 'all');
  }

  /** News from another node. The caller has it written with `save`, soon. */
  merge(signed: SignedStatement): Merged {
    const decoded = decodeStatement(signed.bytes);
    if (!decoded.ok) return decoded.reason;
    const statement = decoded.value;
    if (!this.#isTrusted(statement.approver)) return 'untrusted';
    if (!this.#statements.isNews(statement, signed)) return 'known';
    if (!this.#statements.hasRoom(statement)) return 'full';
    if (!verifyStatement(this.#options.clusterName, statement, signed)) return 'signature';
    this.#take({ statement, signed });
    return 'taken';
  }

  /**
   * What this node, as an approver, says of others from now on; on the disk when it returns. Throws
   * ADMISSION_NOT_APPROVER, ADMISSION_SELF, ADMISSION_LIMIT, or STATE_UNWRITABLE, and nothing has changed then.
   */
  say(verdict: Verdict, nodes: readonly { readonly id: string; readonly name: string }[]): SignedStatement[] {
    const { identity, clusterName, clock, store } = this.#options;
    if (!this.isApprover) throw this.#notApprover();
    if (nodes.some(({ id }) => id === identity.id)) {
      throw new WarrenError('ADMISSION_SELF', 'what an approver says of itself does not count', {
        hint: 'An approver is admitted already. To revoke it, do so on another approver.',
      });
    }
    const atSeconds = Math.max(0, Math.floor(clock.wallTime() / 1000));
    const said = nodes.map(({ id, name }) =>
      signStatement(identity, clusterName, {
        ...{ node: id, name, verdict, atSeconds },
        version: this.#statements.nextVersion(id),
      }),
    );
    const known = this.nodes().size;
    if (said.some(({ statement }) => !this.#statements.hasRoom(statement))) {
      throw new WarrenError('ADMISSION_LIMIT', `there are statements about ${known} nodes already`, {
        hint: 'Put another node into cluster.approvers, and approve there.',
      });
    }
    const replaced = new Set(said.map(({ statement: { node } }) => node));
    const others = [...this.#statements].filter(
      ({ statement: { approver, node } }) => approver !== identity.id || !replaced.has(node),
    );
    store.save([...others, ...said].map(({ signed }) => signed));
    this.#problem = undefined;
    for (const kept of said) this.#take(kept);
    return said.map(({ signed }) => signed);
  }

  save(): void {
    try {
      this.#options.store.save([...this.#statements].map(({ signed }) => signed));
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `cannot write who may be in the cluster: ${errorMessage(error)}`;
    }
  }

  #take(kept: KeptStatement): void {
    const { node } = kept.statement;
    const before = this.admits(node);
    const replaced = this.#statements.put(kept);
    this.emit('statements', [kept], replaced ? [replaced] : []);
    if (this.admits(node) !== before) this.emit('change', new Set([node]));
  }

  #isTrusted(nodeId: string): boolean {
    return this.#rules.approvers.includes(nodeId);
  }

  #notApprover(): WarrenError {
    const { approvers } = this.#rules;
    if (approvers.length === 0) {
      return new WarrenError('ADMISSION_NOT_APPROVER', 'cluster.approvers names no node', {
        hint: `Put the ids of the nodes whose word is to count into cluster.approvers of every node; this one's is ${this.#options.identity.id}.`,
      });
    }
    return new WarrenError(
      'ADMISSION_NOT_APPROVER',
      'this node is not in cluster.approvers: its word does not count',
      {
        hint: `Do it on one of ${approvers.join(', ')}.`,
      },
    );
  }
}
