/**
 * What one round of a group probe sends: groups of datagrams of several sizes, each before it as a single datagram of
 * nearly its size, so that loss of the path, or datagrams that are too long for it, can be told from loss in groups.
 * Some kernels damage only groups whose last datagram is as long as the others, so there are groups of both kinds.
 *
 * The packet path joins consecutive datagrams of one size, and a shorter one behind them. What a round sends comes in an
 * order in which it joins each group and nothing else.
 */

/** At most so many datagrams in one round, which have the numbers from 0 on, in the order in which they are sent. */
export const MAX_SLOTS = 64;

export type Depth = 'short' | 'full';

export interface Group {
  /** Its datagrams, and the single one beside them. */
  readonly slots: readonly number[];
  readonly single: number;
}

export interface Plan {
  /** Bytes of UDP payload, by slot. */
  readonly sizes: readonly number[];
  readonly groups: readonly Group[];
  /** In this order; one of several slots is a group. */
  readonly sends: readonly (readonly number[])[];
}

const SMALL_BYTES = 64;
const TAIL_BYTES = 40;

/** By sizes: `s` small, `h` half of the largest, `f` the largest; how often, and whether a shorter one follows. */
const SHAPES = {
  // Some 8 kB.
  short: [
    { size: 's', count: 4, tail: false },
    { size: 'h', count: 2, tail: true },
    { size: 'f', count: 3, tail: false },
  ],
  // Some 27 kB.
  full: [
    { size: 's', count: 16, tail: false },
    { size: 'h', count: 4, tail: false },
    { size: 'f', count: 3, tail: true },
    { size: 'f', count: 12, tail: false },
  ],
} as const;

/** `largest`: bytes of UDP payload that just fit; 200 or more. */
export function planOf(depth: Depth, largest: number): Plan {
  const bytesOf = { s: SMALL_BYTES, h: largest >> 1, f: largest };
  const sizes: number[] = [];
  const groups: Group[] = [];
  const sends: number[][] = [];
  let before = 0;
  for (const [i, { size, count, tail }] of SHAPES[depth].entries()) {
    const isLast = i === SHAPES[depth].length - 1;
    // Each longer than all before it, or it would be joined to them.
    const bytes = bytesOf[size] - (size === 'f' && !isLast ? 2 : 0);
    const single = sizes.push(Math.max(bytes - 1, before + 1)) - 1;
    const slots = Array.from({ length: count }, () => sizes.push(bytes) - 1);
    if (tail) slots.push(sizes.push(TAIL_BYTES) - 1);
    groups.push({ slots, single });
    sends.push([single], slots);
    before = bytes;
  }
  return { sizes, groups, sends };
}
