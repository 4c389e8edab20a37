/** Long work beside which a thread does other work: whoever does it pauses where it yields, once it has had its share. */

/** So long nothing else has its turn. */
const SHARE_MS = 8;

export async function inSteps<T>(steps: Generator<void, T>): Promise<T> {
  let beganMs = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - beganMs < SHARE_MS) continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    beganMs = performance.now();
  }
}
