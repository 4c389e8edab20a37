import { describe, expect, it } from 'vitest';
import { TableDigest } from '../../../src/membership/table-digest.ts';
import { MAX_TOMBSTONES, Tombstones } from '../../../src/membership/tombstones.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const idOf = (number: number) => number.toString(16).padStart(32, '0');
const DAY_MS = 24 * 3600_000;

function tombstones() {
  const clock = new VirtualClock();
  const digest = new TableDigest();
  return { clock, digest, tombstones: new Tombstones(digest, clock, 7 * DAY_MS) };
}

describe('tombstones', () => {
  it('void their generation and those before it, until they are too old', () => {
    const { clock, tombstones: all } = tombstones();
    expect(all.add(idOf(1), 3, 0)).toBe(true);
    expect([2, 3, 4].map((generation) => all.voids(idOf(1), generation))).toEqual([true, true, false]);
    expect(all.add(idOf(1), 2, 0)).toBe(false);
    expect(all.add(idOf(2), 0, 7 * DAY_MS)).toBe(false);
    clock.advance(7 * DAY_MS);
    all.reap();
    expect(all.size).toBe(0);
  });

  it('refuse what is older than all of them when there is no more room, and are as they were', () => {
    const { digest, tombstones: all } = tombstones();
    for (let i = 0; i < MAX_TOMBSTONES; i++) all.add(idOf(i), 0, 0);
    const before = digest.total;
    expect(all.add(idOf(5000), 0, 10_000)).toBe(false);
    expect(all.message(idOf(5000))).toBeUndefined();
    expect(digest.total).toEqual(before);
    // One that is known already takes no more room.
    expect(all.add(idOf(7), 1, 10_000)).toBe(true);
    expect(all.size).toBe(MAX_TOMBSTONES);
  });

  it('let the oldest make way for a younger one', () => {
    const { clock, tombstones: all } = tombstones();
    for (let i = 0; i < MAX_TOMBSTONES; i++) all.add(idOf(i), 0, i === 9 ? 5_000 : 0);
    clock.advance(1_000);
    expect(all.add(idOf(5000), 0, 0)).toBe(true);
    expect(all.voids(idOf(9), 0)).toBe(false);
    expect(all.voids(idOf(5000), 0)).toBe(true);
    expect(all.size).toBe(MAX_TOMBSTONES);
  });
});
