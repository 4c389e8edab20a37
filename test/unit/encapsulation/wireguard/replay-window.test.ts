/** The replay window against a set that remembers everything. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJECT_AFTER_MESSAGES } from '../../../../src/encapsulation/wireguard/constants.ts';
import { REPLAY_WINDOW, ReplayWindow } from '../../../../src/encapsulation/wireguard/replay-window.ts';

function accept(window: ReplayWindow, counter: number): boolean {
  if (!window.isFresh(counter)) return false;
  window.commit(counter);
  return true;
}

describe('the replay window', () => {
  it('is at least 8,000', () => expect(REPLAY_WINDOW).toBeGreaterThanOrEqual(8_000));

  it('takes each counter once, and none that is behind it', () => {
    const counters = fc.oneof(
      fc.nat(200),
      fc.nat(20_000),
      fc.integer({ min: 7_900, max: 8_400 }),
      fc.integer({ min: 2 ** 32 - 9_000, max: 2 ** 32 + 9_000 }),
      fc.maxSafeNat(),
      fc.integer({ min: 2 ** 53 - 17_000, max: Number.MAX_SAFE_INTEGER }),
    );
    fc.assert(
      fc.property(fc.array(counters, { maxLength: 400 }), (sequence) => {
        const window = new ReplayWindow();
        const seen = new Set<number>();
        let highest = -1;
        for (const counter of sequence) {
          const fresh =
            !seen.has(counter) && counter > highest - REPLAY_WINDOW && counter < REJECT_AFTER_MESSAGES;
          expect(accept(window, counter)).toBe(fresh);
          if (fresh) {
            seen.add(counter);
            highest = Math.max(highest, counter);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('has exactly its width, wherever in a word it ends', () => {
    for (let offset = 0; offset < 70; offset++) {
      const window = new ReplayWindow();
      const highest = 100_000 + offset;
      window.commit(highest);
      expect(window.isFresh(highest - REPLAY_WINDOW + 1)).toBe(true);
      expect(window.isFresh(highest - REPLAY_WINDOW)).toBe(false);
      window.commit(highest - REPLAY_WINDOW + 1);
      expect(window.isFresh(highest - REPLAY_WINDOW + 1)).toBe(false);
      // Moving on by one step of any size up to two rings forgets nothing that is still in it, and keeps nothing else.
      window.commit(highest + offset * 257);
      expect(window.isFresh(highest)).toBe(false);
      for (let counter = highest + 1; counter < highest + offset * 257; counter += 13)
        expect(window.isFresh(counter)).toBe(counter > highest + offset * 257 - REPLAY_WINDOW);
    }
  });

  it('is not moved by looking', () => {
    const window = new ReplayWindow();
    window.commit(5);
    expect(window.isFresh(1_000_000)).toBe(true);
    expect(window.isFresh(4)).toBe(true);
    expect(accept(window, 4)).toBe(true);
  });
});
