import { expect, it, vi } from 'vitest';
import { newSession } from '../../../src/link/seal.ts';

// What a process has after its memory was put back: a generator that says the same again.
vi.mock('node:crypto', async (original) => ({
  ...(await original<typeof import('node:crypto')>()),
  randomBytes: (size: number) => Buffer.alloc(size, 7),
}));

it('a new session is another one although the generator of the process goes on from an earlier state', () => {
  const sessions = Array.from({ length: 100 }, () => newSession(1_767_225_600_000));
  expect(new Set(sessions).size).toBe(100);
  for (const session of sessions) expect(session).toMatch(/^[0-9a-f]{16}$/);
});
