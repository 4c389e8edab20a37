import { describe, expect, it } from 'vitest';
import { receiverOf } from '../../../src/link/seal.ts';
import { type RenewalCause, Sessions } from '../../../src/link/sessions.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

function setUp() {
  const clock = new VirtualClock();
  const world = { skewMs: 0, generation: 'a' };
  const sessions = new Sessions({
    clock: { ...bound(clock), wallTime: () => clock.wallTime() + world.skewMs },
    generation: () => world.generation,
  });
  const causes: RenewalCause[] = [];
  sessions.onRenewed = (cause) => causes.push(cause);
  return { clock, world, sessions, causes };
}

function bound(clock: VirtualClock) {
  return { now: () => clock.now(), after: clock.after.bind(clock) };
}

describe('sessions', () => {
  it('number each series for itself, streams in blocks', () => {
    const { sessions } = setUp();
    expect(sessions.next('datagram').number).toBe(1);
    expect(sessions.next('datagram').number).toBe(2);
    expect(sessions.next('request').number).toBe(0x1_0000);
    expect(sessions.next('answer').number).toBe(0x1_0000);
  });

  it.each([1, -1])(
    'are renewed before the next number when the clock jumps, and not when it drifts',
    (sign) => {
      const { clock, world, sessions, causes } = setUp();
      const before = sessions.next('datagram').session;
      for (let i = 0; i < 100; i++) {
        clock.advance(10_000);
        world.skewMs += sign * 400;
        sessions.next('datagram');
      }
      expect(causes).toEqual([]);
      world.skewMs += sign * 5001;
      const { session, number } = sessions.next('datagram');
      expect(causes).toEqual(['clock']);
      expect([number, before.isVoid, session.isVoid]).toEqual([1, true, false]);
      expect(session.id).not.toBe(before.id);
      expect(sessions.isOwn(before.id)).toBe(false);
      expect(sessions.isReceiver(receiverOf(before.id))).toBe(false);
    },
  );

  it('are renewed when the machine is another, and every session before is void', () => {
    const { world, sessions, causes } = setUp();
    const first = sessions.next('call').session;
    sessions.renew('age');
    const second = sessions.next('call').session;
    world.generation = 'b';
    sessions.look();
    expect(causes).toEqual(['age', 'machine']);
    expect([first.isVoid, second.isVoid]).toEqual([true, true]);
  });

  it('go on to be heard of for a minute after a renewal in time, so that exchanges under way can end', () => {
    const { clock, sessions } = setUp();
    const before = sessions.next('request').session;
    sessions.renew('age');
    expect(before.isVoid).toBe(false);
    expect(sessions.isOwn(before.id)).toBe(true);
    expect(sessions.isReceiver(receiverOf(before.id))).toBe(true);
    clock.advance(60_000);
    expect(sessions.isOwn(before.id)).toBe(false);
    expect(sessions.isReceiver(receiverOf(before.id))).toBe(false);
    expect(sessions.isOwn(sessions.id)).toBe(true);
  });

  it.each([
    ['datagram', 2 ** 47],
    ['answer', 2 ** 31],
  ] as const)('end before their numbers do: %s', (series, end) => {
    const { sessions, causes } = setUp();
    sessions.state.current.used[series] = end - 2;
    expect(sessions.next(series).number).toBeLessThan(2 ** 47);
    expect(causes).toEqual([]);
    expect(sessions.next(series).number).toBeLessThanOrEqual(2 ** 16);
    expect(causes).toEqual(['numbers']);
  });
});
