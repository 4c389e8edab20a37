/**
 * What users are promised within so many seconds, on a machine that other programs may stall or slow down: between two looks no
 * more time counts than a look takes where nothing else runs. There, all of it counts.
 */
import { setTimeout as delay } from 'node:timers/promises';

const BETWEEN_LOOKS_MS = 25;
/** A command or two in a namespace, and a request to an agent. */
const LOOK_MS = 125;

export interface Promised {
  readonly withinMs: number;
  /** How long a look takes at most where nothing else runs; default 125 ms. */
  readonly lookMs?: number;
  /** What did not come true, when it did not. */
  readonly otherwise: () => string | Promise<string>;
}

/** Looks until `holds`; gives how many milliseconds counted, and throws once `withinMs` have without. */
export async function promised(
  holds: () => boolean | Promise<boolean>,
  { withinMs, lookMs = LOOK_MS, otherwise }: Promised,
): Promise<number> {
  let passedMs = 0;
  for (;;) {
    const sinceMs = performance.now();
    const isTrue = await holds();
    if (!isTrue) await delay(BETWEEN_LOOKS_MS);
    passedMs += Math.min(performance.now() - sinceMs, lookMs + BETWEEN_LOOKS_MS);
    if (isTrue) return passedMs;
    if (passedMs > withinMs) throw new Error(`not within ${withinMs / 1000} s: ${await otherwise()}`);
  }
}
