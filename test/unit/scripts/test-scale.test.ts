import { expect, test } from 'vitest';
import { testScale } from '../../helpers/scale.ts';

test.each([
  [{}, 1],
  [{ WARREN_TEST_SCALE: '1' }, 1],
  [{ WARREN_TEST_SCALE: '10' }, 10],
  [{ WARREN_TEST_SCALE: '100' }, 100],
])('%j is scale %i', (env, scale) => {
  expect(testScale(env)).toBe(scale);
});

test.each(['', '0', '-1', '1.5', '101', '1e1', ' 2', 'ten'])('refuses "%s"', (text) => {
  expect(() => testScale({ WARREN_TEST_SCALE: text })).toThrow(`from 1 to 100, not "${text}"`);
});
