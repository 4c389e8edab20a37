/**
 * Sends datagrams, each filled up with waiting broadcasts. While broadcasts wait, they are sent to random members once
 * per gossip interval; the first is sent at once.
 */

import type { Clock, TimerGroup } from '../clock.ts';
import type { Peer } from '../link/link.ts';
import { LENGTH_BYTES, packedBytes } from '../link/packing.ts';
import type { ClusterKeyBytes } from '../link/seal.ts';
import type { BroadcastQueue } from './broadcast-queue.ts';
import { encodeMessage } from './codec.ts';
import type { MemberEntry, MemberTable } from './member-table.ts';
import type { Messenger } from './messenger.ts';
import { type Random, sample } from './random.ts';
import type { SelfRecord } from './self.ts';
import { type MembershipTiming, retransmitLimit } from './timing.ts';

export interface GossiperOptions {
  readonly self: SelfRecord;
  readonly selfId: string;
  readonly link: Messenger;
  readonly table: MemberTable;
  readonly broadcasts: BroadcastQueue;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly random: Random;
}

export class Gossiper {
  readonly #options: GossiperOptions;
  #isScheduled = false;
  #roundAtMs = Number.NEGATIVE_INFINITY;
  #introducedUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: GossiperOptions) {
    this.#options = options;
  }

  /** Sends `messages` to the member `id`, where it is known, with as much news as fits behind them. */
  send(to: Peer, id: string | undefined, messages: readonly Uint8Array[], key?: ClusterKeyBytes): void {
    const { link } = this.#options;
    const first = this.#introduction(link.datagramBytes - packedBytes(messages));
    const all = first.length === 0 ? messages : [...first, ...messages];
    const news = this.#takeNews(id, link.datagramBytes - packedBytes(all));
    link.send(to, news.length === 0 ? all : [...all, ...news], key);
  }

  /** For so long whatever is sent says first who this node is: it has just begun another session. */
  introduce(durationMs: number): void {
    this.#introducedUntilMs = this.#options.clock.now() + durationMs;
  }

  #introduction(limitBytes: number): Uint8Array[] {
    const { clock, self } = this.#options;
    if (clock.now() >= this.#introducedUntilMs) return [];
    const messages = [encodeMessage({ kind: 'record', signed: self.signed })];
    return packedBytes(messages) <= limitBytes ? messages : [];
  }

  /** To be called when there may be news: starts the rounds, which end by themselves. */
  wake(): void {
    const { broadcasts, timers, timing, random, clock } = this.#options;
    if (this.#isScheduled || broadcasts.size === 0) return;
    this.#isScheduled = true;
    const { gossipIntervalMs } = timing;
    // Nodes that hear something together do not tell it together: up to a quarter of an interval for the first of
    // it, half to one interval after the round before for what follows.
    const soonMs = gossipIntervalMs * (random() / 4);
    const dueMs = this.#roundAtMs + gossipIntervalMs * (0.5 + random() / 2) - clock.now();
    timers.after(Math.max(soonMs, dueMs), () => {
      this.#isScheduled = false;
      this.#roundAtMs = clock.now();
      // No member to send to: the next one that joins wakes this again.
      if (this.#round()) this.wake();
    });
  }

  /** False if there was no member to send to. */
  #round(): boolean {
    const { link, table, timing, random } = this.#options;
    const targets = sample(random, table, timing.gossipNodes, (entry) => this.#isTarget(entry));
    let hasSent = false;
    for (const target of targets) {
      const first = this.#introduction(link.datagramBytes);
      const news = this.#takeNews(target.id, link.datagramBytes - packedBytes(first));
      if (news.length === 0) continue;
      link.send(target.record, [...first, ...news]);
      hasSent = true;
    }
    return hasSent;
  }

  #isTarget(entry: MemberEntry): boolean {
    const { selfId, clock, timing } = this.#options;
    if (entry.id === selfId || entry.status === 'left') return false;
    return entry.status !== 'dead' || clock.now() - entry.statusSinceMs <= timing.gossipToDeadMs;
  }

  #takeNews(id: string | undefined, limitBytes: number): Uint8Array[] {
    const { broadcasts, table, timing } = this.#options;
    if (broadcasts.size === 0) return [];
    return broadcasts.take(limitBytes, LENGTH_BYTES, retransmitLimit(timing, table.reachable), id);
  }
}
