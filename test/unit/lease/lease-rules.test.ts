import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPrefix, parsePrefix } from '../../../src/ip/prefix.ts';
import { type Claimant, compareClaims } from '../../../src/lease/conflict-rule.ts';
import { LeaseSpace } from '../../../src/lease/lease-space.ts';
import { preferredSubnet } from '../../../src/lease/preference.ts';

const range = (text: string, nodePrefixLength: number) => ({ range: parsePrefix(text), nodePrefixLength });
const prefixes = [parsePrefix('10.42.0.0/24')];

describe('conflict rule', () => {
  const claim = (
    id: string,
    state: 'active' | 'claiming',
    sinceSeconds: number,
    inUse: boolean,
    reclaims = 0,
    isAssigned = false,
  ): Claimant => ({
    id,
    lease: { state, prefixes, sinceSeconds, inUse, reclaims, ...(isAssigned && { isAssigned }) },
  });

  it.each([
    [
      'what was assigned wins over what was leased',
      claim('b', 'claiming', 9, false, 0, true),
      claim('a', 'active', 1, true, 3),
    ],
    [
      'of two that were assigned pods decide',
      claim('b', 'active', 9, true, 0, true),
      claim('a', 'active', 1, false, 0, true),
    ],
    ['pods win over none, whoever is older', claim('b', 'active', 9, true), claim('a', 'active', 1, false)],
    [
      'active wins over claiming, whoever is older',
      claim('b', 'active', 9, false),
      claim('a', 'claiming', 1, false),
    ],
    ['pods win over reclaims', claim('b', 'active', 9, true), claim('a', 'active', 1, false, 3)],
    ['active wins over reclaims', claim('b', 'active', 9, false), claim('a', 'claiming', 1, false, 3)],
    ['more reclaims win over age', claim('b', 'active', 9, true, 2), claim('a', 'active', 1, true, 1)],
    ['the older of two active ones wins', claim('b', 'active', 1, false), claim('a', 'active', 9, false)],
    ['the older of two with pods wins', claim('b', 'active', 1, true), claim('a', 'active', 9, true)],
    ['the older of two claims wins', claim('b', 'claiming', 1, false), claim('a', 'claiming', 9, false)],
    ['then the smaller id', claim('a', 'claiming', 1, false), claim('b', 'claiming', 1, false)],
  ])('%s', (_what, winner, loser) => {
    expect(compareClaims(winner, loser)).toBeLessThan(0);
    expect(compareClaims(loser, winner)).toBeGreaterThan(0);
  });

  it('is a total order: every node finds the same winner, whatever the order it looks in', () => {
    const claims = fc.uniqueArray(
      fc.record({
        id: fc.string({ minLength: 1, maxLength: 2 }),
        lease: fc.record({
          state: fc.constantFrom('active' as const, 'claiming' as const),
          prefixes: fc.constant(prefixes),
          sinceSeconds: fc.nat(3),
          inUse: fc.boolean(),
          reclaims: fc.nat(2),
          isAssigned: fc.constantFrom(true as const, undefined),
        }),
      }),
      { selector: (each) => each.id, minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(claims, fc.integer(), (all, turn) => {
        const rotated = all.map((_, i) => all[(i + Math.abs(turn)) % all.length]!);
        expect(rotated.sort(compareClaims)).toEqual([...all].sort(compareClaims));
      }),
    );
  });
});

describe('lease space', () => {
  it('numbers the subnets of both families together', () => {
    const space = new LeaseSpace([range('10.42.0.0/16', 24), range('fd42::/48', 64)]);
    expect(space.count).toBe(256);
    expect(space.prefixes(255).map(formatPrefix)).toEqual(['10.42.255.0/24', 'fd42:0:0:ff::/64']);
    expect(space.indexOf(space.prefixes(7))).toBe(7);
    expect(space.indexOf([...space.prefixes(7)].reverse())).toBe(7);
  });

  it('knows what is not one of its subnets, and what it touches all the same', () => {
    const space = new LeaseSpace([range('10.42.0.0/16', 24), range('fd42::/48', 64)]);
    const [v4] = space.prefixes(7);
    const [, v6] = space.prefixes(8);
    expect(space.indexOf([v4!])).toBeUndefined();
    expect(space.indexOf([v4!, v6!])).toBeUndefined();
    expect([...space.touched([v4!, v6!])]).toEqual([7, 8]);
    // An orchestrator may hand it out all the same, and the 256th of a range whose others are fewer.
    const late = parsePrefix('fd42:0:0:100::/64');
    expect(
      [[v6!, v4!], [v4!, late], [v4!], [v4!, v4!], [v4!, v6!, late]].map((one) => space.isSubnet(one)),
    ).toEqual([true, true, false, false, false]);
    expect([...space.touched([late])]).toEqual([256]);
    expect(space.indexOf([late])).toBeUndefined();
    for (const text of ['10.42.0.0/16', '0.0.0.0/0', '10.43.0.0/24', '10.42.7.0/25', 'fd43::/64']) {
      expect([...space.touched([parsePrefix(text)])]).toEqual([]);
    }
  });

  it('holds huge and tiny ranges', () => {
    expect(new LeaseSpace([range('fd00::/8', 64)]).count).toBe(2 ** 32);
    expect(new LeaseSpace([range('10.0.0.0/24', 24)]).count).toBe(1);
    expect(new LeaseSpace([]).count).toBe(0);
  });
});

describe('preferred subnet', () => {
  const ids = Array.from({ length: 200 }, (_, i) =>
    (Math.imul(i + 1, 0x9e3779b1) >>> 0).toString(16).padStart(8, '0').repeat(4),
  );

  it('differs from node to node, and is the same each time', () => {
    const wishes = ids.slice(0, 100).map((id) => preferredSubnet(id, 4096, () => false));
    expect(new Set(wishes).size).toBeGreaterThan(90);
    expect(ids.slice(0, 100).map((id) => preferredSubnet(id, 4096, () => false))).toEqual(wishes);
  });

  it.each([1, 2, 3, 32, 4096, 4097, 65_536])('hands out all of %i subnets, then none', (count) => {
    const taken = new Set<number>();
    const fill = Math.min(count, 500);
    // All but the last `fill` are taken already.
    const isTaken = (index: number) => taken.has(index) || index < count - fill;
    for (let i = 0; i < fill; i++) {
      const index = preferredSubnet(ids[i % ids.length]!, count, isTaken);
      expect(index).toBeDefined();
      expect(isTaken(index!)).toBe(false);
      taken.add(index!);
    }
    expect(preferredSubnet(ids[0]!, count, isTaken)).toBeUndefined();
  });

  it('finds one in 2^32 without walking through them', () => {
    let looks = 0;
    preferredSubnet(ids[0]!, 2 ** 32, () => ++looks < 60);
    expect(looks).toBe(60);
  });
});
