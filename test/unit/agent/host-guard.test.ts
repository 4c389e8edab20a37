import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HostGuard } from '../../../src/agent/host-guard.ts';

describe('the host guard', () => {
  let guard: HostGuard;
  let isChanging: boolean;
  const repair = vi.fn(async () => []);

  beforeEach(() => {
    vi.useFakeTimers();
    repair.mockClear();
    isChanging = false;
    guard = new HostGuard({
      log: pino({ level: 'silent' }),
      repair,
      isChanging: () => isChanging,
      hasUnderlay: async () => true,
      findUnderlay: async () => {
        throw new Error('not asked for');
      },
      moveTo: async () => {},
    });
  });
  afterEach(async () => {
    await guard.stop();
    vi.useRealTimers();
  });

  it('answers a burst of events with one look', async () => {
    for (let event = 0; event < 10; event++) guard.check();
    await vi.advanceTimersByTimeAsync(1000);
    expect(repair).toHaveBeenCalledTimes(1);
  });

  it('looks when the agent is done with the host, and not before', async () => {
    isChanging = true;
    guard.check();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(repair).not.toHaveBeenCalled();
    isChanging = false;
    await vi.advanceTimersByTimeAsync(100);
    expect(repair).toHaveBeenCalledTimes(1);
  });

  it('looks again at what changed during a look', async () => {
    let finish = (): void => {};
    repair.mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          finish = () => resolve([]);
        }),
    );
    guard.check();
    await vi.advanceTimersByTimeAsync(100);
    guard.check();
    finish();
    await vi.advanceTimersByTimeAsync(1000);
    expect(repair).toHaveBeenCalledTimes(2);
  });
});
