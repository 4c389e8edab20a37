/** Randomness as a parameter: a number in [0, 1). A seeded source makes a run repeatable. */
export type Random = () => number;

/**
 * A repeatable source (the 32-bit "splitmix" sequence). Good for choosing whom to probe and for simulated
 * loss; keys and nonces never come from here.
 */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    mixed ^= mixed >>> 15;
    return (mixed >>> 0) / 0x1_0000_0000;
  };
}

/** An integer from 0 to `bound` - 1; 0 when `bound` is 0. */
export function randomIndex(random: Random, bound: number): number {
  return Math.floor(random() * bound);
}

/** Shuffles in place (Fisher-Yates). */
export function shuffle<T>(random: Random, items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = randomIndex(random, i + 1);
    [items[i], items[j]] = [items[j]!, items[i]!];
  }
  return items;
}

/** An array, or what can be looked at like one. */
export interface Indexed<T> {
  readonly length: number;
  at(index: number): T | undefined;
}

/**
 * Up to `count` different items that `accept` takes, in random order. It looks at every item if it must, so
 * that in a cluster of three the only possible helper is always found.
 */
export function sample<T>(
  random: Random,
  items: Indexed<T>,
  count: number,
  accept: (item: T) => boolean,
): T[] {
  if (count <= 0) return [];
  if (items.length <= count * 8) return shuffle(random, accepted(items, accept)).slice(0, count);
  const chosen = new Set<T>();
  for (let tries = 0; tries < count * 8 && chosen.size < count; tries++) {
    const item = items.at(randomIndex(random, items.length))!;
    if (accept(item)) chosen.add(item);
  }
  if (chosen.size === count) return [...chosen];
  return shuffle(random, accepted(items, accept)).slice(0, count);
}

function accepted<T>(items: Indexed<T>, accept: (item: T) => boolean): T[] {
  const result: T[] = [];
  for (let index = 0; index < items.length; index++) {
    const item = items.at(index)!;
    if (accept(item)) result.push(item);
  }
  return result;
}
