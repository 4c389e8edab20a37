/** The intervals of the inventory, and where others' is pulled from first. */

export interface InventoryTiming {
  /** Changes of this node within so long become one version. */
  readonly coalesceMs: number;
  /** Versions follow each other no faster: gossip carries only the newest of a node, once per gossip interval. */
  readonly versionIntervalMs: number;
  /**
   * So long after a version, unless another followed, each member is told of it directly, where they are no more than
   * `repeatUpTo`: gossip passes somebody by now and then. In larger clusters it repeats itself more often.
   */
  readonly repeatMs: number;
  readonly repeatUpTo: number;
  /**
   * Who is asked first for a new version: the member that told of it (it has most likely pulled it already, and each
   * tells a few), its owner, or anyone.
   */
  readonly first: 'teller' | 'owner' | 'random';
  /** Wants that arise within so long go into one request. */
  readonly gatherMs: number;
  /** After a failed attempt n, from 1: retry * 2^(n - 1) up to the maximum, and half less to half more. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
  /** The most that one request may take. */
  readonly callTimeoutMs: number;
  /** An inventory that is behind for longer is a problem that a person should know of. */
  readonly behindShownMs: number;
}

export const inventoryTiming: InventoryTiming = {
  coalesceMs: 50,
  versionIntervalMs: 200,
  repeatMs: 500,
  repeatUpTo: 128,
  first: 'teller',
  gatherMs: 2,
  retryMs: 20,
  retryMaxMs: 10_000,
  callTimeoutMs: 5_000,
  behindShownMs: 30_000,
};

/** Before attempt `attempt` (0: the first). `random`: 0 to 1. */
export function retryDelayMs(timing: InventoryTiming, attempt: number, random: number): number {
  if (attempt === 0) return timing.gatherMs;
  return Math.min(timing.retryMaxMs, timing.retryMs * 2 ** (attempt - 1)) * (0.5 + random);
}
