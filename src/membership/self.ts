/** This node's own record: its incarnation, its signature, and the state that outlives a restart. */

import type { Identity } from '../identity.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import { MAX_GENERATION, MAX_INCARNATION, signRecord } from './record.ts';
import type {
  Encapsulation,
  InventoryMark,
  LeaseClaim,
  NodeRecord,
  PostQuantum,
  SignedRecord,
} from './types.ts';

export interface SelfDescription {
  readonly name: string;
  /** Where other nodes' gossip reaches this node. */
  readonly gossip: Endpoint;
  readonly vtep: Endpoint;
  readonly encapsulation: Encapsulation;
  readonly lease: LeaseClaim | undefined;
  /** Bytes of an inner packet that this node's end of a path takes. */
  readonly mtu?: number | undefined;
  readonly inventory?: InventoryMark | undefined;
  readonly postQuantum?: PostQuantum | undefined;
  readonly policyHash?: string | undefined;
}

export class SelfRecord {
  readonly #identity: Identity;
  #session: string;
  #generation: number;
  #description: SelfDescription;
  #incarnation: number;
  #left = false;
  #current: { readonly record: NodeRecord; readonly signed: SignedRecord };

  constructor(
    identity: Identity,
    description: SelfDescription,
    run: { readonly incarnation: number; readonly generation: number; readonly session: string },
  ) {
    this.#identity = identity;
    this.#description = description;
    this.#session = run.session;
    this.#generation = run.generation;
    this.#incarnation = run.incarnation;
    this.#current = this.#sign();
  }

  get id(): string {
    return this.#identity.id;
  }

  get record(): NodeRecord {
    return this.#current.record;
  }

  get signed(): SignedRecord {
    return this.#current.signed;
  }

  get left(): boolean {
    return this.#left;
  }

  describe(changes: Partial<SelfDescription>): void {
    this.#description = { ...this.#description, ...changes };
  }

  leave(): void {
    this.#left = true;
  }

  /** Nothing that was said before the tombstone of `generation` counts any more, the lease least of all. */
  forgotten(generation: number): void {
    this.#generation = Math.min(Math.max(this.#generation, generation) + 1, MAX_GENERATION);
    this.#description = { ...this.#description, lease: undefined };
  }

  /** Counts from the next `renew` on. */
  setSession(session: string): void {
    this.#session = session;
  }

  /** A new record whose incarnation is above both its own and `known`. */
  renew(known = 0): void {
    this.#incarnation = Math.min(Math.max(this.#incarnation, known) + 1, MAX_INCARNATION);
    this.#current = this.#sign();
  }

  #sign() {
    return signRecord(this.#identity, {
      ...this.#description,
      mtu: this.#description.mtu,
      inventory: this.#description.inventory,
      incarnation: this.#incarnation,
      left: this.#left,
      session: this.#session,
      generation: this.#generation,
    });
  }
}
