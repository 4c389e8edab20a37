/**
 * How much older what is on the disk has become while the agent did not run. A lease of a node that is gone is free once
 * it has been gone for long enough, so a clock that is set ahead while agents restart would free it at once, on all of
 * them together. Hence the rule: **only time that was measured by a clock that nobody can set counts**.
 *
 * - On the same run of the kernel (boot id) its uptime says it exactly, suspended time included.
 * - After a reboot the uptime is what is sure to have passed since. How long the machine was off nobody knows but its wall
 *   clock, which is not believed.
 * - Of a state that does not say when it was written (0.1.0) nothing is known: everything counts as gone just now.
 *
 * So a wrong clock, or a machine that was off, can only delay that a lease becomes free; `warren forget` frees it at once.
 * Who was there all the time remembers the right time, and shows the later of the two to nobody else's harm.
 */
export interface Boot {
  /** Another one after each start of the kernel. */
  readonly id: string;
  /** Since then, suspended time included, on a clock that cannot be set. */
  uptimeMs(): number;
}

/** When a state was written. */
export interface Written {
  readonly bootId: string;
  readonly uptimeMs: number;
  /** Milliseconds since 1970 on the host's clock: what other times in the same state are relative to. */
  readonly at: number;
}

/** How long ago that was, as far as it is sure. */
export function downtimeMs(written: Written, boot: Boot): number {
  const uptimeMs = boot.uptimeMs();
  const isSameBoot = boot.id === written.bootId && uptimeMs >= written.uptimeMs;
  return isSameBoot ? uptimeMs - written.uptimeMs : uptimeMs;
}
