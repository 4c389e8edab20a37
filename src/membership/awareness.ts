/**
 * A node's idea of its own health (Lifeguard's local health multiplier; memberlist awareness.go): 0 is
 * healthy. It grows when probes fail for no reason that others see, and when the node has to refute; it
 * stretches the node's own timeouts, so that a slow node does not accuse healthy ones.
 */
export class Awareness {
  readonly #maxScore: number;
  #score = 0;

  constructor(maxMultiplier: number) {
    this.#maxScore = maxMultiplier - 1;
  }

  get score(): number {
    return this.#score;
  }

  add(delta: number): void {
    this.#score = Math.min(Math.max(this.#score + delta, 0), this.#maxScore);
  }

  scale(durationMs: number): number {
    return durationMs * (this.#score + 1);
  }
}
