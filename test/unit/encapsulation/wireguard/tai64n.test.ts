/** Timestamps only ever grow, whatever the clock does between and during runs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CeilingStore, Timestamps } from '../../../../src/encapsulation/wireguard/tai64n.ts';

const DAY_MS = 86_400_000;
const START_MS = 1_767_225_600_000;

class MemoryStore implements CeilingStore {
  ceilingUs: number | undefined;
  writes = 0;

  load(): number | undefined {
    return this.ceilingUs;
  }

  save(ceilingUs: number): void {
    this.ceilingUs = ceilingUs;
    this.writes++;
  }
}

describe('timestamps', () => {
  it('are TAI64N', () => {
    const stamps = new Timestamps(() => 1_000.9, new MemoryStore());
    expect(stamps.next().toString('hex')).toBe('400000000000000b00000000');
    expect(stamps.next().toString('hex')).toBe('400000000000000b000003e8');
  });

  it('follow the clock', () => {
    let now = START_MS;
    const stamps = new Timestamps(() => now, new MemoryStore());
    const first = stamps.next();
    now += 1_500;
    const second = stamps.next();
    expect(second.readBigUInt64BE(0) - first.readBigUInt64BE(0)).toBe(1n);
    expect(second.readUInt32BE(8)).toBe(500_000_000);
  });

  it.each([-8, 8])('grow over a restart with the clock %i days off, and back', (days) => {
    const store = new MemoryStore();
    const given: Buffer[] = [];
    for (const now of [START_MS, START_MS + days * DAY_MS, START_MS, START_MS + 1]) {
      const stamps = new Timestamps(() => now, store);
      for (let count = 0; count < 3; count++) given.push(stamps.next());
    }
    expectGrowing(given);
  });

  it('never reach what is on disk, whatever the clock does and wherever a run ends', () => {
    const steps = fc.array(
      fc.record({ days: fc.double({ min: -8, max: 8, noNaN: true }), restart: fc.boolean() }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(steps, (moves) => {
        let now = START_MS;
        const store = new MemoryStore();
        let stamps = new Timestamps(() => now, store);
        const given: Buffer[] = [];
        for (const { days, restart } of moves) {
          now = START_MS + days * DAY_MS;
          if (restart) stamps = new Timestamps(() => now, store);
          given.push(stamps.next());
        }
        expectGrowing(given);
      }),
    );
  });

  it('are written ahead, not each', () => {
    let now = START_MS;
    const store = new MemoryStore();
    const stamps = new Timestamps(() => now, store);
    for (let second = 0; second < 3_600; second++) {
      now += 1_000;
      stamps.next();
    }
    expect(store.writes).toBeLessThanOrEqual(7);
  });

  it('are not given while they cannot be written', () => {
    const store: CeilingStore = {
      load: () => undefined,
      save: () => {
        throw new Error('disk full');
      },
    };
    const stamps = new Timestamps(() => START_MS, store);
    expect(() => stamps.next()).toThrow('disk full');
    expect(() => stamps.next()).toThrow('disk full');
  });
});

function expectGrowing(stamps: readonly Buffer[]): void {
  for (let index = 1; index < stamps.length; index++)
    expect(Buffer.compare(stamps[index - 1]!, stamps[index]!)).toBe(-1);
}
