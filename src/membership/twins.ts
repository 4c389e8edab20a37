/**
 * Two agents with one key: a state folder was copied, or a machine cloned. Each hears of the other as of itself, says
 * something newer, and so on, several times a second; whoever believes both moves the node's routes to and fro as fast.
 *
 * A node never goes back to a session (link/sessions.ts), so a member whose records come from a session at another
 * address, and then from the one before again, is two agents. After `RETURNS` of that within a few minutes it is
 * quarantined: only what comes from one of the two addresses is believed, the same one on every node, and the routes
 * stay there. It ends when nothing was heard of the other for a minute, or when the one that is believed is gone.
 */
import type { Clock, TimerGroup } from '../clock.ts';
import { formatEndpoint, sameEndpoint } from '../ip/endpoint.ts';
import type { Logger } from '../log/logger.ts';
import type { NodeRecord } from './types.ts';

/** As often as each of the two has come back three times: records that overtake each other do not do that. */
const RETURNS = 6;
const WITHIN_MS = 300_000;
/** A session that nothing was heard of for so long is none that comes back. */
const REMEMBERED_MS = 600_000;
const QUIET_MS = 60_000;
const LOOK_MS = 5000;
/** Members that have changed session and address at once, lately; the one that did so first is dropped. */
const MAX_WATCHED = 1024;
/** Sessions remembered of each. */
const MAX_SESSIONS = 8;

/** Of two records under one key the one that is to be believed: who has had its lease for longer, else either. */
export function isOlderTwin(a: NodeRecord, b: NodeRecord): boolean {
  const since = (record: NodeRecord) => record.lease?.sinceSeconds ?? Number.POSITIVE_INFINITY;
  if (since(a) !== since(b)) return since(a) < since(b);
  return a.session < b.session;
}

interface Watched {
  /** Sessions that were the present one before, and until when. */
  readonly sessions: Map<string, number>;
  /** When one of them was the present one again. */
  returns: number[];
  changedAtMs: number;
  held: { readonly believed: NodeRecord; other: NodeRecord; heardAtMs: number } | undefined;
}

export class TwinQuarantine {
  readonly #clock: Clock;
  readonly #timers: TimerGroup;
  readonly #logger: Logger;
  readonly #watched = new Map<string, Watched>();

  constructor(options: { readonly clock: Clock; readonly timers: TimerGroup; readonly logger: Logger }) {
    this.#clock = options.clock;
    this.#timers = options.timers;
    this.#logger = options.logger;
  }

  /** Whether `next`, which is signed and newer than the `known` record of the same member, is to take its place. */
  admits(known: NodeRecord, next: NodeRecord, isKnownGone: boolean): boolean {
    const nowMs = this.#clock.now();
    const watched = this.#watched.get(known.id);
    if (watched?.held) {
      const { held } = watched;
      if (sameEndpoint(next.gossip, held.believed.gossip)) return true;
      if (isKnownGone) {
        this.#release(known.id, watched, 'the one that was believed is gone');
        return true;
      }
      held.other = next;
      held.heardAtMs = nowMs;
      return false;
    }
    if (next.session === known.session || sameEndpoint(next.gossip, known.gossip)) return true;
    const { sessions, returns } = this.#change(known, watched, nowMs);
    const untilMs = sessions.get(next.session);
    if (untilMs !== undefined && nowMs - untilMs < REMEMBERED_MS) returns.push(nowMs);
    if (returns.length < RETURNS) return true;
    return this.#quarantine(known, next);
  }

  /** One sentence for each member in quarantine. */
  problems(): string[] {
    return [...this.#watched.values()].flatMap(({ held }) => (held ? [textOf(held)] : []));
  }

  #change(known: NodeRecord, before: Watched | undefined, nowMs: number): Watched {
    const watched = before ?? { sessions: new Map(), returns: [], changedAtMs: nowMs, held: undefined };
    // Most lately changed last.
    this.#watched.delete(known.id);
    this.#watched.set(known.id, watched);
    watched.changedAtMs = nowMs;
    watched.returns = watched.returns.filter((atMs) => nowMs - atMs < WITHIN_MS);
    watched.sessions.delete(known.session);
    watched.sessions.set(known.session, nowMs);
    if (watched.sessions.size > MAX_SESSIONS) watched.sessions.delete(watched.sessions.keys().next().value!);
    for (const [id, { changedAtMs, held }] of this.#watched) {
      const isOld = nowMs - changedAtMs >= REMEMBERED_MS || this.#watched.size > MAX_WATCHED;
      if (!isOld) break;
      if (!held) this.#watched.delete(id);
    }
    return watched;
  }

  #quarantine(known: NodeRecord, next: NodeRecord): boolean {
    const watched = this.#watched.get(known.id)!;
    const isNextBelieved = isOlderTwin(next, known);
    const [believed, other] = isNextBelieved ? [next, known] : [known, next];
    watched.held = { believed, other, heardAtMs: this.#clock.now() };
    this.#logger.error({ node: known.name, id: known.id }, textOf(watched.held));
    this.#look(known.id, watched);
    return isNextBelieved;
  }

  #look(id: string, watched: Watched): void {
    this.#timers.after(LOOK_MS, () => {
      if (!watched.held || this.#watched.get(id) !== watched) return;
      if (this.#clock.now() - watched.held.heardAtMs < QUIET_MS) this.#look(id, watched);
      else this.#release(id, watched, 'nothing is heard of the other one any more');
    });
  }

  #release(id: string, watched: Watched, why: string): void {
    const { name } = watched.held!.believed;
    this.#watched.delete(id);
    watched.held = undefined;
    this.#logger.info({ node: name, id, why }, 'one agent runs as this node again');
  }
}

function textOf({ believed, other }: { readonly believed: NodeRecord; readonly other: NodeRecord }): string {
  const [at, and] = [formatEndpoint(believed.gossip), formatEndpoint(other.gossip)];
  return `two agents run with the identity of ${believed.name}: at ${at}, which is believed, and at ${and}; was its state folder copied?`;
}
