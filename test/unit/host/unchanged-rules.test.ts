import { beforeEach, expect, it, vi } from 'vitest';
import { UnchangedRules } from '../../../src/host/rules/unchanged-rules.ts';

let generation: number | undefined;
const look = vi.fn();
let rules: UnchangedRules;

beforeEach(() => {
  generation = 7;
  look.mockReset().mockReturnValue(true);
  rules = new UnchangedRules({ generation: () => generation, look });
});

it('are not looked at again', () => {
  for (let i = 0; i < 3; i++) expect(rules.areRight()).toBe(true);
  expect(look).toHaveBeenCalledTimes(1);
});

it('are looked at when anything has changed', () => {
  rules.areRight();
  generation = 8;
  look.mockReturnValue(false);
  expect(rules.areRight()).toBe(false);
});

it('that are wrong are looked at until they are right', () => {
  look.mockReturnValue(false);
  expect(rules.areRight()).toBe(false);
  expect(rules.areRight()).toBe(false);
  look.mockReturnValue(true);
  expect(rules.areRight()).toBe(true);
  expect(look).toHaveBeenCalledTimes(3);
});

it('that change while they are looked at are looked at again', () => {
  look.mockImplementation(() => {
    generation = 8;
    return true;
  });
  expect(rules.areRight()).toBe(true);
  expect(rules.areRight()).toBe(true);
  expect(look).toHaveBeenCalledTimes(2);
});

it('are right at no number again that they were wrong with in between', () => {
  rules.areRight();
  look.mockReturnValue(false);
  generation = 8;
  rules.areRight();
  generation = 7;
  expect(rules.areRight()).toBe(false);
});

it('are looked at each time where the kernel gives no number', () => {
  generation = undefined;
  for (let i = 0; i < 3; i++) rules.areRight();
  expect(look).toHaveBeenCalledTimes(3);
});
