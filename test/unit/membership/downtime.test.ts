import { expect, it } from 'vitest';
import { downtimeMs } from '../../../src/membership/downtime.ts';

const written = { bootId: 'a', uptimeMs: 5000, at: 0 };

it.each([
  ['the same run of the kernel: its uptime', 'a', 9000, 4000],
  ['another run: what has passed since it began', 'b', 9000, 9000],
  ['another run, early', 'b', 100, 100],
  ['the same run, whose uptime is less: a container that began anew', 'a', 3000, 3000],
])('%s', (_, id, uptimeMs, expected) => {
  expect(downtimeMs(written, { id, uptimeMs: () => uptimeMs })).toBe(expected);
});
