/** All that one run of the simulator came to. */
import type { Dissemination } from './dissemination.ts';
import type { FalsePositives } from './false-positives.ts';
import type { InventorySpread } from './inventory-spread.ts';
import { joinLeaseResults, type LeaseResults } from './lease-histories.ts';
import type { PartResult } from './parts.ts';

export interface SimulationResults {
  readonly seed: number;
  readonly gossipIntervalMs: number;
  /** From the smallest cluster to the largest. */
  readonly dissemination: readonly Dissemination[];
  readonly falsePositives?:
    | { readonly withLifeguard: FalsePositives; readonly without: FalsePositives }
    | undefined;
  readonly leases: LeaseResults;
  readonly inventory: readonly InventorySpread[];
}

/** `results` in the order of `partsOf`. */
export function collectResults(
  seed: number,
  gossipIntervalMs: number,
  results: readonly PartResult[],
): SimulationResults {
  const [withLifeguard, without] = results.flatMap((part) => (part.kind === 'alarms' ? [part.result] : []));
  return {
    seed,
    gossipIntervalMs,
    dissemination: results.flatMap((part) => (part.kind === 'news' ? [part.result] : [])),
    falsePositives: withLifeguard && without && { withLifeguard, without },
    leases: joinLeaseResults(results.flatMap((part) => (part.kind === 'leases' ? [part.result] : []))),
    inventory: results.flatMap((part) => (part.kind === 'inventory' ? [part.result] : [])),
  };
}
