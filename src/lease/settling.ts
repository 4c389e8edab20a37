/**
 * What a lease waits for: that its claim has spread, that a rival may have answered, that a write reaches the disk. It
 * waits for one of them at a time; a new wait replaces the one before.
 */
import type { Clock, Timer, TimerGroup } from '../clock.ts';
import type { Membership } from '../membership/membership.ts';
import type { MembershipTiming } from '../membership/timing.ts';

export interface SettlingOptions {
  readonly membership: Membership;
  readonly timing: MembershipTiming;
  readonly clock: Clock;
  readonly timers: TimerGroup;
}

/** How many random nodes a claim is shown to, besides those this node joined through. */
const SHOWN_TO = 5;

export class Settling {
  readonly #options: SettlingOptions;
  #timer: Timer | undefined;

  constructor(options: SettlingOptions) {
    this.#options = options;
  }

  /** 2 + 2 ceil(log2 n) gossip intervals: about twice what news takes to reach everyone. */
  get durationMs(): number {
    const nodes = this.#options.membership.count('alive');
    return this.#options.timing.gossipIntervalMs * (2 + 2 * Math.ceil(Math.log2(Math.max(1, nodes))));
  }

  /** Does `work` after `delayMs`, instead of what was waited for. */
  after(delayMs: number, work: () => void): void {
    this.cancel();
    this.#timer = this.#options.timers.after(delayMs, work);
  }

  cancel(): void {
    this.#timer?.cancel();
  }

  /**
   * Shows the claim that this node has announced to others, and calls `settled` once that is done and the news has had
   * time to spread; not if `isCurrent` does not hold any more.
   */
  show(isCurrent: () => boolean, settled: () => void): void {
    const { membership, clock } = this.#options;
    const startedAtMs = clock.now();
    membership.showClaim(SHOWN_TO, ({ asked, answered }) => {
      if (!isCurrent()) return;
      this.after(Math.max(0, this.durationMs - (clock.now() - startedAtMs)), () => {
        if (!isCurrent()) return;
        // Others are there and none could be asked: that is no confirmation.
        if (asked > 0 && answered === 0) this.show(isCurrent, settled);
        else settled();
      });
    });
  }
}
