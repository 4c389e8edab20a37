/** Runs parts side by side, as many as there are cores: the longest first, their results in the parts' order. */
import { Worker } from 'node:worker_threads';
import { errorMessage, WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';
import { costOf, type Part, type PartResult, replayOf } from './parts.ts';

/** Runs one part after the other. */
export interface Runner {
  run(part: Part): Promise<PartResult>;
  close(): Promise<void>;
}

/** Simulated nodes make many short-lived objects: with a large nursery most are gone before it is tidied up. */
const YOUNG_GENERATION_MB = 128;
/** 10,000 nodes take 1.5 GB. */
const OLD_GENERATION_MB = 4096;

export function threadRunner(): Runner {
  const worker = new Worker(builtFile('simulate/part-worker'), {
    resourceLimits: {
      maxYoungGenerationSizeMb: YOUNG_GENERATION_MB,
      maxOldGenerationSizeMb: OLD_GENERATION_MB,
    },
  });
  return {
    run: (part) =>
      new Promise((resolve, reject) => {
        worker.once('error', reject);
        worker.once('message', (result: PartResult) => {
          worker.off('error', reject);
          resolve(result);
        });
        worker.postMessage(part);
      }),
    close: async () => {
      await worker.terminate();
    },
  };
}

/**
 * `onResult` is called for each part in their order, as soon as it and all before it are done. Rejects with
 * SIMULATION_FAILED, which names the part's seed, when one could not be run to its end.
 */
export async function runParts(
  parts: readonly Part[],
  threads: number,
  newRunner: () => Runner,
  onResult: (result: PartResult, part: Part) => void,
): Promise<void> {
  const waiting = [...parts.keys()].sort((a, b) => costOf(parts[b]!) - costOf(parts[a]!) || a - b);
  const results = new Map<number, PartResult>();
  let reported = 0;
  const work = async (runner: Runner) => {
    for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
      const part = parts[index]!;
      try {
        results.set(index, await runner.run(part));
      } catch (error) {
        throw new WarrenError('SIMULATION_FAILED', errorMessage(error), {
          hint: `The same again: ${replayOf(part)}`,
          cause: error,
        });
      }
      for (let next = results.get(reported); next; next = results.get(reported)) {
        onResult(next, parts[reported]!);
        reported++;
      }
    }
  };
  const runners = Array.from({ length: Math.min(threads, parts.length) }, newRunner);
  try {
    await Promise.all(runners.map(work));
  } finally {
    await Promise.all(runners.map((runner) => runner.close()));
  }
}
