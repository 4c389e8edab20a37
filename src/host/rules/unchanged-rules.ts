/**
 * Rules that were looked at and right are right as long as the packet filter is as it was. The kernel numbers its rule
 * sets, and that number is one small question: looking twice a second was an eighth of what an idle agent does.
 */
export interface UnchangedRulesOptions {
  /** Another number after each change; undefined if that is not known, and then each look is a real one. */
  readonly generation: () => number | undefined;
  readonly look: () => boolean;
}

export class UnchangedRules {
  readonly #options: UnchangedRulesOptions;
  /** With which they were right. */
  #rightAt: number | undefined;

  constructor(options: UnchangedRulesOptions) {
    this.#options = options;
  }

  areRight(): boolean {
    // Asked first: what changes while it looks is looked at the next time.
    const generation = this.#options.generation();
    if (generation !== undefined && generation === this.#rightAt) return true;
    this.#rightAt = undefined;
    const areRight = this.#options.look();
    if (areRight) this.#rightAt = generation;
    return areRight;
  }
}
