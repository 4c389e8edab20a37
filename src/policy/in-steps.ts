/** Long work beside which a thread does other work: whoever does it pauses where it yields, once it has had its share. */
import type { Clock } from '../clock.ts';

/** So long nothing else has its turn. */
const SHARE_MS = 8;

/** In virtual time no time passes meanwhile, and there is no pause. */
export async function inSteps<T>(steps: Generator<void, T>, clock: Clock): Promise<T> {
  let beganMs = clock.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (clock.now() - beganMs < SHARE_MS) continue;
    await new Promise<void>((resolve) => clock.after(0, resolve));
    beganMs = clock.now();
  }
}
