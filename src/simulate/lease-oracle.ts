/**
 * What must hold of leases in a simulated history, held against what the nodes do.
 *
 *     under pods     a node that has pods never loses or changes its subnet, whatever else happens to it
 *     no theft       nobody claims a subnet that it knows to be another's
 *     one owner      two nodes on one side of a partition never both hold a subnet. That is tolerated for
 *                    `SETTLED_MS` after the two could not hear (of) each other, or one came back with a lease
 *                    from before: until then they cannot have settled it. It is not tolerated for a moment
 *                    between nodes that were never apart. Who has said that it leaves does not count.
 *     nothing lost   nobody takes a subnet whose owner has neither released it, nor been forgotten, nor been gone
 *                    for the lease's time, as long as someone is there who was told of the owner's lease. Who
 *                    knows: whoever has been together with the owner for `SETTLED_MS`, be it before a restart.
 *                    A node that was forgotten with pods in the subnet, which it cannot move, may take it from
 *                    an owner without: that one can move, and loses nothing.
 */
import { formatPrefix } from '../ip/prefix.ts';
import { Acquaintance, SETTLED_MS } from './acquaintance.ts';
import type { SimulatedNode } from './cluster.ts';

/** A lease that a node has had as its own, and that has not ended. */
interface Hold {
  readonly subnets: string;
  readonly sinceMs: number;
  /** Who was told of it. */
  readonly witnesses: Set<SimulatedNode>;
  /** When the owner said that it leaves, and keeps its lease. */
  leftAtMs?: number;
  /** The owner was forgotten, and acts as before until it hears of that: then it claims anew. */
  isVoid?: boolean;
}

export interface LeaseOracleOptions {
  readonly nodes: readonly SimulatedNode[];
  readonly seeds: readonly SimulatedNode[];
  readonly leaseTtlMs: number;
  readonly now: () => number;
  readonly onViolation: (text: string) => void;
}

export class LeaseOracle {
  readonly #options: LeaseOracleOptions;
  readonly #acquaintance: Acquaintance;
  /** One per node at most. */
  readonly #holds = new Map<SimulatedNode, Hold>();
  /** What each node with pods has its pods in. */
  readonly #pinned = new Map<SimulatedNode, string>();

  constructor(options: LeaseOracleOptions) {
    this.#options = options;
    this.#acquaintance = new Acquaintance(options.nodes, options.seeds, options.now);
  }

  /** Before the node starts. */
  starts(node: SimulatedNode): void {
    const hold = this.#holds.get(node);
    if (hold) delete hold.leftAtMs;
    this.#acquaintance.starts(node, node.storedLease !== undefined);
  }

  podsChange(node: SimulatedNode, count: number): void {
    if (count > 0) this.#pinned.set(node, node.subnets);
    else this.#pinned.delete(node);
  }

  /** The node says that it leaves: it counts as gone from now on, and its lease is kept for it. */
  leaves(node: SimulatedNode): void {
    const hold = this.#holds.get(node);
    if (hold) hold.leftAtMs = this.#options.now();
  }

  /** The node has given its lease back. */
  releases(node: SimulatedNode): void {
    this.#holds.delete(node);
  }

  /** The node's lease is void from now on. */
  forgotten(node: SimulatedNode): void {
    const hold = this.#holds.get(node);
    if (hold) hold.isVoid = true;
  }

  /** After any change of a node's lease. */
  changes(node: SimulatedNode): void {
    if (!node.isRunning) return;
    this.#checkPods(node);
    const { subnets } = node;
    const { status } = node.leases.state();
    if (status === 'claiming' && !this.#pinned.has(node)) this.#checkClaim(node, subnets);
    const held = this.#holds.get(node);
    const isOver = held && (held.subnets !== subnets || (held.isVoid && status === 'claiming'));
    if (isOver) this.#holds.delete(node);
    if (status !== 'active' || (held && !isOver)) return;
    this.#checkTaken(node, subnets);
    this.#holds.set(node, { subnets, sinceMs: this.#options.now(), witnesses: new Set() });
  }

  /** Time has passed. */
  look(isBlocked: (from: SimulatedNode, to: SimulatedNode) => boolean): void {
    this.#acquaintance.look(isBlocked);
    const { nodes } = this.#options;
    const running = nodes.filter((node) => node.isRunning);
    for (const node of running) this.#checkPods(node);
    const holders = running.filter((node) => node.leases.state().status === 'active');
    for (const [i, a] of holders.entries()) {
      for (const b of holders.slice(i + 1)) this.#checkOwners(a, b);
      this.#noteWitnesses(a, running);
    }
  }

  #checkPods(node: SimulatedNode): void {
    const pinned = this.#pinned.get(node);
    if (pinned === undefined || node.subnets === pinned) return;
    const { status } = node.leases.state();
    this.#violation(
      `${node.name} has pods in ${pinned}, and now has ${node.subnets || 'no subnet'} (${status})`,
    );
  }

  #checkClaim(node: SimulatedNode, subnets: string): void {
    for (const member of node.membership.members()) {
      if (member.id === node.id || member.lease?.state !== 'active') continue;
      if (member.lease.prefixes.map(formatPrefix).join(' ') !== subnets) continue;
      this.#violation(`${node.name} claims ${subnets}, which it knows to be ${member.name}'s`);
    }
  }

  #checkOwners(a: SimulatedNode, b: SimulatedNode): void {
    if (a.subnets !== b.subnets || this.#isLeaving(a) || this.#isLeaving(b)) return;
    const togetherMs = this.#acquaintance.togetherMs(a, b);
    if (togetherMs <= SETTLED_MS) return;
    const since =
      togetherMs === Number.POSITIVE_INFINITY ? 'and were never apart' : `${Math.round(togetherMs)} ms after`;
    this.#violation(`${a.name} and ${b.name} both hold ${a.subnets}, ${since}`);
  }

  /** `taker` has just become the owner of `subnets`. */
  #checkTaken(taker: SimulatedNode, subnets: string): void {
    const { leaseTtlMs, now } = this.#options;
    for (const [owner, hold] of this.#holds) {
      if (owner === taker || hold.subnets !== subnets || hold.isVoid) continue;
      if (this.#pinned.has(taker) && !this.#pinned.has(owner)) continue;
      for (const witness of hold.witnesses) {
        if (!witness.isRunning || this.#acquaintance.togetherMs(taker, witness) <= SETTLED_MS) continue;
        const lastMs = this.#acquaintance.lastMetMs(witness, owner) ?? 0;
        const goneMs = now() - Math.min(lastMs, hold.leftAtMs ?? lastMs);
        if (goneMs >= leaseTtlMs) continue;
        this.#violation(
          `${taker.name} takes ${subnets} of ${owner.name}, gone for ${Math.round(goneMs)} ms, though ${witness.name} was told`,
        );
      }
    }
  }

  /** It runs for a moment more, to tell the others; for them it has gone. */
  #isLeaving(node: SimulatedNode): boolean {
    return this.#holds.get(node)?.leftAtMs !== undefined;
  }

  #noteWitnesses(owner: SimulatedNode, running: readonly SimulatedNode[]): void {
    const hold = this.#holds.get(owner);
    if (!hold || this.#options.now() - hold.sinceMs <= SETTLED_MS) return;
    for (const node of running) {
      if (node !== owner && this.#acquaintance.togetherMs(node, owner) > SETTLED_MS) hold.witnesses.add(node);
    }
  }

  #violation(text: string): void {
    this.#options.onViolation(text);
  }
}
