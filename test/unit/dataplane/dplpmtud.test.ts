/** The machine of RFC 8899 on paths that are simulated: what passes, what is lost, and how long each way takes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DPLPMTUD, Dplpmtud } from '../../../src/dataplane/dplpmtud.ts';
import { seededRandom } from '../../../src/membership/random.ts';

const STEP_MS = 10;

interface PathOptions {
  /** Bytes of the largest packet that comes back; 0: nothing does. */
  limit: number;
  rttMs?: number;
  /** Whether one more probe is lost for some other reason. */
  loses?: () => boolean;
}

class SimulatedPath {
  readonly machine: Dplpmtud;
  readonly options: PathOptions;
  nowMs = 0;
  isActive = true;
  /** Of all probes, in order. */
  readonly sent: number[] = [];
  /** What packets went by, each time that it changed. */
  readonly mtus: number[] = [];
  #onTheWay: { readonly bytes: number; readonly sentMs: number }[] = [];

  constructor(options: PathOptions, max = 1464, base = 1280) {
    this.options = options;
    this.machine = new Dplpmtud(base, max);
    this.mtus.push(max);
  }

  send(sizes: readonly number[]): void {
    for (const bytes of sizes) {
      this.sent.push(bytes);
      const { limit, loses } = this.options;
      if (bytes <= limit && !loses?.()) this.#onTheWay.push({ bytes, sentMs: this.nowMs });
    }
  }

  run(durationMs: number): this {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs; this.nowMs += STEP_MS) {
      const { rttMs = 1 } = this.options;
      const due = this.#onTheWay.filter(({ sentMs }) => sentMs + rttMs <= this.nowMs);
      this.#onTheWay = this.#onTheWay.filter((probe) => !due.includes(probe));
      for (const { bytes, sentMs } of due) this.machine.answered(bytes, sentMs, this.nowMs);
      this.send(this.machine.poll(this.nowMs, this.isActive, DPLPMTUD.confirmationTimerMs));
      if (this.machine.mtu !== this.mtus.at(-1)) this.mtus.push(this.machine.mtu);
    }
    return this;
  }

  hint(bytes: number | undefined): this {
    this.send(this.machine.hint(bytes, this.nowMs));
    return this;
  }

  /** The time until packets go by `mtu`, or undefined after `limitMs`. */
  until(mtu: number, limitMs: number): number | undefined {
    const startMs = this.nowMs;
    while (this.machine.mtu !== mtu) {
      if (this.nowMs - startMs >= limitMs) return undefined;
      this.run(STEP_MS);
    }
    return this.nowMs - startMs;
  }
}

describe('a path that carries what its ends take', () => {
  it('is used at its full size from the start, and confirmed once a second while packets go to it', () => {
    const path = new SimulatedPath({ limit: 1464 });
    expect(path.machine).toMatchObject({ state: 'DISABLED', mtu: 1464 });
    path.run(5000);
    expect(path.machine).toMatchObject({ state: 'SEARCH_COMPLETE', mtu: 1464 });
    expect(path.sent).toEqual([1464, 1464, 1464, 1464, 1464]);
  });

  it('does not believe an ICMP that comes before the first probe is answered', () => {
    const path = new SimulatedPath({ limit: 1464, rttMs: 200 }).run(100).hint(516).run(5000);
    expect(path.mtus).toEqual([1464]);
  });

  it('is left alone while it is idle', () => {
    const path = new SimulatedPath({ limit: 1464 });
    path.isActive = false;
    path.run(60_000);
    expect(path.sent).toEqual([]);
  });

  it.each([516, 68, 1280, 1463])('does not believe an ICMP that says %i', (bytes) => {
    const path = new SimulatedPath({ limit: 1464 }).run(1500);
    path.hint(bytes).run(120_000);
    expect(path.mtus).toEqual([1464]);
  });

  it('is not lowered because its peer is away for a while', () => {
    const path = new SimulatedPath({ limit: 1464 }).run(1500);
    path.options.limit = 0;
    path.run(60_000);
    // Asked less often meanwhile.
    expect(path.sent.length).toBeLessThan(90);
    path.options.limit = 1464;
    path.run(20_000);
    expect(path.mtus).toEqual([1464]);
    expect(path.machine.state).toBe('SEARCH_COMPLETE');
  });

  it.each([2, 5, 10, 100])('is not lowered because the network loses one of %i packets', (one) => {
    const random = seededRandom(one);
    const path = new SimulatedPath({ limit: 1464, loses: () => one * random() < 1 }).run(1_800_000);
    expect(path.mtus).toEqual([1464]);
    expect(path.sent.length).toBeGreaterThan(1800);
  });

  it('is confirmed over round trips of a second', () => {
    const path = new SimulatedPath({ limit: 1464, rttMs: 1000 }).run(60_000);
    expect(path.mtus).toEqual([1464]);
    expect(path.machine.state).toBe('SEARCH_COMPLETE');
  });
});

describe('a black hole', () => {
  it.each([
    [1, 1463],
    [1, 1400],
    [1, 1314],
    [1, 1280],
    [300, 1314],
    [1000, 1399],
  ])('is found within 5 s over a round trip of %i ms, and the size of %i to the byte', (rttMs, limit) => {
    const path = new SimulatedPath({ limit: 1464, rttMs }).run(5000 + 10 * STEP_MS);
    path.options.limit = limit;
    const startMs = path.nowMs;
    while (path.machine.mtu > limit) path.run(STEP_MS);
    expect(path.nowMs - startMs).toBeLessThan(rttMs < 500 ? 4500 : 9000);
    expect(path.until(limit, 60_000)).toBeDefined();
    // Senders hear of one size, or where the search takes long of BASE_PLPMTU first.
    expect(path.mtus.length).toBeLessThanOrEqual(rttMs === 1 ? 2 : 4);
    expect(path.machine.state).toBe('SEARCH_COMPLETE');
  });

  it('is found on a path that had it from the start', () => {
    const path = new SimulatedPath({ limit: 1300 });
    expect(path.until(1300, 5000)).toBeDefined();
  });

  it('is found with jumbo frames', () => {
    const path = new SimulatedPath({ limit: 8000 }, 8964);
    expect(path.until(8000, 5000)).toBeDefined();
    expect(path.mtus).toEqual([8964, 8000]);
  });

  it('below what IPv6 needs is found, and shown as an error', () => {
    const path = new SimulatedPath({ limit: 1244 });
    expect(path.until(1244, 5000)).toBeDefined();
    expect(path.machine.state).toBe('ERROR');
  });

  it.each([100, 300, 575])('of all but %i bytes leaves what every host takes', (limit) => {
    const path = new SimulatedPath({ limit });
    expect(path.until(DPLPMTUD.minBytes, 5000)).toBeDefined();
    path.run(30_000);
    expect(path.machine).toMatchObject({ state: 'ERROR', mtu: DPLPMTUD.minBytes });
  });

  it('that ICMP tells of is found at once, and by the size that it names', () => {
    const path = new SimulatedPath({ limit: 1464 }).run(1500);
    path.options.limit = 1314;
    path.hint(1314);
    expect(path.until(1314, 600)).toBeDefined();
    path.run(5000);
    expect(path.mtus).toEqual([1464, 1314]);
  });

  it('is found where ICMP names too much or too little', () => {
    for (const said of [1400, 1290, 600, 68]) {
      const path = new SimulatedPath({ limit: 1464 }).run(1500);
      path.options.limit = 1314;
      path.hint(said);
      path.run(5000);
      expect(path.machine.mtu).toBe(1314);
    }
  });
});

describe('a stream of ICMP', () => {
  /** One that says another size each time, every 10 ms. */
  const stream = (path: SimulatedPath, durationMs: number) => {
    for (let ms = 0, bytes = 0; ms < durationMs; ms += STEP_MS, bytes += 97)
      path.hint(600 + (bytes % 700)).run(STEP_MS);
  };

  it('changes nothing where it lies, and brings few probes', () => {
    const path = new SimulatedPath({ limit: 1464 }).run(1500);
    const before = path.sent.length;
    stream(path, 60_000);
    expect(path.mtus).toEqual([1464]);
    // One a second of its own, of two packets, beside the confirmation that goes on.
    expect(path.sent.length - before).toBeLessThanOrEqual(3 * 61);
  });

  it('does not restart a trial, over a round trip that is longer than its pauses too', () => {
    const path = new SimulatedPath({ limit: 1464, rttMs: 300 }).run(1500);
    stream(path, 10_000);
    expect(path.mtus).toEqual([1464]);
    expect(path.machine.state).toBe('SEARCH_COMPLETE');
  });

  it.each([1, 300])('hides no black hole over a round trip of %i ms', (rttMs) => {
    const path = new SimulatedPath({ limit: 1464, rttMs }).run(1500);
    path.options.limit = 1314;
    stream(path, 5000);
    expect(path.machine.mtu).toBeLessThanOrEqual(1314);
    stream(path, 10_000);
    expect(path.machine.mtu).toBe(1314);
    // Senders are never told what was only said.
    expect(Math.min(...path.mtus)).toBeGreaterThanOrEqual(1280);
  });
});

describe('a path that carries more again', () => {
  const lowered = () => {
    const path = new SimulatedPath({ limit: 1314 });
    expect(path.until(1314, 5000)).toBeDefined();
    path.run(1000);
    return path;
  };

  it('is found after seconds at first, and after ten minutes at most', () => {
    const path = lowered();
    path.options.limit = 1464;
    expect(path.until(1464, DPLPMTUD.firstRaiseTimerMs + 1000)).toBeDefined();
    const later = lowered().run(7_200_000);
    later.options.limit = 1464;
    expect(later.until(1464, DPLPMTUD.raiseTimerMs + 1000)).toBeDefined();
  });

  it('costs little to look for', () => {
    const path = lowered().run(3_600_000);
    const raising = path.sent.filter((bytes) => bytes > 1314);
    expect(path.mtus).toEqual([1464, 1314]);
    // Two sizes, three times each, at 10, 20, 40 ... 600 s.
    expect(raising.length).toBeLessThan(6 * 14 + 40);
  });

  it('may carry something between', () => {
    const path = lowered();
    path.options.limit = 1400;
    expect(path.until(1400, DPLPMTUD.firstRaiseTimerMs + 6000)).toBeDefined();
  });

  it('is tried when the kernel forgets what ICMP said', () => {
    const path = new SimulatedPath({ limit: 1314 }).run(100).hint(1314).run(60_000);
    path.options.limit = 1464;
    path.hint(undefined);
    expect(path.until(1464, 100)).toBeDefined();
  });
});

describe('a path that answers no probes', () => {
  it('believes ICMP, but never below BASE_PLPMTU', () => {
    const path = new SimulatedPath({ limit: 0 }).run(10_000);
    expect(path.machine).toMatchObject({ state: 'DISABLED', mtu: 1464 });
    path.hint(1400);
    expect(path.machine.mtu).toBe(1400);
    path.hint(516);
    expect(path.machine.mtu).toBe(1280);
    path.hint(undefined);
    expect(path.machine.mtu).toBe(1464);
  });

  it('finds the truth once it answers', () => {
    const path = new SimulatedPath({ limit: 0 }).run(10_000).hint(516);
    path.options.limit = 1464;
    expect(path.until(1464, 10_000)).toBeDefined();
  });
});

describe('the ends of a path', () => {
  it('count at once when they take less, and when they take more', () => {
    const path = new SimulatedPath({ limit: 1464 }).run(1500);
    path.machine.limit(1364);
    expect(path.machine.mtu).toBe(1364);
    path.run(2000);
    path.machine.limit(8964);
    expect(path.machine.mtu).toBe(8964);
    expect(path.until(1464, 5000)).toBeDefined();
  });
});

it('finds any size over any path that answers, and is never below it for long', () => {
  fc.assert(
    fc.property(
      fc.record({
        max: fc.integer({ min: 1280, max: 9000 }),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
        rttMs: fc.integer({ min: 0, max: 400 }),
        lossPercent: fc.integer({ min: 0, max: 10 }),
        seed: fc.integer({ min: 1, max: 1_000_000 }),
        hints: fc.array(fc.option(fc.integer({ min: 0, max: 9100 }), { nil: undefined }), { maxLength: 5 }),
      }),
      ({ max, share, rttMs, lossPercent, seed, hints }) => {
        let state = seed;
        const random = () => {
          state = (state * 48_271) % 2_147_483_647;
          return state / 2_147_483_647;
        };
        const limit = DPLPMTUD.minBytes + Math.floor(share * (max - DPLPMTUD.minBytes));
        const path = new SimulatedPath({ limit, rttMs, loses: () => 100 * random() < lossPercent }, max);
        for (const hint of hints) path.hint(hint).run(700);
        path.run(60_000);
        path.options.loses = () => false;
        path.run(30_000);
        expect(path.machine.mtu).toBe(limit);
        expect(Math.min(...path.mtus)).toBeGreaterThanOrEqual(DPLPMTUD.minBytes);
      },
    ),
    { numRuns: 200 },
  );
});
