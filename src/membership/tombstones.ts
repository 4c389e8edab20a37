/**
 * Nodes that were forgotten on purpose (`warren forget`). A node's record carries its generation: how often it
 * has been forgotten. A tombstone voids all records up to a generation, so that the lease in them is free at
 * once and no late copy brings it back. The node itself, when it receives its tombstone, goes to the next
 * generation and claims a lease anew.
 */
import type { Clock } from '../clock.ts';
import type { Forget } from './codec.ts';
import { mix, type TableDigest } from './table-digest.ts';

export interface Tombstone {
  readonly id: string;
  /** Records of this generation and of those before are void. */
  readonly generation: number;
  /** On this node's clock; it may be negative, before this node started. */
  readonly sinceMs: number;
}

/** The oldest makes way for a younger one. */
export const MAX_TOMBSTONES = 1024;

export class Tombstones {
  readonly #byId = new Map<string, Tombstone>();
  readonly #digest: TableDigest;
  readonly #clock: Clock;
  readonly #retentionMs: number;

  constructor(digest: TableDigest, clock: Clock, retentionMs: number) {
    this.#digest = digest;
    this.#clock = clock;
    this.#retentionMs = retentionMs;
  }

  get size(): number {
    return this.#byId.size;
  }

  [Symbol.iterator](): IterableIterator<Tombstone> {
    return this.#byId.values();
  }

  voids(id: string, generation: number): boolean {
    const tombstone = this.#byId.get(id);
    return tombstone !== undefined && generation <= tombstone.generation;
  }

  /** False if it is no news, too old to be kept, or older than all of as many as there is room for. */
  add(id: string, generation: number, ageMs: number): boolean {
    if (this.voids(id, generation) || ageMs >= this.#retentionMs) return false;
    const sinceMs = this.#clock.now() - ageMs;
    if (this.#byId.size >= MAX_TOMBSTONES && !this.#byId.has(id)) {
      const oldest = this.#oldest();
      if (sinceMs <= oldest.sinceMs) return false;
      this.#remove(oldest.id);
    }
    this.#remove(id);
    this.#byId.set(id, { id, generation, sinceMs });
    this.#digest.toggle(id, digestState(generation));
    return true;
  }

  reap(): void {
    const before = this.#clock.now() - this.#retentionMs;
    for (const { id, sinceMs } of [...this.#byId.values()]) if (sinceMs <= before) this.#remove(id);
  }

  /** The message about `id`, if it has a tombstone. */
  message(id: string): Forget | undefined {
    const tombstone = this.#byId.get(id);
    if (!tombstone) return undefined;
    const ageSeconds = Math.max(0, Math.floor((this.#clock.now() - tombstone.sinceMs) / 1000));
    return { kind: 'forget', member: id, generation: tombstone.generation, ageSeconds };
  }

  #oldest(): Tombstone {
    let oldest: Tombstone | undefined;
    for (const tombstone of this.#byId.values()) {
      if (!oldest || tombstone.sinceMs < oldest.sinceMs) oldest = tombstone;
    }
    return oldest!;
  }

  #remove(id: string): void {
    const tombstone = this.#byId.get(id);
    if (!tombstone) return;
    this.#byId.delete(id);
    this.#digest.toggle(id, digestState(tombstone.generation));
  }
}

/** Unlike any state of a member in the same digest, almost certainly. */
function digestState(generation: number): number {
  return mix(generation ^ 0x70b5);
}
