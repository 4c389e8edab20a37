import { describe, expect, it } from 'vitest';
import { TimerGroup } from '../../../src/clock.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { isOlderTwin, TwinQuarantine } from '../../../src/membership/twins.ts';
import type { NodeRecord } from '../../../src/membership/types.ts';
import { endpointOf } from '../../../src/simulate/cluster.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { golden } from './golden.ts';

const at = (number: number, session: string, sinceSeconds?: number): NodeRecord => ({
  ...golden.record,
  gossip: endpointOf(number),
  session,
  lease:
    sinceSeconds === undefined
      ? undefined
      : { state: 'active', prefixes: [], sinceSeconds, inUse: false, reclaims: 0 },
});

function setUp() {
  const clock = new VirtualClock();
  const quarantine = new TwinQuarantine({ clock, timers: new TimerGroup(clock), logger: silentLogger });
  let known = at(1, 'a', 100);
  const hear = (next: NodeRecord, isGone = false) => {
    const isAdmitted = quarantine.admits(known, next, isGone);
    if (isAdmitted) known = next;
    return isAdmitted;
  };
  return { clock, quarantine, hear, home: () => known.gossip };
}

describe('twins', () => {
  it('the one with the older lease is believed, else one that all choose alike', () => {
    expect(isOlderTwin(at(1, 'b', 1), at(2, 'a', 2))).toBe(true);
    expect(isOlderTwin(at(1, 'b', 1), at(2, 'a'))).toBe(true);
    expect(isOlderTwin(at(1, 'b'), at(2, 'a'))).toBe(false);
    expect(isOlderTwin(at(1, 'a', 1), at(2, 'b', 1))).toBe(true);
  });

  it.each([
    [100, 1],
    [300, 2],
  ])('are quarantined after some returns, at the older one (since %i)', (since, home) => {
    const { hear, quarantine, home: now } = setUp();
    hear(at(1, 'a', since));
    for (let i = 0; i < 20; i++) {
      hear(at(2, 'b', 200));
      hear(at(1, 'a', since));
    }
    expect(now()).toEqual(endpointOf(home));
    expect(quarantine.problems()).toHaveLength(1);
    expect(quarantine.problems()[0]).toContain(`at 10.0.0.${home + 1}:7946, which is believed`);
  });

  it('are not what moves, renews its session, or comes back seldom', () => {
    const { clock, hear, quarantine } = setUp();
    // A host whose address changes to and fro, within one session, and over new ones.
    for (let i = 0; i < 50; i++) expect(hear(at(i % 2, 'a', 100))).toBe(true);
    for (let i = 0; i < 50; i++) expect(hear(at(i % 3, `s${i}`, 100))).toBe(true);
    for (let i = 0; i < 50; i++) {
      expect(hear(at(i % 2, `b${i % 2}`, 100))).toBe(true);
      clock.advance(70_000);
    }
    expect(quarantine.problems()).toEqual([]);
  });

  it('quarantine ends after a minute without the other, or when the believed one is gone', () => {
    for (const how of ['quiet', 'gone']) {
      const { clock, hear, quarantine, home } = setUp();
      for (let i = 0; i < 10; i++) {
        hear(at(2, 'b', 200));
        hear(at(1, 'a', 100));
      }
      clock.advance(50_000);
      expect(hear(at(2, 'b', 200))).toBe(false);
      clock.advance(50_000);
      expect(quarantine.problems()).toHaveLength(1);
      // What the believed one says under another session still counts.
      expect(hear(at(1, 'c', 100))).toBe(true);
      if (how === 'quiet') clock.advance(20_000);
      else expect(hear(at(2, 'b', 200), true)).toBe(true);
      expect(quarantine.problems()).toEqual([]);
      expect(home()).toEqual(endpointOf(how === 'quiet' ? 1 : 2));
    }
  });
});
