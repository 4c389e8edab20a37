/**
 * What every node has attached, this one included: one interface for whoever wants to know (names, policies, reports).
 * Each node announces version and hash of its inventory in its gossip record; what they stand for is pulled.
 *
 *     own-inventory.ts   what this node has attached     replica.ts       another node's, verified
 *     entry.ts           an entry's bytes and hash       puller.ts        from whom and when
 *     snapshot.ts, change-log.ts   versions              pull-server.ts   what others are answered
 */
import { EventEmitter } from 'node:events';
import { realClock, TimerGroup } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { IpAddress } from '../ip/address.ts';
import type { InventoryMark, Member, MemberStatus } from '../membership/types.ts';
import { AddressIndex } from './address-index.ts';
import type { Holder, InventoryChange, InventoryEntry, NodeInventory } from './inventory.ts';
import type { InventoriesOptions, MemberListener } from './options.ts';
import { OwnInventory } from './own-inventory.ts';
import { decodePullRequest } from './pull-messages.ts';
import { answerPull, type Held } from './pull-server.ts';
import { PULL_METHOD, Puller } from './puller.ts';
import { Replica } from './replica.ts';
import { type Difference, differenceOf, type Snapshot } from './snapshot.ts';
import { inventoryTiming } from './timing.ts';

interface InventoryEvents {
  /** What is known of a node's attachments is another now. This node's own included, before others know. */
  change: [change: InventoryChange];
}

/** Of other nodes; as many members as there can be. */
const MAX_NODES = 16_384;
/** Of all their entries, serialized: 120,000 like a container's. In memory it is about ten times as much. */
const MAX_TOTAL_BYTES = 16 * 1024 * 1024;

export class Inventories extends EventEmitter<InventoryEvents> {
  readonly #options: InventoriesOptions;
  readonly #timers: TimerGroup;
  readonly #own: OwnInventory;
  readonly #puller: Puller;
  readonly #index = new AddressIndex();
  /** Bounded by MAX_NODES and MAX_TOTAL_BYTES. */
  readonly #replicas = new Map<string, Replica>();
  #totalBytes = 0;
  #isFull = false;
  #isRunning = false;
  #served = 0;
  readonly #onMember: MemberListener = (member, previous, teller) =>
    this.#memberChanged(member, previous, teller);
  readonly #onRemoved = (member: Member) => this.#drop(member.id);

  /** Reads the store, and may throw its errors. Registers its method with `rpc`. */
  constructor(options: InventoriesOptions) {
    super();
    this.#options = options;
    const { membership, rpc, logger } = options;
    const clock = options.clock ?? realClock;
    const timing = options.timing ?? inventoryTiming;
    const random = options.random ?? Math.random;
    this.#timers = new TimerGroup(clock);
    this.#own = new OwnInventory({
      store: options.store,
      clock,
      timers: this.#timers,
      timing,
      announce: (inventory) => membership.updateSelf({ inventory }),
      repeat: () => membership.repeatSelf(timing.repeatUpTo),
      onChange: (difference) => this.#changed(membership.id, difference),
    });
    this.#puller = new Puller({
      rpc,
      clock,
      timers: this.#timers,
      timing,
      random,
      logger,
      canAsk: (id) => id !== membership.id && canAnswer(membership.member(id)),
      anyone: () => this.#anyone(random),
      decodeEntry: options.decodeEntry,
    });
    rpc.serve(PULL_METHOD, (body) => this.#serve(body));
  }

  /**
   * Announces what is attached already as one version, and begins to pull. Before membership starts, so that the first
   * record of this node carries the mark.
   */
  start(): void {
    const { membership } = this.#options;
    this.#isRunning = true;
    membership.on('change', this.#onMember);
    membership.on('removed', this.#onRemoved);
    for (const member of membership.members()) this.#memberChanged(member, undefined, undefined);
    this.#own.start();
  }

  /** Before membership and requests stop. */
  stop(): void {
    const { membership } = this.#options;
    this.#isRunning = false;
    membership.off('change', this.#onMember);
    membership.off('removed', this.#onRemoved);
    this.#timers.close();
    this.#puller.stop();
    this.#own.stop();
  }

  /** This node has this attachment, or it is another now; at once here, a moment later everywhere. Never throws. */
  set(entry: InventoryEntry): void {
    this.#own.set(entry);
  }

  delete(id: string): void {
    this.#own.delete(id);
  }

  /**
   * Whose address it is: mostly one, none if nobody has it. Several where nodes are not of one mind; then those that
   * are alive stand first.
   */
  holders(address: IpAddress): Holder[] {
    const { mayHave = () => true } = this.#options;
    return this.#index
      .claimants(address)
      .filter(({ node }) => mayHave(node, address))
      .map(({ node, entry }) => ({ nodeId: node, status: this.#statusOf(node), entry }))
      .sort((a, b) => STATUS_ORDER.indexOf(a.status) - STATUS_ORDER.indexOf(b.status));
  }

  /** Undefined for a node that is not known, or has no inventory. A dead node's is what it was last known to be. */
  node(nodeId: string): NodeInventory | undefined {
    const { membership } = this.#options;
    if (nodeId === membership.id) {
      const { version } = this.#own.announced;
      return inventoryOf(nodeId, this.#statusOf(nodeId), version, true, this.#own.entries);
    }
    const replica = this.#replicas.get(nodeId);
    if (!replica) return undefined;
    const { snapshot, isCurrent } = replica;
    return inventoryOf(nodeId, this.#statusOf(nodeId), snapshot?.version, isCurrent, snapshot?.entries);
  }

  /** All that are known, this node's first. */
  *nodes(): IterableIterator<NodeInventory> {
    for (const id of [this.#options.membership.id, ...this.#replicas.keys()]) {
      const inventory = this.node(id);
      if (inventory) yield inventory;
    }
  }

  get ownId(): string {
    return this.#options.membership.id;
  }

  /** All entries of all nodes, each with those of its addresses alone that its node may have. */
  *listed(): IterableIterator<Holder> {
    const { mayHave = () => true } = this.#options;
    for (const { nodeId, status, entry } of this.entries()) {
      const addresses = entry.addresses.filter((address) => mayHave(nodeId, address));
      if (addresses.length > 0) yield { nodeId, status, entry: { ...entry, addresses } };
    }
  }

  /** All entries of all nodes. */
  *entries(): IterableIterator<Holder> {
    for (const { nodeId, status, entries } of this.nodes()) {
      for (const entry of entries) yield { nodeId, status, entry };
    }
  }

  /** Whether all that this node has attached is in its record. */
  get isAnnounced(): boolean {
    return this.#own.isAnnounced;
  }

  /** How many nodes' inventories are known, this one's included. */
  get known(): number {
    return this.#replicas.size + 1;
  }

  /** How many of them are not up to date. */
  get behind(): number {
    return this.#puller.size;
  }

  /** What a person should know, one sentence each; empty when all is well. */
  problems(): string[] {
    const problems = this.#own.problems();
    if (this.#isFull) {
      problems.push(
        `the attachments of all nodes take more than ${MAX_TOTAL_BYTES / 1024 / 1024} MiB: this node does not know all of them`,
      );
    }
    for (const { nodeId, forMs, isLie } of this.#puller.behind()) {
      const member = this.#options.membership.member(nodeId);
      const name = member?.name ?? nodeId;
      if (isLie)
        problems.push(`node ${name} lists other attachments than it has signed; the last good list is kept`);
      else if (member?.status === 'alive') {
        problems.push(
          `what node ${name} has attached has not been up to date here for ${Math.round(forMs / 1000)} s`,
        );
      }
    }
    return problems;
  }

  counters(): Record<string, number> {
    return { ...this.#puller.counters, served: this.#served };
  }

  #serve(body: Uint8Array): Iterable<Uint8Array> {
    const wants = decodePullRequest(body);
    if (!wants.ok) throw new WarrenError('INVENTORY_REQUEST', 'the request for inventories makes no sense');
    this.#served++;
    return answerPull(wants.value, (node) => this.#held(node));
  }

  #held(node: string): Held {
    if (node === this.#options.membership.id) {
      // Before its first version is announced it has nothing to give.
      return this.#isRunning ? { snapshot: this.#own.announced, log: this.#own.log } : undefined;
    }
    const replica = this.#replicas.get(node);
    return replica?.snapshot && { snapshot: replica.snapshot, log: replica.log };
  }

  #memberChanged(member: Member, previous: Member | undefined, teller: string | undefined): void {
    const { id, inventory: mark, status } = member;
    if (id === this.#options.membership.id) return;
    if (!mark || status === 'left') {
      this.#drop(id);
      return;
    }
    const known = this.#replicas.get(id);
    if (!known && this.#replicas.size >= MAX_NODES) {
      this.#isFull = true;
      return;
    }
    const replica = known ?? this.#newReplica(id, mark);
    const isSame = known?.mark.version === mark.version && known.mark.hash === mark.hash;
    if (!isSame) replica.announced(mark);
    if (replica.isCurrent) this.#puller.forget(id);
    else if (!isSame) this.#puller.want(replica, teller);
    else if (status === 'alive' && previous?.status === 'dead') this.#puller.revive(id);
  }

  #newReplica(id: string, mark: InventoryMark): Replica {
    const replica = new Replica(id, mark, {
      mayGrow: (byBytes) => this.#mayGrow(byBytes),
      onTaken: (before, after) => this.#taken(id, before, after),
    });
    this.#replicas.set(id, replica);
    return replica;
  }

  #drop(id: string): void {
    const replica = this.#replicas.get(id);
    if (!replica) return;
    const before = replica.snapshot;
    this.#replicas.delete(id);
    this.#puller.forget(id);
    replica.drop();
    this.#isFull = false;
    this.#taken(id, before, undefined);
  }

  #mayGrow(byBytes: number): boolean {
    if (byBytes > 0 && this.#totalBytes + byBytes > MAX_TOTAL_BYTES) {
      this.#isFull = true;
      return false;
    }
    this.#totalBytes += byBytes;
    return true;
  }

  #taken(nodeId: string, before: Snapshot | undefined, after: Snapshot | undefined): void {
    const difference = differenceOf(before, after);
    if (difference.set.length + difference.deleted.length > 0) this.#changed(nodeId, difference);
  }

  #changed(nodeId: string, difference: Difference): void {
    this.#index.apply(nodeId, difference);
    this.emit('change', {
      nodeId,
      set: difference.set.map(({ entry }) => entry),
      deleted: difference.deleted,
    });
  }

  #anyone(random: () => number): string | undefined {
    const { membership } = this.#options;
    const ids = [...this.#replicas.keys()];
    // A few tries find one where most are alive; where few are, all are looked at, from a random place on.
    const start = Math.floor(random() * ids.length);
    for (let i = 0; i < ids.length; i++) {
      const id = ids[(start + i) % ids.length]!;
      if (canAnswer(membership.member(id))) return id;
    }
    return undefined;
  }

  #statusOf(nodeId: string): MemberStatus {
    return this.#options.membership.member(nodeId)?.status ?? 'dead';
  }
}

const STATUS_ORDER: readonly MemberStatus[] = ['alive', 'suspect', 'dead', 'left'];

function canAnswer(member: Member | undefined): boolean {
  return member?.inventory !== undefined && (member.status === 'alive' || member.status === 'suspect');
}

function inventoryOf(
  nodeId: string,
  status: MemberStatus,
  version: number | undefined,
  isCurrent: boolean,
  stored: Snapshot['entries'] | undefined,
): NodeInventory {
  const entries = Array.from(stored?.values() ?? [], ({ entry }) => entry);
  return { nodeId, status, version, isCurrent, entries };
}
