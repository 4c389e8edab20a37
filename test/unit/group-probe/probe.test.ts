/** What a probe sends, what is read of it, and what is concluded from what came. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeDatagram, encodeDatagram } from '../../../src/group-probe/datagram.ts';
import {
  decodeAnnouncement,
  decodeReady,
  decodeResult,
  encodeAnnouncement,
  encodeResult,
} from '../../../src/group-probe/messages.ts';
import { MAX_SLOTS, planOf } from '../../../src/group-probe/plan.ts';
import { verdictOf } from '../../../src/group-probe/verdict.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import { seededRandom } from '../../../src/membership/random.ts';

const DEPTHS = ['short', 'full'] as const;
const all = (count: number) => Array.from({ length: count }, (_, i) => i);

/** What the packet path makes of consecutive datagrams (datapath/send-queue.ts). */
function joined(sizes: readonly number[]): number[][] {
  const groups: number[][] = [];
  for (let i = 0; i < sizes.length; ) {
    const group = [i];
    for (let next = i + 1; next < sizes.length && sizes[next]! <= sizes[i]!; next++) {
      group.push(next);
      if (sizes[next]! < sizes[i]!) break;
    }
    groups.push(group);
    i += group.length;
  }
  return groups;
}

describe.each(DEPTHS)('a %s round', (depth) => {
  it.each([548, 1232, 1436, 8936])(
    'of up to %i bytes is joined to its groups and to nothing else',
    (largest) => {
      const { sizes, groups, sends } = planOf(depth, largest);
      expect(joined(sizes)).toEqual(sends);
      expect(sizes.length).toBeLessThanOrEqual(MAX_SLOTS);
      expect(Math.max(...sizes)).toBe(largest);
      // Loss in groups is told from that of the path by a datagram of nearly their size.
      for (const { slots, single } of groups) expect(sizes[slots[0]!]! - sizes[single]!).toBe(1);
      const isEqual = groups.map(({ slots }) => sizes[slots[0]!] === sizes[slots.at(-1)!]);
      expect(new Set(isEqual)).toEqual(new Set([true, false]));
    },
  );
});

describe('a verdict', () => {
  const plan = planOf('full', 1436);
  const every = new Set(all(plan.sizes.length));
  const without = (...lost: number[]) => new Set([...every].filter((slot) => !lost.includes(slot)));
  const last = plan.groups[3]!.slots.at(-1)!;

  it('is whole where all came', () => {
    expect(verdictOf(plan, [every], 1)).toMatchObject({ finding: 'whole', lost: 0 });
  });

  it('is broken where one datagram of a group is missing each time', () => {
    const rounds = Array.from({ length: 5 }, () => without(last));
    expect(verdictOf(plan, rounds, 4)).toMatchObject({ finding: 'broken', lost: 5 });
  });

  it('is whole where now these, now those are missing', () => {
    const rounds = all(5).map((round) => without(plan.groups[3]!.slots[round]!));
    expect(verdictOf(plan, rounds, 4).finding).toBe('whole');
  });

  it('is unclear where the single datagram is missing too', () => {
    const { slots, single } = plan.groups[3]!;
    expect(verdictOf(plan, [without(single, ...slots)], 1).finding).toBe('unclear');
    expect(verdictOf(plan, [new Set()], 1).finding).toBe('unclear');
  });

  it('is hardly ever broken by random loss', () => {
    const random = seededRandom(7);
    const share = (loss: number, rounds: number, enough: number) =>
      all(3000).filter(() => {
        const received = all(rounds).map(() => new Set([...every].filter(() => random() >= loss)));
        return verdictOf(plan, received, enough).finding === 'broken';
      }).length / 3000;
    expect(share(0.01, 5, 4)).toBe(0);
    expect(share(0.05, 5, 4)).toBeLessThan(0.002);
  });
});

describe('a datagram', () => {
  const noise = new Uint8Array(1500).fill(9);
  const mark = { probe: '0102030405060708', round: 3, slot: 41 };

  it('is read as it was sent', () => {
    for (const bytes of [40, 64, 1436]) {
      const datagram = encodeDatagram(mark, noise, bytes);
      expect(datagram).toHaveLength(bytes);
      expect(decodeDatagram(datagram)).toEqual(mark);
    }
  });

  it('is not read if a bit of it is another, or it has another length', () => {
    const datagram = encodeDatagram(mark, noise, 200);
    fc.assert(
      fc.property(fc.nat(199), fc.nat(7), (at, bit) => {
        const damaged = Uint8Array.from(datagram);
        damaged[at]! ^= 1 << bit;
        expect(decodeDatagram(damaged)).toBeUndefined();
      }),
    );
    for (const bytes of [0, 5, 19, 199]) expect(decodeDatagram(datagram.subarray(0, bytes))).toBeUndefined();
  });
});

describe('messages', () => {
  it('are read as they were written', () => {
    const announcement = {
      id: '0102030405060708',
      to: parseAddress('10.42.3.1'),
      from: parseAddress('10.42.4.1'),
      rounds: 5,
      datagrams: 40,
    };
    expect(decodeAnnouncement(encodeAnnouncement(announcement))).toEqual({ ok: true, value: announcement });
    const result = { received: [new Set([0, 7, 8, 63]), new Set<number>()], damaged: 2 };
    expect(decodeResult(encodeResult(result))).toEqual({ ok: true, value: result });
  });

  it('of others never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const decode of [decodeAnnouncement, decodeReady, decodeResult]) decode(bytes);
      }),
    );
  });

  it('beyond their bounds are refused', () => {
    const announcement = {
      id: '0102030405060708',
      to: parseAddress('10.42.3.1'),
      from: parseAddress('10.42.4.1'),
    };
    for (const [rounds, datagrams] of [
      [0, 40],
      [9, 40],
      [1, 65],
    ] as const) {
      expect(decodeAnnouncement(encodeAnnouncement({ ...announcement, rounds, datagrams })).ok).toBe(false);
    }
  });
});
