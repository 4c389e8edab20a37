import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Reconciler } from '../../../src/agent/reconciler.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';

let clock: VirtualClock;
const work = vi.fn<() => Promise<void>>();

function reconciler(onFirstFailure?: () => boolean): Reconciler {
  return new Reconciler({
    failing: 'cannot change the routes',
    work,
    clock,
    log: silentLogger,
    ...(onFirstFailure && { onFirstFailure }),
  });
}

beforeEach(() => {
  clock = new VirtualClock();
  work.mockReset().mockResolvedValue(undefined);
});

describe('a reconciler', () => {
  it('does what was asked for meanwhile once more, however often it was asked', async () => {
    let finish = () => {};
    work.mockImplementationOnce(() => new Promise((resolve) => (finish = resolve)));
    const routes = reconciler();
    for (let i = 0; i < 5; i++) routes.request();
    expect(work).toHaveBeenCalledTimes(1);
    finish();
    await clock.run(0);
    expect(work).toHaveBeenCalledTimes(2);
    await clock.run(60_000);
    expect(work).toHaveBeenCalledTimes(2);
  });

  it('says when nothing is left to do, or is to be tried again later', async () => {
    let finish = () => {};
    work.mockImplementationOnce(() => new Promise((resolve) => (finish = resolve)));
    work.mockRejectedValueOnce(new Error('ip says no'));
    const routes = reconciler();
    await routes.idle();
    routes.request();
    routes.request();
    let isIdle = false;
    const idle = routes.idle().then(() => (isIdle = true));
    await clock.run(0);
    expect([isIdle, work.mock.calls.length]).toEqual([false, 1]);
    finish();
    await idle;
    expect([routes.problem, work.mock.calls.length]).toEqual(['cannot change the routes: ip says no', 2]);
    await routes.stop();
  });

  it('tries again with growing pauses, and shows the problem meanwhile', async () => {
    work.mockRejectedValue(new Error('ip says no'));
    const routes = reconciler();
    routes.request();
    await clock.run(0);
    expect(routes.problem).toBe('cannot change the routes: ip says no');
    await clock.run(199);
    expect(work).toHaveBeenCalledTimes(1);
    await clock.run(1);
    expect(work).toHaveBeenCalledTimes(2);
    await clock.run(60_000);
    expect(work.mock.calls.length).toBeGreaterThan(8);
    expect(work.mock.calls.length).toBeLessThan(14);
    work.mockResolvedValue(undefined);
    await clock.run(10_000);
    expect(routes.problem).toBeUndefined();
  });

  it('tries at once when something new is wanted', async () => {
    work.mockRejectedValueOnce(new Error('ip says no'));
    const routes = reconciler();
    routes.request();
    await clock.run(10);
    routes.request();
    await clock.run(0);
    expect(work).toHaveBeenCalledTimes(2);
    expect(routes.problem).toBeUndefined();
    await clock.run(60_000);
    expect(work).toHaveBeenCalledTimes(2);
  });

  it('lets the first failure of all end it, and no later one', async () => {
    const onFirstFailure = vi.fn(() => true);
    const routes = reconciler(onFirstFailure);
    work.mockResolvedValueOnce(undefined).mockRejectedValueOnce(new Error('later'));
    routes.request();
    await clock.run(0);
    routes.request();
    await clock.run(1000);
    expect(onFirstFailure).not.toHaveBeenCalled();
    expect(work).toHaveBeenCalledTimes(3);

    work.mockReset().mockRejectedValue(new Error('first'));
    const other = reconciler(onFirstFailure);
    other.request();
    await clock.run(60_000);
    expect(onFirstFailure).toHaveBeenCalledTimes(1);
    expect(work).toHaveBeenCalledTimes(1);
  });

  it('does nothing any more once it is stopped', async () => {
    work.mockRejectedValue(new Error('ip says no'));
    const routes = reconciler();
    routes.request();
    await clock.run(0);
    await routes.stop();
    routes.request();
    await clock.run(60_000);
    expect(work).toHaveBeenCalledTimes(1);
  });
});
