import { expect, it } from 'vitest';
import { PollClock } from '../../../src/dataplane/poll-clock.ts';

it('says how long to wait, and runs what is due in its order', () => {
  let nowMs = 100;
  const clock = new PollClock(() => nowMs);
  const ran: string[] = [];
  expect(clock.timeoutMs()).toBe(-1);
  clock.after(20, () => ran.push('b'));
  const cancelled = clock.after(5, () => ran.push('never'));
  clock.after(10.5, () => {
    ran.push('a');
    clock.after(0, () => ran.push('c'));
  });
  clock.after(20, () => ran.push('b2'));
  expect(clock.timeoutMs()).toBe(5);
  cancelled.cancel();
  // Never too early.
  expect(clock.timeoutMs()).toBe(11);
  clock.runDue();
  expect(ran).toEqual([]);
  nowMs = 120;
  clock.runDue();
  expect(ran).toEqual(['a', 'b', 'b2']);
  expect(clock.timeoutMs()).toBe(0);
  clock.runDue();
  expect(ran).toEqual(['a', 'b', 'b2', 'c']);
  expect(clock.timeoutMs()).toBe(-1);
});

it('keeps nothing of timers that are started and cancelled again and again', () => {
  const clock = new PollClock(() => 0);
  let ran = 0;
  for (let i = 0; i < 10_000; i++) {
    clock.after(10_000, () => ran++).cancel();
    clock.runDue();
  }
  clock.after(0, () => ran++);
  clock.runDue();
  expect(ran).toBe(1);
  expect(clock.size).toBeLessThan(100);
});

it('does not run one that another one cancels', () => {
  const clock = new PollClock(() => 0);
  const ran: number[] = [];
  let second = { cancel: () => {} };
  clock.after(0, () => {
    ran.push(1);
    second.cancel();
  });
  second = clock.after(0, () => ran.push(2));
  clock.runDue();
  expect(ran).toEqual([1]);
});
