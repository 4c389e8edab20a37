import { afterEach, describe, expect, it } from 'vitest';
import { PollSet } from '../../../src/datapath/poll-set.ts';
import { Arena } from '../../../src/sys/arena.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, POLLIN, POLLOUT } from '../../../src/sys/constants.ts';
import * as libc from '../../../src/sys/libc.ts';

const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) libc.close(fd);
});

/** Readable if `value` is not 0, and always writable. */
function eventfd(value: number): number {
  const fd = libc.eventfd(value, EFD_CLOEXEC | EFD_NONBLOCK);
  opened.push(fd);
  return fd;
}

describe('a set of descriptors', () => {
  it('tells which are ready', () => {
    const [silent, ready] = [eventfd(0), eventfd(1)];
    const set = new PollSet([
      { fd: silent, events: POLLIN },
      { fd: ready, events: POLLIN },
      { fd: silent, events: POLLOUT },
    ]);
    expect(set.wait(-1)).toBe(true);
    expect([0, 1, 2].map((index) => set.isReady(index))).toEqual([false, true, true]);
    libc.read(ready, new Arena(8).address(0), 8);
    expect(set.wait(0)).toBe(true);
    expect([0, 1, 2].map((index) => set.isReady(index))).toEqual([false, false, true]);
  });

  it('leaves out the last ones, and those to be forgotten', () => {
    const ready = { fd: eventfd(1), events: POLLIN };
    const set = new PollSet([ready, ready]);
    set.wait(-1, 1);
    expect([set.isReady(0), set.isReady(1)]).toEqual([true, false]);
    set.forget(0);
    set.wait(-1);
    expect([set.isReady(0), set.isReady(1)]).toEqual([false, true]);
  });

  it('reports a descriptor that is closed', () => {
    const fd = eventfd(0);
    libc.close(opened.pop()!);
    const set = new PollSet([{ fd, events: POLLIN }]);
    set.wait(-1);
    expect(set.isReady(0)).toBe(true);
  });
});
