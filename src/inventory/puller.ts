/**
 * Brings others' inventories up to date. A new version is pulled from the member that told of it, which has most likely
 * pulled it a moment ago: like the gossip that announces it, it spreads as a tree, and its owner is asked by the few
 * that it told itself. Who does not get it there asks the owner, then anyone and the owner in turn, ever less often.
 */
import type { Clock, Timer, TimerGroup } from '../clock.ts';
import type { Logger } from '../log/logger.ts';
import type { Rpc } from '../rpc/rpc.ts';
import {
  type DecodeEntry,
  encodePullRequest,
  MAX_WANTS,
  type PullAnswer,
  PullAnswerReader,
} from './pull-messages.ts';
import type { PullBasis, Replica, Verdict } from './replica.ts';
import { type InventoryTiming, retryDelayMs } from './timing.ts';

export const PULL_METHOD = 'inventory.pull';
/** At a time; each to another member. */
const MAX_CALLS = 4;
/** With more than so many due at a time, their owners are not asked one by one: somebody has many of them. */
const MAX_SINGLE = 8;
/** But every so many attempts, lest nobody has them but the owner. */
const OWNER_AFTER = 4;
/** ANSWER_BYTES, one whole inventory more, and what protobuf adds. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

export interface PullerOptions {
  readonly rpc: Rpc;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: InventoryTiming;
  readonly random: () => number;
  readonly logger: Logger;
  /** Members that can be asked now: alive, with an inventory, not this node. */
  readonly canAsk: (nodeId: string) => boolean;
  /** One of them at random; undefined: there is none. */
  readonly anyone: () => string | undefined;
  readonly decodeEntry?: DecodeEntry | undefined;
}

/** An inventory that is not up to date here. */
interface Wanted {
  readonly replica: Replica;
  /** When it fell behind, or last took something. */
  sinceMs: number;
  teller: string | undefined;
  attempt: number;
  dueMs: number;
  isAsked: boolean;
  /** How often its owner gave other entries than it signed. */
  lies: number;
}

export class Puller {
  readonly #options: PullerOptions;
  readonly #abort = new AbortController();
  /** By node id; bounded by the replicas. */
  readonly #wanted = new Map<string, Wanted>();
  /** Members that are being asked; bounded by MAX_CALLS. */
  readonly #asked = new Set<string>();
  #timer: { readonly atMs: number; readonly timer: Timer } | undefined;
  readonly counters = { pulls: 0, failed: 0, taken: 0, absent: 0, ahead: 0, wrong: 0, whole: 0 };

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  /** How many inventories are not up to date. */
  get size(): number {
    return this.#wanted.size;
  }

  stop(): void {
    this.#abort.abort();
    this.#wanted.clear();
  }

  /** The replica is behind its mark. `teller`: the member that told of the mark, where that is known. */
  want(replica: Replica, teller: string | undefined): void {
    const { clock, timing } = this.#options;
    const known = this.#wanted.get(replica.nodeId);
    const dueMs = clock.now() + timing.gatherMs;
    if (known?.replica === replica) {
      // A new version is asked for at once, whatever came of the one before; but not where its owner lies.
      known.teller = teller;
      if (known.lies === 0) {
        known.attempt = 0;
        known.dueMs = Math.min(known.dueMs, dueMs);
      }
    } else {
      this.#wanted.set(replica.nodeId, {
        replica,
        sinceMs: clock.now(),
        teller,
        attempt: 0,
        dueMs,
        isAsked: false,
        lies: 0,
      });
    }
    this.#schedule();
  }

  /** It is up to date by itself, or of no interest any more. */
  forget(nodeId: string): void {
    this.#wanted.delete(nodeId);
  }

  /** Its owner is there again: it is worth another try. */
  revive(nodeId: string): void {
    const wanted = this.#wanted.get(nodeId);
    if (wanted) this.want(wanted.replica, wanted.teller);
  }

  /** The inventories that have not been up to date for long, and those whose owner gives others than it signs. */
  behind(): { readonly nodeId: string; readonly forMs: number; readonly isLie: boolean }[] {
    const { clock, timing } = this.#options;
    return [...this.#wanted.values()]
      .map(({ replica, sinceMs, lies }) => ({
        nodeId: replica.nodeId,
        forMs: clock.now() - sinceMs,
        isLie: lies > 1,
      }))
      .filter(({ forMs, isLie }) => isLie || forMs >= timing.behindShownMs);
  }

  #schedule(): void {
    const { clock, timers } = this.#options;
    let atMs = Number.POSITIVE_INFINITY;
    for (const { dueMs, isAsked } of this.#wanted.values()) if (!isAsked && dueMs < atMs) atMs = dueMs;
    // With all calls in use, the next one that ends comes back here.
    if (atMs === Number.POSITIVE_INFINITY || this.#asked.size >= MAX_CALLS) return;
    if (this.#timer && this.#timer.atMs <= atMs) return;
    this.#timer?.timer.cancel();
    const timer = timers.after(Math.max(0, atMs - clock.now()), () => {
      this.#timer = undefined;
      this.#pull();
    });
    this.#timer = { atMs, timer };
  }

  /** Asks for all that is due, what goes to one member in one request. */
  #pull(): void {
    const { clock, anyone } = this.#options;
    const nowMs = clock.now();
    const bySource = new Map<string, Wanted[]>();
    // One for all: where much is missing, as after a join, it takes a few requests and not one for each node.
    const random = anyone();
    const due = [...this.#wanted.values()].filter(({ isAsked, dueMs }) => !isAsked && dueMs <= nowMs);
    for (const wanted of due) {
      const source = this.#sourceOf(wanted, random, due.length > MAX_SINGLE);
      if (source === undefined) {
        this.#retry(wanted, this.#options.random());
        continue;
      }
      const group = bySource.get(source);
      if (group) group.push(wanted);
      else bySource.set(source, [wanted]);
    }
    for (const [source, group] of bySource) {
      if (this.#asked.has(source) || this.#asked.size >= MAX_CALLS) {
        // Its turn comes when a call ends; until then it is not due, lest this goes round in circles.
        for (const wanted of group) wanted.dueMs = nowMs + this.#options.timing.retryMs;
      } else {
        void this.#ask(source, group.slice(0, MAX_WANTS));
      }
    }
    this.#schedule();
  }

  #sourceOf(
    { replica, teller, attempt }: Wanted,
    random: string | undefined,
    isBulk: boolean,
  ): string | undefined {
    const { timing, canAsk } = this.#options;
    const owner = canAsk(replica.nodeId) ? replica.nodeId : undefined;
    const first = { teller, owner, random }[timing.first];
    if (attempt === 0 && first !== undefined && canAsk(first)) return first;
    const isOwnersTurn = isBulk ? attempt % OWNER_AFTER === OWNER_AFTER - 1 : attempt % 2 === 1;
    return (isOwnersTurn ? owner : random) ?? random ?? owner;
  }

  async #ask(source: string, group: readonly Wanted[]): Promise<void> {
    const { rpc, timing, decodeEntry } = this.#options;
    const bases = new Map<string, readonly [Wanted, PullBasis]>();
    for (const wanted of group) {
      wanted.isAsked = true;
      bases.set(wanted.replica.nodeId, [wanted, wanted.replica.basis()]);
    }
    const request = encodePullRequest(
      [...bases].map(([node, [, { mark, base }]]) => ({
        node,
        have: base?.version ?? 0,
        version: mark.version,
      })),
    );
    this.#asked.add(source);
    this.counters.pulls++;
    const options = {
      timeoutMs: timing.callTimeoutMs,
      maxAnswerBytes: MAX_ANSWER_BYTES,
      signal: this.#abort.signal,
    };
    let answered = 0;
    // What failed together is tried again together.
    const luck = this.#options.random();
    try {
      const reader = new PullAnswerReader(decodeEntry);
      for await (const part of rpc.stream(source, PULL_METHOD, request, options)) {
        if (this.#abort.signal.aborted) return;
        const answer = reader.read(part);
        if (!answer.ok) throw new Error(`a part of the answer was refused: ${answer.reason}`);
        if (!answer.value) continue;
        const asked = bases.get(answer.value.node);
        if (!asked) continue;
        bases.delete(answer.value.node);
        answered++;
        this.#answered(source, ...asked, answer.value, luck);
      }
    } catch (error) {
      this.counters.failed++;
      this.#options.logger.debug({ from: source, reason: String(error) }, 'inventories were not pulled');
      answered = 0;
    } finally {
      this.#asked.delete(source);
      for (const [wanted] of bases.values()) {
        // What did not fit the answer is asked for again, there.
        this.#settle(wanted, answered > 0 ? 'again' : 'failed', luck);
      }
      if (!this.#abort.signal.aborted) this.#schedule();
    }
  }

  #answered(source: string, wanted: Wanted, basis: PullBasis, answer: PullAnswer, luck: number): void {
    const { replica } = wanted;
    const { nodeId } = replica;
    if (this.#wanted.get(nodeId) !== wanted) return;
    if (answer.kind === 'whole') this.counters.whole++;
    if (answer.kind === 'absent') this.counters.absent++;
    const verdict = replica.accept(answer, basis);
    if (verdict === 'wrong') {
      this.counters.wrong++;
      if (source === nodeId && answer.kind === 'whole') wanted.lies++;
    }
    if (verdict === 'taken') {
      this.counters.taken++;
      wanted.lies = 0;
      wanted.sinceMs = this.#options.clock.now();
    }
    if (verdict === 'ahead') this.counters.ahead++;
    this.#settle(wanted, verdict, luck);
  }

  #settle(wanted: Wanted, outcome: Verdict | 'again' | 'failed', luck: number): void {
    const { clock, timing } = this.#options;
    wanted.isAsked = false;
    if (this.#wanted.get(wanted.replica.nodeId) !== wanted) return;
    if (wanted.replica.isCurrent) {
      this.#wanted.delete(wanted.replica.nodeId);
      return;
    }
    switch (outcome) {
      case 'taken':
      case 'again':
        // There is a newer one by now, or it had no room in the answer.
        wanted.attempt = 0;
        wanted.dueMs = clock.now() + timing.gatherMs;
        break;
      case 'ahead':
        // The record that goes with it is on its way.
        wanted.attempt = 1;
        wanted.dueMs = clock.now() + timing.versionIntervalMs * 5;
        break;
      case 'full':
        wanted.dueMs = clock.now() + timing.retryMaxMs;
        break;
      default:
        this.#retry(wanted, luck);
    }
  }

  /** `luck`: 0 to 1. */
  #retry(wanted: Wanted, luck: number): void {
    const { clock, timing } = this.#options;
    wanted.attempt++;
    wanted.dueMs = clock.now() + retryDelayMs(timing, wanted.attempt, luck);
  }
}
