/**
 * How approvals and revocations (admission/) spread: in broadcasts, and with every push-pull. They prove their own
 * origin, so it does not matter who passes them on.
 */
import type { Admission } from '../admission/admission.ts';
import { decodeStatement, type SignedStatement } from '../admission/statement.ts';
import { type KeptStatement, statementDigest } from '../admission/statements.ts';
import type { TimerGroup } from '../clock.ts';
import type { GossipCounters } from '../link/counters.ts';
import { MESSAGE_COUNTER } from '../link/counters.ts';
import type { Logger } from '../log/logger.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import { encodeMessage } from './codec.ts';
import type { Roster, Spread } from './roster.ts';

export interface AdmissionNewsOptions {
  /** Absent: there is none here, and statements are passed over. */
  readonly admission: Admission | undefined;
  readonly roster: Roster;
  readonly broadcasts: BroadcastQueue;
  readonly counters: GossipCounters;
  readonly logger: Logger;
  readonly timers: TimerGroup;
  /** There is news to tell. */
  readonly wake: () => void;
}

/** Many statements come at once, and all are written each time. */
const SAVE_DELAY_MS = 500;
/** After the disk refused. */
const RETRY_MS = 10_000;

export class AdmissionNews {
  readonly #options: AdmissionNewsOptions;
  #isSaveDue = false;

  constructor(options: AdmissionNewsOptions) {
    this.#options = options;
    const { admission } = options;
    if (!admission) return;
    for (const kept of admission.statements()) this.#toggle(kept);
    admission.on('statements', (added, removed) => {
      for (const kept of [...removed, ...added]) this.#toggle(kept);
    });
  }

  /** News from another node. */
  merge(signed: SignedStatement, spread: Spread): void {
    const { admission, counters } = this.#options;
    if (!admission) {
      counters.add('refusedUnexpected');
      return;
    }
    const merged = admission.merge(signed);
    if (merged === 'taken') {
      this.#saveAfter(SAVE_DELAY_MS);
      if (spread === 'broadcast') this.#broadcast(signed);
    } else if (merged === 'malformed' || merged === 'field' || merged === 'signature') {
      counters.add(MESSAGE_COUNTER[merged]);
    }
  }

  /** After a command has said something here. */
  announce(said: readonly SignedStatement[]): void {
    for (const signed of said) this.#broadcast(signed);
    this.#options.wake();
  }

  /** What is known about the nodes that are asked for, for a push-pull. */
  messages(isAsked: (nodeId: string) => boolean): Uint8Array[] {
    const messages: Uint8Array[] = [];
    for (const { statement, signed } of this.#options.admission?.statements() ?? []) {
      if (isAsked(statement.node)) messages.push(encodeMessage({ kind: 'admission', signed }));
    }
    return messages;
  }

  /** Writes what has come since the last time; to be called when the agent stops. */
  flush(): void {
    if (!this.#isSaveDue) return;
    this.#isSaveDue = false;
    this.#options.admission?.save();
  }

  #broadcast(signed: SignedStatement): void {
    const decoded = decodeStatement(signed.bytes);
    if (!decoded.ok) return;
    const { approver, node } = decoded.value;
    this.#options.broadcasts.put(`${approver} of ${node}`, encodeMessage({ kind: 'admission', signed }));
  }

  #saveAfter(delayMs: number): void {
    if (this.#isSaveDue) return;
    this.#isSaveDue = true;
    this.#options.timers.after(delayMs, () => {
      this.flush();
      const problem = this.#options.admission?.problem;
      if (problem === undefined) return;
      this.#options.logger.error(`${problem}; trying again`);
      this.#saveAfter(RETRY_MS);
    });
  }

  /** Statements are part of the table's digest, so that a push-pull finds out who missed them. */
  #toggle(kept: KeptStatement): void {
    this.#options.roster.table.digest.toggle(kept.statement.node, statementDigest(kept));
  }
}
