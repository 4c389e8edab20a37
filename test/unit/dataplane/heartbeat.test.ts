/** When a thread of the packet path counts as stuck, and when as lost: in virtual time. */
import { expect, it } from 'vitest';
import { Heartbeats, LOOK_MS } from '../../../src/dataplane/heartbeat.ts';
import { VirtualClock } from '../../../src/simulate/virtual-clock.ts';
import { MemoryThread } from '../../helpers/memory-thread.ts';

function watch(count = 1) {
  const clock = new VirtualClock();
  const threads = Array.from({ length: count }, () => new MemoryThread());
  const beats = new Heartbeats(threads, clock.now());
  const look = () => {
    clock.after(beats.look(clock.now()), look);
  };
  look();
  return { clock, threads, beats, first: threads[0]! };
}

it('a thread that answers is woken once per look, and never stuck', () => {
  const { clock, first, beats } = watch();
  const before = first.turns();
  clock.advance(60_000);
  expect(first.turns() - before).toBe(60_000 / LOOK_MS);
  expect(beats.stuck).toBe(0);
});

it('a thread that stops is stuck five to seven and a half seconds later, and lost after thirty', () => {
  for (let afterMs = 0; afterMs < 2 * LOOK_MS; afterMs += 100) {
    const { clock, first, beats } = watch();
    clock.advance(10_000 + afterMs);
    first.stick();
    clock.advance(4900);
    expect(beats.stuck).toBe(0);
    expect(clock.advanceUntil(() => beats.stuck === 1, 3000)).toBeLessThanOrEqual(2600);
    expect(beats.isOneLost).toBe(false);
    expect(clock.advanceUntil(() => beats.isOneLost, 30_000)).toBeGreaterThanOrEqual(24_500);
  }
});

it('is well again at once when it answers, and is counted among those that are', () => {
  const { clock, threads, beats } = watch(3);
  clock.advance(10_000);
  threads[1]!.stick();
  clock.advance(20_000);
  expect(beats.stuck).toBe(1);
  threads[1]!.free();
  clock.advance(500);
  expect(beats.stuck).toBe(0);
  // The silence of before does not count.
  threads[1]!.stick();
  clock.advance(15_000);
  expect(beats.isOneLost).toBe(false);
});

it('where the process itself was stopped, the threads are given their time', () => {
  const thread = new MemoryThread();
  const beats = new Heartbeats([thread], 0);
  thread.stick();
  // Woken here, it has no time to answer before everything stops for an hour.
  beats.look(2000);
  beats.look(3_602_000);
  expect(beats.stuck).toBe(0);
  expect(beats.isOneLost).toBe(false);
});
