/**
 * Which nodes could reach each other in a simulated history, and since when: it decides what two nodes may be expected
 * to know of each other. Sampled in steps; a contact that is shorter than a step is missed.
 */
import type { SimulatedNode } from './cluster.ts';

/** After being apart two nodes may need so long to know all of each other that matters. */
export const SETTLED_MS = 20_000;

export class Acquaintance {
  readonly #nodes: readonly SimulatedNode[];
  /** Every node has some of them as its seeds. */
  readonly #seeds: readonly SimulatedNode[];
  readonly #now: () => number;
  /** By pair: when the two last could not hear each other, and when they last heard and knew each other. */
  readonly #apartAtMs = new Map<string, number>();
  readonly #metAtMs = new Map<string, number>();
  readonly #startedAtMs = new Map<SimulatedNode, number>();

  constructor(nodes: readonly SimulatedNode[], seeds: readonly SimulatedNode[], now: () => number) {
    this.#nodes = nodes;
    this.#seeds = seeds;
    this.#now = now;
  }

  /** `isBlocked`: whether nothing of the first reaches the second. */
  look(isBlocked: (from: SimulatedNode, to: SimulatedNode) => boolean): void {
    const nowMs = this.#now();
    const isAway = (node: SimulatedNode) => !node.isRunning || node.host.pausedUntilMs > nowMs;
    for (const [i, a] of this.#nodes.entries()) {
      for (const b of this.#nodes.slice(i + 1)) {
        const isApart = isAway(a) || isAway(b) || isBlocked(a, b) || isBlocked(b, a);
        const pair = pairOf(a, b);
        if (isApart) this.#apartAtMs.set(pair, nowMs);
        else if ((knows(a, b) && knows(b, a)) || this.togetherMs(a, b) > SETTLED_MS)
          this.#metAtMs.set(pair, nowMs);
      }
    }
  }

  /**
   * The node starts. With a lease from before it has been away, and its lease may be another's by now. Without
   * one it brings nothing along: what those who run know of another counts for it from its first moment.
   */
  starts(node: SimulatedNode, hasLease: boolean): void {
    this.#startedAtMs.set(node, this.#now());
    for (const other of this.#nodes) {
      if (other === node) continue;
      const known = this.#nodes.filter((third) => third !== node && third !== other && third.isRunning);
      const apartAtMs = hasLease
        ? this.#now()
        : Math.min(...known.map((third) => this.#apartAt(third, other)));
      this.#apartAtMs.set(pairOf(node, other), Number.isFinite(apartAtMs) ? apartAtMs : NEVER);
    }
  }

  /** When the two last heard and knew each other; undefined: never. */
  lastMetMs(a: SimulatedNode, b: SimulatedNode): number | undefined {
    return this.#metAtMs.get(pairOf(a, b));
  }

  /**
   * For how long the two have had all they need to know of each other: they hear each other, and they have met or
   * a seed hears both. Infinity: from the first moment on that either of them was there.
   */
  togetherMs(a: SimulatedNode, b: SimulatedNode): number {
    if (a === b) return Number.POSITIVE_INFINITY;
    const apartAtMs = Math.max(
      this.#apartAt(a, b),
      knows(a, b) || knows(b, a) ? NEVER : this.#strangersAt(a, b),
    );
    return this.#now() - apartAtMs;
  }

  /** When the two last had no seed to hear of each other through. */
  #strangersAt(a: SimulatedNode, b: SimulatedNode): number {
    const through = this.#seeds
      .filter((seed) => seed.isRunning)
      .map((seed) =>
        // A seed that has just come has yet to be found by those who were there before.
        Math.max(this.#apartAt(a, seed), this.#apartAt(b, seed), this.#startedAtMs.get(seed) ?? this.#now()),
      );
    return through.length === 0 ? this.#now() : Math.min(...through);
  }

  #apartAt(a: SimulatedNode, b: SimulatedNode): number {
    return a === b ? NEVER : (this.#apartAtMs.get(pairOf(a, b)) ?? NEVER);
  }
}

const NEVER = Number.NEGATIVE_INFINITY;

function knows(node: SimulatedNode, other: SimulatedNode): boolean {
  return node.membership.member(other.id)?.status === 'alive';
}

function pairOf(a: SimulatedNode, b: SimulatedNode): string {
  return a.name < b.name ? `${a.name}/${b.name}` : `${b.name}/${a.name}`;
}
