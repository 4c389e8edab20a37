/** The protocol's timing as the configuration has it: one value for membership, leases and streams. */
import type { Config } from '../config/config.ts';
import { type MembershipTiming, timingPresets } from '../membership/timing.ts';

export function timingOf({ timing, leaseTtlSeconds }: Config['cluster']): MembershipTiming {
  // A lease lasts as long as its node is remembered.
  return { ...timingPresets[timing], deadRetentionMs: leaseTtlSeconds * 1000 };
}
