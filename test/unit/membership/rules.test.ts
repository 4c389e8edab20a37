import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { TimerGroup } from '../../../src/clock.ts';
import { loadOrCreateIdentity } from '../../../src/identity.ts';
import { parsePrefix } from '../../../src/ip/prefix.ts';
import { fileLeaseStore } from '../../../src/lease/lease-store.ts';
import { Awareness } from '../../../src/membership/awareness.ts';
import { BroadcastQueue } from '../../../src/membership/broadcast-queue.ts';
import { deathIsNews, judgeSuspect, recordIsNews } from '../../../src/membership/merge-rule.ts';
import { sample, seededRandom } from '../../../src/membership/random.ts';
import { Suspicion, suspicionBounds, suspicionTimeoutMs } from '../../../src/membership/suspicion.ts';
import { pushPullDelayMs, retransmitLimit, timingPresets } from '../../../src/membership/timing.ts';
import type { MemberStatus } from '../../../src/membership/types.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

const statuses: readonly MemberStatus[] = ['alive', 'suspect', 'dead', 'left'];

describe('merge rule', () => {
  it('takes records of a higher incarnation only', () => {
    expect(recordIsNews(undefined, 1)).toBe(true);
    for (const status of statuses) {
      const known = { incarnation: 5, status };
      expect([4, 5, 6].map((incarnation) => recordIsNews(known, incarnation))).toEqual([false, false, true]);
    }
  });

  it.each([
    ['alive', 'suspect', true],
    ['suspect', 'confirm', true],
    ['dead', 'ignore', false],
    ['left', 'ignore', false],
  ] as const)('judges accusations of a member that is %s', (status, verdict, canDie) => {
    const known = { incarnation: 5, status };
    expect(judgeSuspect(known, 5)).toBe(verdict);
    expect(deathIsNews(known, 5)).toBe(canDie);
    for (const incarnation of [4, 6]) {
      expect(judgeSuspect(known, incarnation)).toBe('ignore');
      expect(deathIsNews(known, incarnation)).toBe(false);
    }
    expect(judgeSuspect(undefined, 5)).toBe('ignore');
    expect(deathIsNews(undefined, 5)).toBe(false);
  });
});

describe('formulas', () => {
  it.each([
    [1, 0, 2400, 14_400],
    [3, 0, 2400, 14_400],
    [5, 2, 2400, 14_400],
    [100, 2, 4800, 28_800],
    [1000, 2, 7200, 43_200],
  ])('suspicion bounds with %i nodes', (nodes, wanted, minMs, maxMs) => {
    expect(suspicionBounds(timingPresets.lan, nodes)).toEqual({ wanted, minMs, maxMs, stallMs: 1000 });
  });

  it.each([
    [0, 30_000],
    [1, 18_000],
    [2, 10_980],
    [3, 6_000],
  ])('suspicion timeout after %i of 3 confirmations', (confirmations, expected) => {
    const bounds = { wanted: 3, minMs: 6_000, maxMs: 30_000, stallMs: 1000 };
    expect(Math.round(suspicionTimeoutMs(bounds, confirmations))).toBe(expected);
    expect(suspicionTimeoutMs({ ...bounds, wanted: 0 }, confirmations)).toBe(6_000);
  });

  it('transmit limit and push-pull interval grow with the logarithm of the cluster', () => {
    expect([1, 9, 10, 99, 100, 10_000].map((n) => retransmitLimit(timingPresets.lan, n))).toEqual([
      4, 4, 8, 8, 12, 20,
    ]);
    expect([1, 32, 33, 65, 1024].map((n) => pushPullDelayMs(timingPresets.lan, n) / 30_000)).toEqual([
      1, 1, 2, 3, 6,
    ]);
  });

  it('awareness stays within its bounds', () => {
    const awareness = new Awareness(8);
    awareness.add(-3);
    expect(awareness.scale(500)).toBe(500);
    awareness.add(100);
    expect(awareness.score).toBe(7);
    expect(awareness.scale(500)).toBe(4000);
  });
});

describe('suspicion timer', () => {
  const bounds = { wanted: 2, minMs: 1000, maxMs: 9000, stallMs: 1000 };
  const start = () => {
    const clock = new VirtualClock();
    const state = { firedAtMs: -1 };
    const suspicion = new Suspicion('a', bounds, clock, new TimerGroup(clock), () => {
      state.firedAtMs = clock.now();
    });
    return { clock, suspicion, state };
  };

  it('lasts the maximum alone, and the minimum when enough others confirm', () => {
    const alone = start();
    alone.clock.advance(20_000);
    expect(alone.state.firedAtMs).toBe(9000);
    const confirmed = start();
    confirmed.clock.advance(500);
    expect(confirmed.suspicion.confirm('a')).toBe(false);
    expect(confirmed.suspicion.confirm('b')).toBe(true);
    expect(confirmed.suspicion.confirm('b')).toBe(false);
    expect(confirmed.suspicion.confirm('c')).toBe(true);
    expect(confirmed.suspicion.confirm('d')).toBe(false);
    confirmed.clock.advance(20_000);
    expect(confirmed.state.firedAtMs).toBe(1000);
  });

  it('ends at once when the last confirmation comes late, and never when cancelled', () => {
    const late = start();
    late.clock.advance(3000);
    late.suspicion.confirm('b');
    late.suspicion.confirm('c');
    late.clock.advance(1);
    expect(late.state.firedAtMs).toBe(3000);
    const cancelled = start();
    cancelled.suspicion.cancel();
    cancelled.clock.advance(20_000);
    expect(cancelled.state.firedAtMs).toBe(-1);
  });
});

describe('broadcast queue', () => {
  const message = (length: number, fill = 0) => new Uint8Array(length).fill(fill);

  it('sends the freshest first, each as often as allowed, and the newest about a member only', () => {
    const queue = new BroadcastQueue();
    queue.put('a', message(10, 1));
    queue.put('b', message(10, 2));
    queue.put('a', message(10, 3));
    expect(queue.size).toBe(2);
    expect(queue.take(12, 2, 3)).toEqual([message(10, 3)]);
    expect(queue.take(12, 2, 3)).toEqual([message(10, 2)]);
    queue.put('c', message(10, 4));
    expect(queue.take(24, 2, 3)[0]).toEqual(message(10, 4));
    let rest = 0;
    while (queue.size > 0) rest += queue.take(12, 2, 3).length;
    expect(rest).toBe(9 - 4);
  });

  it('fits the limit, passing over what is too long', () => {
    const queue = new BroadcastQueue();
    queue.put('small', message(10));
    queue.put('large', message(100));
    expect(queue.take(50, 2, 4)).toEqual([message(10)]);
    expect(queue.take(11, 2, 4)).toEqual([]);
  });

  it('does not tell a member what it knows best', () => {
    const queue = new BroadcastQueue();
    queue.put('a', message(10), 'a');
    expect(queue.take(100, 2, 1, 'a')).toEqual([]);
    expect(queue.take(100, 2, 1, 'b')).toHaveLength(1);
    expect(queue.size).toBe(0);
  });
});

describe('sample', () => {
  it('always finds the only helper of three', () => {
    const random = seededRandom(1);
    for (let i = 0; i < 200; i++) expect(sample(random, ['a', 'b', 'c'], 3, (x) => x === 'b')).toEqual(['b']);
    const many = Array.from({ length: 1000 }, (_, i) => i);
    for (let i = 0; i < 50; i++) {
      expect(sample(random, many, 3, (x) => x === 17 || x === 900).sort()).toEqual([17, 900]);
      expect(new Set(sample(random, many, 3, () => true)).size).toBe(3);
    }
  });
});

describe('identity', () => {
  it('is made once and kept; a damaged file is an error, and stays as it is', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-identity-test-'));
    try {
      const first = loadOrCreateIdentity(folder);
      expect(first.id).toMatch(/^[0-9a-f]{32}$/);
      expect(loadOrCreateIdentity(folder).id).toBe(first.id);
      const path = join(folder, 'identity.json');
      const text = readFileSync(path, 'utf8');
      writeFileSync(path, text.slice(0, -20));
      expect(() => loadOrCreateIdentity(folder)).toThrow(/damaged/);
      expect(readFileSync(path, 'utf8')).toBe(text.slice(0, -20));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is not made anew beside what a node has written under another', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-identity-test-'));
    try {
      const { id } = loadOrCreateIdentity(folder);
      fileLeaseStore(folder, id).save({
        state: 'active',
        prefixes: [parsePrefix('10.42.7.0/24')],
        reclaims: 0,
      });
      rmSync(join(folder, 'identity.json'));
      expect(() => loadOrCreateIdentity(folder)).toThrow(
        /identity\.json is missing, and lease\.json of the node/,
      );
      expect(readdirSync(folder)).toEqual(['lease.json']);
      rmSync(join(folder, 'lease.json'));
      expect(loadOrCreateIdentity(folder).id).not.toBe(id);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
