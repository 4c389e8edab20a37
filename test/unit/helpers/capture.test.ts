import { expect, test } from 'vitest';
import { hasNoGaps } from '../../helpers/capture.ts';

const summary = (kernel: number, more = '') =>
  `tcpdump: listening on eth0\n61 packets captured\n90 packets received by filter\n${kernel} packets dropped by kernel\n${more}`;

test.each([
  ['nothing dropped', summary(0), true],
  ['nothing dropped anywhere', summary(0, '0 packets dropped by interface\n'), true],
  ['one dropped', summary(1), false],
  ['ten dropped', summary(10), false],
  ['some dropped by the interface', summary(0, '3 packets dropped by interface\n'), false],
  ['killed before it could say so', 'tcpdump: listening on eth0\n', false],
])('a capture with %s', (_what, said, whole) => {
  expect(hasNoGaps(said)).toBe(whole);
});
