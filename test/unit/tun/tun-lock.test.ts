import { afterEach, expect, it } from 'vitest';
import { lockTun, type TunLock } from '../../../src/tun/tun-lock.ts';
import { enterOwnNetns } from '../../helpers/own-netns.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const NAME = `test-${process.pid}`;

const held: TunLock[] = [];

afterEach(() => {
  for (const lock of held.splice(0)) lock.release();
});

function hold(name: string): TunLock {
  const lock = lockTun(name);
  held.push(lock);
  return lock;
}

it('a TUN device is locked once, until the lock is released', () => {
  const lock = hold(NAME);
  expect(() => hold(NAME)).toThrow(`another agent holds the TUN device ${NAME}`);
  hold(`${NAME}0`);
  lock.release();
  held.splice(held.indexOf(lock), 1);
  hold(NAME);
});

describeUnless(lacking('root', 'ip'), 'in another network namespace', () => {
  it('there is another device of the same name', () => {
    hold(NAME);
    enterOwnNetns();
    hold(NAME);
    expect(() => hold(NAME)).toThrow('another agent');
  });
});
