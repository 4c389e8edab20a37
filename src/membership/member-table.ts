/** Every member this node knows, itself included, and a digest of it all. Bounded by `MAX_MEMBERS`. */
import type { MemberStatus } from '../api/types.ts';
import type { Digest } from './codec.ts';
import { type Random, randomIndex, shuffle } from './random.ts';
import type { Suspicion } from './suspicion.ts';
import type { NodeRecord, SignedRecord } from './types.ts';

export const MAX_MEMBERS = 16_384;

export interface MemberEntry {
  readonly id: string;
  record: NodeRecord;
  signed: SignedRecord;
  status: MemberStatus;
  /** On this node's clock. */
  statusSinceMs: number;
  /** Set while the status is `suspect`. */
  suspicion: Suspicion | undefined;
}

export class MemberTable {
  readonly #entries = new Map<string, MemberEntry>();
  /** In probing order: shuffled, newcomers at a random place. */
  #order: MemberEntry[] = [];
  readonly #random: Random;
  readonly #counts: Record<MemberStatus, number> = { alive: 0, suspect: 0, dead: 0, left: 0 };
  #digestHigh = 0;
  #digestLow = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Alive or suspect, this node included. */
  get reachable(): number {
    return this.#counts.alive + this.#counts.suspect;
  }

  count(status: MemberStatus): number {
    return this.#counts[status];
  }

  get(id: string): MemberEntry | undefined {
    return this.#entries.get(id);
  }

  /** Borrowed: not to be changed, and valid until the next `add` or `remove`. */
  get order(): readonly MemberEntry[] {
    return this.#order;
  }

  /** Equal on two nodes that know the same members at the same incarnations, and which of them are gone. */
  get digest(): Digest {
    return { high: this.#digestHigh >>> 0, low: this.#digestLow >>> 0 };
  }

  add(entry: MemberEntry): void {
    this.#entries.set(entry.id, entry);
    const place = randomIndex(this.#random, this.#order.length + 1);
    const displaced = this.#order[place];
    this.#order[place] = entry;
    if (displaced) this.#order.push(displaced);
    this.#count(entry, 1);
  }

  /** Applies `change` to an entry; all changes go through here, so that counts and digest stay true. */
  change(entry: MemberEntry, change: Partial<Omit<MemberEntry, 'id'>>): void {
    this.#count(entry, -1);
    Object.assign(entry, change);
    this.#count(entry, 1);
  }

  remove(entry: MemberEntry): void {
    if (!this.#entries.delete(entry.id)) return;
    this.#order = this.#order.filter((other) => other !== entry);
    this.#count(entry, -1);
  }

  reshuffle(): void {
    shuffle(this.#random, this.#order);
  }

  #count(entry: MemberEntry, by: 1 | -1): void {
    this.#counts[entry.status] += by;
    // A suspect counts as alive: suspicions come and go, and are not worth an exchange of tables.
    const isGone = entry.status === 'dead' || entry.status === 'left';
    const state = Math.imul(entry.record.incarnation, 2) + (isGone ? 1 : 0);
    // Ids are hashes already; exclusive-or makes adding and removing the same operation.
    this.#digestHigh ^= mix(Number.parseInt(entry.id.slice(0, 8), 16) ^ mix(state));
    this.#digestLow ^= mix(Number.parseInt(entry.id.slice(8, 16), 16) ^ mix(state + 0x5bd1e995));
  }
}

/** A bijection of 32-bit integers that spreads every bit (the finalizer of MurmurHash3). */
export function mix(value: number): number {
  let mixed = value | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return mixed ^ (mixed >>> 16);
}
