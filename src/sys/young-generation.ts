/**
 * How much memory V8 takes for what has just been allocated. Left alone the young generation of a thread grows to ten
 * megabytes and more while the agent starts, and is never given back; what is allocated later is little.
 */
import { setFlagsFromString } from 'node:v8';

/** In a worker's `resourceLimits`. */
export const SMALL_YOUNG_GENERATION = { maxYoungGenerationSizeMb: 2 } as const;

/** This thread's stays as it began, 1 MB. Node's option --max-semi-space-size would do it, but is too late once it runs. */
export function keepYoungGenerationSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
