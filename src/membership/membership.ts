/**
 * Who is in the cluster: SWIM with suspicion and refutation, news piggybacked on probes, push-pull, joining
 * and leaving. This file puts the parts together:
 *
 *     messenger.ts        messages over the link         roster.ts        the table and the merge rule
 *     inbox.ts            what comes in                  tombstones.ts    nodes forgotten on purpose
 *     probe.ts            failure detection              gossip.ts        spreading news
 *     sync.ts             push-pull                      join.ts          finding the others
 *     key-rotation.ts     spreading the cluster's keys   persistence.ts   what outlives a restart
 *     accusations.ts      suspects and the dead          direct-news.ts   what one node is told
 *     session-renewal.ts  another session for its keys
 *     admission-news.ts   spreading whom approvers let in
 *
 * Clock, randomness and network are parameters: the simulator runs this very code in virtual time.
 */
import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { type Clock, realClock, TimerGroup } from '../clock.ts';
import { Histogram } from '../histogram.ts';
import { GossipCounters } from '../link/counters.ts';
import { Link } from '../link/link.ts';
import { Sealer } from '../link/seal.ts';
import { Sessions } from '../link/sessions.ts';
import { AdmissionNews } from './admission-news.ts';
import { BugLog, logChange, TwinAlarm } from './alarms.ts';
import { Awareness } from './awareness.ts';
import { BroadcastQueue } from './broadcast-queue.ts';
import { type ClaimRoundResult, claimRound } from './claim-round.ts';
import { DirectNews } from './direct-news.ts';
import { isShown } from './entry-store.ts';
import { forgettable } from './forgettable.ts';
import { Gossiper } from './gossip.ts';
import { Inbox } from './inbox.ts';
import { Joiner, type JoinOutcome } from './join.ts';
import { KeyRotation } from './key-rotation.ts';
import { MemberAddresses } from './member-addresses.ts';
import { MemberTable } from './member-table.ts';
import { Messenger } from './messenger.ts';
import type { MembershipEvents, MembershipOptions } from './options.ts';
import { Persistence } from './persistence.ts';
import { Prober } from './probe.ts';
import { type Random, seededRandom } from './random.ts';
import { RecordReader } from './record-reader.ts';
import { resolveHost } from './resolve.ts';
import { Roster } from './roster.ts';
import { type SelfDescription, SelfRecord } from './self.ts';
import { SessionRenewal } from './session-renewal.ts';
import { Synchronizer } from './sync.ts';
import { type MembershipTiming, timingPresets } from './timing.ts';
import type { LeaseClaim, Member, MemberContact, MemberStatus } from './types.ts';

export type { MembershipOptions } from './options.ts';

export class Membership extends EventEmitter<MembershipEvents> {
  readonly #options: MembershipOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #timing: MembershipTiming;
  readonly #timers: TimerGroup;
  readonly #counters = new GossipCounters();
  /** Of probes that other nodes answered. */
  readonly roundTrips = new Histogram();
  readonly #broadcasts = new BroadcastQueue();
  readonly #self: SelfRecord;
  readonly #awareness: Awareness;
  /** Sealed frames to and from other nodes; rpc/ sends its calls over it. Opened by `start`, closed by `stop`. */
  readonly link: Link;
  readonly #messenger: Messenger;
  readonly #roster: Roster;
  readonly #direct: DirectNews;
  readonly #gossiper: Gossiper;
  readonly #synchronizer: Synchronizer;
  readonly #prober: Prober;
  readonly #joiner: Joiner;
  readonly #inbox: Inbox;
  readonly #persistence: Persistence;
  readonly keys: KeyRotation;
  readonly admissionNews: AdmissionNews;
  readonly #joined: Promise<'joined' | 'alone'>;
  #phase: 'new' | 'running' | 'stopped' = 'new';
  readonly #twin: TwinAlarm;
  /** What frames are sealed under. */
  readonly sessions: Sessions;
  readonly #renewal: SessionRenewal;

  /** Reads the store, and may throw its errors (STATE_CORRUPT). Nothing is bound or sent before `start`. */
  constructor(options: MembershipOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? realClock;
    this.#random = options.random ?? seededRandom(randomBytes(4).readInt32BE());
    this.#timing = options.timing ?? timingPresets.lan;
    this.#timers = new TimerGroup(this.#clock);
    const stored = options.store.load();
    const { identity, logger, transport, keyRing } = options;
    this.#twin = new TwinAlarm(this.#clock, logger, (error) => this.emit('twin', error));
    const bugs = new BugLog(this.#clock, logger, 'gossip from another node');
    const { session: id, generation } = options;
    this.sessions = new Sessions({ clock: this.#clock, id, generation });
    this.#self = new SelfRecord(
      identity,
      { ...options.self, lease: undefined },
      {
        incarnation: (stored?.incarnation ?? 0) + 1,
        generation: stored?.generation ?? 0,
        session: this.sessions.id,
      },
    );
    this.#awareness = new Awareness(this.#timing.awarenessMaxMultiplier);
    const table = options.table ?? new MemberTable(this.#random);
    const shared = {
      selfId: identity.id,
      broadcasts: this.#broadcasts,
      clock: this.#clock,
      timers: this.#timers,
      timing: this.#timing,
      random: this.#random,
      counters: this.#counters,
      logger,
      awareness: this.#awareness,
      table,
    };
    const addresses = new MemberAddresses(table, this.#clock);
    this.link = new Link({
      transport,
      sealer: new Sealer(options.clusterName, keyRing),
      sessions: this.sessions,
      counters: this.#counters,
      memberOf: (one) => table.idOfSession(one),
      isMemberAddress: (address) => addresses.has(address),
      allowFrom: options.allowFrom,
      streamTimeoutMs: this.#timing.streamTimeoutMs,
      onBug: options.onBug ?? ((error) => bugs.add(error)),
    });
    this.#messenger = new Messenger(this.link, this.#counters, options.decode);
    const isRunning = () => this.#phase === 'running';
    this.#roster = new Roster({
      ...shared,
      self: this.#self,
      records: options.records ?? new RecordReader(),
      onChange: (member, previous) => this.#onChange(member, previous),
      onRemoved: (member) => {
        this.#persistence.changed();
        this.emit('removed', member);
      },
      onLastCall: ({ record }) => this.#direct.accuse(record),
      onTombstone: () => this.#persistence.changed(),
      onForgotten: (record) => this.#direct.forgotten(record),
      onSelfForgotten: () => this.#onSelfForgotten(),
      onStale: (accuserId) => this.#direct.introduceTo(accuserId),
      onTwin: (record) => {
        if (isRunning()) this.#twin.raise(record, this.#self.record);
      },
    });
    const parts = { ...shared, self: this.#self, link: this.#messenger, roster: this.#roster };
    this.#direct = new DirectNews({ ...parts, isRunning });
    this.#gossiper = new Gossiper(parts);
    const wake = () => this.#gossiper.wake();
    this.#persistence = new Persistence({ ...parts, store: options.store, stored, boot: options.boot });
    this.keys = new KeyRotation({ ...parts, keys: keyRing, wake });
    const admissionNews = new AdmissionNews({ ...parts, admission: options.admission, wake });
    this.admissionNews = admissionNews;
    this.#synchronizer = new Synchronizer({
      ...parts,
      keyRing: () => keyRing?.state,
      onKeyRing: (ring) => this.keys.merge(ring),
      admissionNews,
      onMerged: wake,
    });
    this.#prober = new Prober({
      ...parts,
      roundTrips: this.roundTrips,
      gossiper: this.#gossiper,
      onStranger: (to) => this.#direct.introduce(to),
    });
    this.#joiner = new Joiner({
      ...parts,
      selfEndpoint: () => this.#self.record.gossip,
      seeds: options.seeds,
      discovery: options.discovery,
      remembered: stored?.members ?? [],
      synchronizer: this.#synchronizer,
      resolve: options.resolve ?? resolveHost,
      onOutcome: (outcome) => this.emit('outcome', outcome),
    });
    this.#inbox = new Inbox({
      ...parts,
      isRunning,
      prober: this.#prober,
      gossiper: this.#gossiper,
      synchronizer: this.#synchronizer,
      rotation: this.keys,
      admissionNews,
    });
    this.#renewal = new SessionRenewal({
      ...parts,
      sessions: this.sessions,
      direct: this.#direct,
      gossiper: this.#gossiper,
      twin: this.#twin,
      isRunning,
    });
    this.#joined = new Promise((resolve) => this.once('outcome', resolve));
  }

  get id(): string {
    return this.#self.id;
  }

  /** What this node seals under now, hexadecimal. */
  get session(): string {
    return this.sessions.id;
  }

  /** The way joining has come out so far. */
  get outcome(): JoinOutcome {
    return this.#joiner.outcome;
  }

  /**
   * `joined` after the first push-pull with another node; `alone` when there is nobody to join or nobody
   * answered in time. Pending for as long as a seed answers and refuses this node: see `problems`.
   */
  get joined(): Promise<'joined' | 'alone'> {
    return this.#joined;
  }

  /** Binds, and begins to join. Rejects with a WarrenError if the address cannot be bound. */
  async start(): Promise<void> {
    await this.#messenger.open(this.#inbox);
    if (this.#phase !== 'new') return;
    this.#phase = 'running';
    this.#twin.start();
    this.#prober.start();
    this.#synchronizer.start();
    this.#joiner.start();
    this.#persistence.changed();
    this.#renewal.start();
  }

  /** To be called when `discovery` knows others than before. */
  discoveryChanged(): void {
    if (this.#phase === 'running') this.#joiner.discoveryChanged();
  }

  /** What this node thinks of its own health (awareness.ts): 0 is healthy. */
  get health(): number {
    return this.#awareness.score;
  }

  /** Every member that is remembered, dead ones included, and this node. */
  members(): Member[] {
    const members: Member[] = [];
    for (const entry of this.#roster.table) if (isShown(entry)) members.push(this.#roster.member(entry));
    return members;
  }

  /** How many members have this status, this node included. */
  count(status: MemberStatus): number {
    return this.#roster.table.countShown(status);
  }

  member(id: string): Member | undefined {
    const entry = this.#roster.table.get(id);
    return entry && isShown(entry) ? this.#roster.member(entry) : undefined;
  }

  /** What calls between nodes need of a member (rpc/). */
  contact(id: string): MemberContact | undefined {
    const entry = this.#roster.table.get(id);
    if (!entry || !isShown(entry)) return undefined;
    const { name, publicKey, session, gossip } = entry.record;
    return { id, name, publicKey, session, gossip, status: entry.status };
  }

  /** The members that are there, but for this node. */
  others(): Member[] {
    return this.members().filter(
      ({ id, status }) => id !== this.id && (status === 'alive' || status === 'suspect'),
    );
  }

  /** The leases of those who have been gone for so long that others may take them. */
  expiredLeases(): LeaseClaim[] {
    const leases: LeaseClaim[] = [];
    for (const { memory, record } of this.#roster.table) {
      if (memory === 'expired' && record.lease) leases.push(record.lease);
    }
    return leases;
  }

  /** This node. */
  self(): Member {
    return this.member(this.id)!;
  }

  /** Changes what this node says of itself. Before `start` it is only taken note of. */
  updateSelf(changes: Partial<SelfDescription>): void {
    this.#self.describe(changes);
    this.#self.renew();
    this.#roster.announceSelf();
    this.#gossiper.wake();
  }

  /** Tells every other member directly what this node last said of itself, unless they are more than `atMost`. */
  repeatSelf(atMost: number): void {
    this.#direct.repeat(atMost);
  }

  /** Tells one member directly what this node last said of itself. */
  introduce(id: string): void {
    this.#direct.introduceTo(id);
  }

  /**
   * Shows this node's lease to the nodes it joined through and to `others` random ones, and merges what they
   * know of the same subnets. `done` gets the number of nodes asked and of those that answered.
   */
  showClaim(others: number, done: (result: ClaimRoundResult) => void): void {
    const parts = {
      selfId: this.id,
      roster: this.#roster,
      synchronizer: this.#synchronizer,
      random: this.#random,
      timers: this.#timers,
    };
    claimRound(parts, this.#joiner.peers(), others, done);
  }

  /**
   * Forgets a member that is dead or has left, everywhere: its lease is free at once, and it must claim anew if
   * it returns. `node` is its id, or its name where only one has it. Throws MEMBER_UNKNOWN, MEMBER_AMBIGUOUS or
   * MEMBER_ALIVE.
   */
  forget(node: string): Member {
    const member = forgettable(this.members(), node);
    const { generation } = this.#roster.table.get(member.id)!.record;
    this.#roster.forgotten({ kind: 'forget', member: member.id, generation, ageSeconds: 0 });
    this.#options.logger.warn({ node: member.name, id: member.id }, 'node is forgotten; its lease is free');
    // The command is answered once this node cannot lose it any more.
    this.#persistence.write();
    this.#gossiper.wake();
    return member;
  }

  /** Tells the others that this node goes, and gives that news a moment to spread. `stop` comes after. */
  async leave(): Promise<void> {
    if (this.#phase !== 'running' || this.#self.left) return;
    this.#self.leave();
    this.#self.renew();
    this.#roster.announceSelf();
    if (this.#direct.leaving() === 0) return;
    this.#gossiper.wake();
    await new Promise<void>((resolve) => this.#timers.after(this.#timing.leaveMs, resolve));
  }

  /** Ends everything. Without `leave` before it the others find out by themselves. */
  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return;
    if (this.#phase === 'running') {
      this.#persistence.write();
      this.admissionNews.flush();
    }
    this.#phase = 'stopped';
    this.#timers.close();
    await this.link.close();
  }

  /** Counts since the start; the names are those of counters.ts. */
  counters(): Record<string, number> {
    return this.#counters.snapshot();
  }

  /** Why seeds cannot be joined at present, one sentence each; empty when all is well. */
  problems(): string[] {
    const problems = [...this.#joiner.problems(), ...this.#roster.twins.problems()];
    for (const part of [this.#persistence, this.#options.keyRing, this.#options.admission, this.#twin]) {
      if (part?.problem) problems.push(part.problem);
    }
    return problems;
  }

  #onChange(member: Member, previous: Member | undefined): void {
    const isKept = previous?.status !== member.status || previous?.lease !== member.lease;
    if (member.id === this.id || isKept) this.#persistence.changed();
    if (member.id !== this.id) logChange(this.#options.logger, member, previous);
    this.emit('change', member, previous, this.#roster.teller);
  }

  #onSelfForgotten(): void {
    this.#options.logger.warn(
      'this node was forgotten by the cluster while it was away; it claims a lease anew',
    );
    this.emit('forgotten');
    if (this.#phase === 'running') this.#persistence.write();
    this.#gossiper.wake();
  }
}
