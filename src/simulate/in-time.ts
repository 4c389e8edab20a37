/**
 * Waits for promises that need virtual time to pass. `VirtualClock.advance` is synchronous: it runs timers and lets
 * no promise go on. So time passes in steps, and between two of them everything that is ready in the host's event loop
 * runs; no real time is waited for. A step is the most by which what happens in promises can come late.
 */
import type { VirtualClock } from './virtual-clock.ts';

/** Resolves when all promises have gone on as far as they can without time passing. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** What `work` resolves to, or rejects with; an error if it is still pending after `limitMs` of virtual time. */
export async function inTime<T>(
  clock: VirtualClock,
  work: Promise<T>,
  { stepMs = 5, limitMs = 60_000 }: { readonly stepMs?: number; readonly limitMs?: number } = {},
): Promise<T> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  done.catch(() => {});
  await settled();
  for (let passedMs = 0; !isDone; passedMs += stepMs) {
    if (passedMs > limitMs) throw new Error(`still pending after ${limitMs} ms of virtual time`);
    clock.advance(stepMs);
    await settled();
  }
  return done;
}
