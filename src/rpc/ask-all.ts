/** Asks several nodes the same, some at a time. */

/** Nodes that are asked at the same time. */
export const ASKED_AT_ONCE = 16;

/** Resolves when `ask` has been through for each; it must not reject. */
export async function askAll<T>(all: Iterable<T>, ask: (one: T) => Promise<void>): Promise<void> {
  const queue = [...all].values();
  const askNext = async (): Promise<void> => {
    for (const one of queue) await ask(one);
  };
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, askNext));
}
