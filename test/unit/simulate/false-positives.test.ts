import { expect, test } from 'vitest';
import { DeathCount } from '../../../src/simulate/false-positives.ts';

test('what several nodes say of one death is one death', () => {
  const deaths = new DeathCount();
  deaths.add({ id: 'a', incarnation: 3 }, 'paused', 'first');
  deaths.add({ id: 'a', incarnation: 3 }, 'healthy', 'told on, after it has recovered');
  expect(deaths).toMatchObject({ healthy: 0, paused: 1, examples: [] });
});

test('a healthy death counts however soon it follows another one of the same node', () => {
  const deaths = new DeathCount();
  deaths.add({ id: 'a', incarnation: 3 }, 'paused', 'first');
  deaths.add({ id: 'a', incarnation: 4 }, 'healthy', 'second');
  deaths.add({ id: 'b', incarnation: 4 }, 'healthy', 'third');
  expect(deaths).toMatchObject({ healthy: 2, paused: 1, examples: ['second', 'third'] });
});
