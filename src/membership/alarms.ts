/** What an administrator is to hear of, and not too often: who comes and goes, another agent with this node's key, bugs. */
import type { Clock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import { formatEndpoint, sameEndpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import { isOlderTwin } from './twins.ts';
import type { Member, NodeRecord } from './types.ts';

const TWIN_SHOWN_MS = 60_000;
/** For so long after the start, newer records of this node can stem from its earlier run. */
const TWIN_GRACE_MS = 10_000;
/** What an earlier run said and this one did not remember is heard once or twice; who says more is there. */
const TWIN_IS_THERE = 3;
const TWIN_WITHIN_MS = 60_000;
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

  readonly #onYounger: (error: WarrenError) => void;
  /** What was heard of one session of another agent. */
  #heard: { readonly session: string; readonly sinceMs: number; times: number } | undefined;

  /** `onYounger`: another agent has this key and has had it for longer; once. */
  constructor(clock: Clock, logger: Logger, onYounger: (error: WarrenError) => void) {
    this.#clock = clock;
    this.#logger = logger;
    this.#onYounger = onYounger;
  }

  start(): void {
    this.#startedAtMs = this.#clock.now();
  }

  /** Another agent announces a newer record of this very node. */
  raise(record: NodeRecord, own: NodeRecord): void {
    const nowMs = this.#clock.now();
    if (this.#isThere(record, own, nowMs) && isOlderTwin(record, own)) {
      this.#onYounger(
        new WarrenError(
          'IDENTITY_IN_USE',
          `another agent, at ${formatEndpoint(record.gossip)}, has run with this node's identity for longer`,
          {
            hint: 'Was its state folder copied? Without its node.stateDir this one becomes a node of its own.',
          },
        ),
      );
    }
    if (nowMs - this.#startedAtMs < TWIN_GRACE_MS) return;
    const text = `another agent at ${formatEndpoint(record.gossip)} runs with this node's identity; was its state folder copied?`;
    if (!this.problem) this.#logger.error(text);
    this.#twin = { text, atMs: nowMs };
  }

  #isThere(record: NodeRecord, own: NodeRecord, nowMs: number): boolean {
    if (record.session === own.session || sameEndpoint(record.gossip, own.gossip)) return false;
    const { session } = record;
    if (this.#heard?.session !== session || nowMs - this.#heard.sinceMs > TWIN_WITHIN_MS) {
      this.#heard = { session, sinceMs: nowMs, times: 0 };
    }
    return ++this.#heard.times === TWIN_IS_THERE;
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
