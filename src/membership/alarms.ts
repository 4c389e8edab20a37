/** What an administrator is to hear of, and not too often: who comes and goes, another agent with this node's key, bugs. */
import type { Clock } from '../clock.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { Member, NodeRecord } from './types.ts';

const TWIN_SHOWN_MS = 60_000;
/** For so long after the start, newer records of this node can stem from its earlier run. */
const TWIN_GRACE_MS = 10_000;
/** Bugs are counted each, and logged at most this often. */
const BUG_LOG_INTERVAL_MS = 60_000;

/** Of another member. That one is suspect or dead is told by who found out. */
export function logChange(logger: Logger, member: Member, previous: Member | undefined): void {
  if (previous?.status === member.status) return;
  const fields = { node: member.name, id: member.id, gossip: formatEndpoint(member.gossip) };
  if (member.status === 'alive' && previous?.status !== 'suspect') logger.info(fields, 'node is alive');
  if (member.status === 'left') logger.info(fields, 'node has left');
}

export class TwinAlarm {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #startedAtMs = Number.POSITIVE_INFINITY;
  #twin: { readonly text: string; readonly atMs: number } | undefined;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  start(): void {
    this.#startedAtMs = this.#clock.now();
  }

  /** Another agent announces a newer record of this very node. */
  raise(record: NodeRecord): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#startedAtMs < TWIN_GRACE_MS) return;
    const text = `another agent at ${formatEndpoint(record.gossip)} runs with this node's identity; was its state folder copied?`;
    if (!this.problem) this.#logger.error(text);
    this.#twin = { text, atMs: nowMs };
  }

  get problem(): string | undefined {
    return this.#twin && this.#clock.now() - this.#twin.atMs < TWIN_SHOWN_MS ? this.#twin.text : undefined;
  }
}

export class BugLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #what: string;
  #loggedAtMs = Number.NEGATIVE_INFINITY;

  /** `what` of others could not be handled: `gossip from another node`. */
  constructor(clock: Clock, logger: Logger, what: string) {
    this.#clock = clock;
    this.#logger = logger;
    this.#what = what;
  }

  add(error: unknown): void {
    const nowMs = this.#clock.now();
    if (nowMs - this.#loggedAtMs < BUG_LOG_INTERVAL_MS) return;
    this.#loggedAtMs = nowMs;
    this.#logger.error({ err: error }, `a bug in warren: ${this.#what} could not be handled`);
  }
}
