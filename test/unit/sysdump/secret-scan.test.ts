/** The barrier finds a key in each form that a program might write it in, and nothing else. */
import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { SecretScan } from '../../../src/sysdump/secret-scan.ts';

const key = randomBytes(32);
const scan = new SecretScan([key]);

it.each([
  ['raw', key],
  ['bytes taken for text', key.toString('latin1')],
  ['hex', key.toString('hex')],
  ['upper-case hex', key.toString('hex').toUpperCase()],
  ['base64', key.toString('base64')],
  ['base64url', key.toString('base64url')],
  ['a list of bytes', JSON.stringify([...key])],
  ['within base64, one byte on', Buffer.concat([randomBytes(16), key, randomBytes(5)]).toString('base64')],
  ['within base64, two bytes on', Buffer.concat([randomBytes(2), key]).toString('base64url')],
])('a key as %s', (_, form) => {
  const around = (text: string) => `before ${text} after`;
  expect(scan.finds(typeof form === 'string' ? around(form) : form)).toBe(true);
});

it('other keys are none of its business', () => {
  const other = randomBytes(32);
  expect(scan.finds(other)).toBe(false);
  for (const form of ['hex', 'base64', 'base64url'] as const)
    expect(scan.finds(other.toString(form))).toBe(false);
});
