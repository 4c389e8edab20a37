/**
 * Failure detection: once per interval one other node is pinged; when it does not answer in time, others are
 * asked to ping it and it is tried over TCP; when nothing came by the end of the interval, it is suspect
 * (SWIM section 4.1; memberlist state.go, probeNode).
 */

import type { Clock, Timer, TimerGroup } from '../clock.ts';
import type { Histogram } from '../histogram.ts';
import type { GossipCounters } from '../link/counters.ts';
import type { Peer, Sender } from '../link/link.ts';
import type { Logger } from '../log/logger.ts';
import type { Awareness } from './awareness.ts';
import { type Ack, encodeMessage, type Ping, type PingRequest, pingTargetOf } from './codec.ts';
import type { Gossiper } from './gossip.ts';
import type { MemberEntry } from './member-table.ts';
import type { Messenger } from './messenger.ts';
import { type Random, randomIndex, sample } from './random.ts';
import type { Roster } from './roster.ts';
import { StreamOnlyLog } from './stream-only.ts';
import type { MembershipTiming } from './timing.ts';

export interface ProberOptions {
  readonly selfId: string;
  readonly link: Messenger;
  readonly gossiper: Gossiper;
  readonly roster: Roster;
  readonly awareness: Awareness;
  readonly clock: Clock;
  readonly timers: TimerGroup;
  readonly timing: MembershipTiming;
  readonly random: Random;
  readonly counters: GossipCounters;
  /** Of probes that were answered without others' help. */
  readonly roundTrips: Histogram;
  readonly logger: Logger;
  /** Another node does not know the run of one of us: it is to hear of this node. */
  readonly onStranger: (to: Peer) => void;
}

/** Probes for others that are under way; more are refused. */
const MAX_RELAYS = 256;
/** Up to so many members, dead ones and this node included, the order of probing stays. */
const FIXED_ORDER_MEMBERS = 8;
/** A helper says that it hears nothing either after this part of the time left for indirect probes. */
const NACK_SHARE = 0.6;

interface Waiting {
  onAck(): void;
  onNack(): void;
}

export class Prober {
  readonly #options: ProberOptions;
  /** By sequence number; bounded by one own probe and `MAX_RELAYS`. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #streamOnly: StreamOnlyLog;
  #sequence: number;
  #next = 0;

  constructor(options: ProberOptions) {
    this.#options = options;
    const { clock, logger, roster } = options;
    this.#streamOnly = new StreamOnlyLog(clock, logger, (id) => roster.table.get(id) !== undefined);
    // Not to be guessed: in clear text an answer could be made up.
    this.#sequence = randomIndex(options.random, 0x1_0000_0000);
  }

  start(): void {
    const { timers, timing, random } = this.#options;
    timers.after(timing.probeIntervalMs * random(), () => this.#round());
  }

  ack({ sequence, toStranger }: Ack, sender: Sender): void {
    const waiting = this.#waiting.get(sequence);
    if (!waiting) return;
    waiting.onAck();
    if (toStranger) this.#options.onStranger(sender);
  }

  nack(sequence: number): void {
    this.#waiting.get(sequence)?.onNack();
  }

  /**
   * Answers a ping, sealed with the key that the ping was sealed with. If this node holds the sender for suspect or
   * dead, the answer says so, and the sender can refute it. `keyUpdate` are messages for a sender that lacks changes of
   * the cluster's keys. A sender that this node does not know in its present run is told that it is a stranger, and a
   * sender that pinged an earlier run of this node is one for us: each then sends its record again.
   */
  answer(ping: Ping, sender: Sender, keyUpdate: readonly Uint8Array[]): void {
    const { selfId, gossiper, counters, roster, onStranger } = this.#options;
    if (ping.target !== pingTargetOf(selfId)) {
      counters.add('refusedMisdirected');
      return;
    }
    const { id } = sender;
    const toStranger = id === undefined || roster.table.get(id)?.memory !== undefined;
    const messages = [encodeMessage({ kind: 'ack', sequence: ping.sequence, toStranger }), ...keyUpdate];
    const accusation = id === undefined ? undefined : roster.accusations.messageFor(id);
    if (accusation) messages.push(accusation);
    gossiper.send(sender, id, messages, sender.key);
    if (!sender.isAddressed && id !== undefined) onStranger(sender);
  }

  /** Pings for another node. */
  relay(request: PingRequest, asker: Sender): void {
    const { gossiper, timers, timing, counters, roster } = this.#options;
    if (this.#waiting.size >= MAX_RELAYS) {
      counters.add('refusedFull');
      return;
    }
    const sequence = this.#nextSequence();
    const tell = (message: Uint8Array) => gossiper.send(asker, asker.id, [message], asker.key);
    const leftMs = Math.max(0, timing.probeIntervalMs - timing.probeTimeoutMs);
    const nackTimer = timers.after(leftMs * NACK_SHARE, () => {
      tell(encodeMessage({ kind: 'nack', sequence: request.sequence }));
    });
    const endTimer = timers.after(timing.probeIntervalMs, () => this.#waiting.delete(sequence));
    this.#waiting.set(sequence, {
      onAck: () => {
        this.#waiting.delete(sequence);
        nackTimer.cancel();
        endTimer.cancel();
        tell(encodeMessage({ kind: 'ack', sequence: request.sequence, toStranger: false }));
      },
      onNack: () => {},
    });
    const known: Peer | undefined = roster.table.get(request.target)?.record;
    gossiper.send(known ?? { gossip: request.endpoint }, request.target, [
      encodeMessage({ kind: 'ping', sequence, target: pingTargetOf(request.target) }),
    ]);
  }

  #round(): void {
    const { timers, timing } = this.#options;
    const target = this.#nextTarget();
    if (target) this.#probe(target);
    else timers.after(timing.probeIntervalMs, () => this.#round());
  }

  /**
   * The next one in shuffled order; a full turn shuffles anew, and forgets the long dead. In a small cluster the
   * order stays: between the last place in one turn and the first in the next few others are there to probe a
   * node, and it would go unseen for almost two turns.
   */
  #nextTarget(): MemberEntry | undefined {
    const { roster, selfId } = this.#options;
    for (let looked = 0; looked <= roster.table.length; looked++) {
      if (this.#next >= roster.table.length) {
        roster.reap();
        if (roster.table.length > FIXED_ORDER_MEMBERS) roster.table.reshuffle();
        this.#next = 0;
      }
      const entry = roster.table.at(this.#next++);
      if (entry && entry.id !== selfId && (entry.status === 'alive' || entry.status === 'suspect')) {
        return entry;
      }
    }
    return undefined;
  }

  #probe(target: MemberEntry): void {
    const { selfId, gossiper, roster, awareness, clock, timers, timing, counters, roundTrips } =
      this.#options;
    const sequence = this.#nextSequence();
    const startedAtMs = clock.now();
    const { incarnation } = target.record;
    const ping: Ping = { kind: 'ping', sequence, target: pingTargetOf(target.id) };
    let helpers = 0;
    let nacks = 0;
    let fallback: { answered: boolean; cancel: () => void } | undefined;
    counters.add('probes');

    const indirectTimer = timers.after(timing.probeTimeoutMs, () => {
      helpers = this.#askHelpers(target, sequence);
      fallback = this.#tryStream(target, ping);
    });
    const endTimer: Timer = timers.after(awareness.scale(timing.probeIntervalMs), () => {
      this.#waiting.delete(sequence);
      fallback?.cancel();
      if (fallback?.answered) {
        counters.add('probesOnlyTcp');
        this.#streamOnly.overStream(target.id, target.record.name);
      } else {
        counters.add('probesFailed');
        // Helpers that answered neither way tell of this node's own network rather than of the target.
        awareness.add(helpers > 0 ? helpers - nacks : 1);
        roster.accusations.suspect({ kind: 'suspect', member: target.id, incarnation, from: selfId });
        gossiper.wake();
      }
      this.#round();
    });
    this.#waiting.set(sequence, {
      onAck: () => {
        this.#waiting.delete(sequence);
        indirectTimer.cancel();
        endTimer.cancel();
        fallback?.cancel();
        awareness.add(-1);
        const tookMs = clock.now() - startedAtMs;
        if (tookMs < timing.probeTimeoutMs) roundTrips.observe(tookMs / 1000);
        this.#streamOnly.overDatagram(target.id, target.record.name);
        const nextMs = Math.max(0, timing.probeIntervalMs - tookMs);
        timers.after(nextMs, () => this.#round());
      },
      onNack: () => {
        nacks = Math.min(nacks + 1, helpers);
      },
    });

    const accusation = roster.accusations.messageFor(target.id);
    // The accusation first: the answer then brings the refutation along.
    gossiper.send(target.record, target.id, [...(accusation ? [accusation] : []), encodeMessage(ping)]);
  }

  #askHelpers(target: MemberEntry, sequence: number): number {
    const { selfId, gossiper, roster, timing, random } = this.#options;
    const helpers = sample(
      random,
      roster.table,
      timing.indirectProbes,
      (entry) => entry.status === 'alive' && entry.id !== selfId && entry.id !== target.id,
    );
    const request = encodeMessage({
      kind: 'pingRequest',
      sequence,
      target: target.id,
      endpoint: target.record.gossip,
    });
    for (const helper of helpers) gossiper.send(helper.record, helper.id, [request]);
    return helpers.length;
  }

  /** UDP may be blocked where TCP is not; such a node is alive all the same. */
  #tryStream(target: MemberEntry, ping: Ping) {
    const state = { answered: false, cancel: () => {} };
    const exchange = this.#options.link.exchange(
      target.record,
      [encodeMessage(ping)],
      (message) => {
        if (message.kind === 'ack' && message.sequence === ping.sequence) state.answered = true;
      },
      () => {},
    );
    state.cancel = () => exchange.cancel();
    return state;
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}
