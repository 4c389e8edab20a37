/**
 * Tests that need root or a program skip themselves, and say why: `describeUnless(lacking('root', 'nft'),
 * 'partitions', () => {...})`. A test never goes missing silently.
 */
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'vitest';

// A user's PATH may lack the sbin folders.
const SEARCH_PATH = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/local/sbin'];

/** Which of `needs` (`root`, or the name of a program) this run lacks, as a reason to skip; else undefined. */
export function lacking(...needs: readonly string[]): string | undefined {
  const reasons = needs
    .filter((need) => (need === 'root' ? process.getuid?.() !== 0 : !hasProgram(need)))
    .map((need) => (need === 'root' ? 'needs root' : `${need} is not installed`));
  return reasons.length > 0 ? reasons.join(', ') : undefined;
}

/** Whether `program` is on the PATH, the sbin folders included. */
export function hasProgram(program: string): boolean {
  return SEARCH_PATH.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** `describe(title, body)`, or one test skipped with `reason` in its place when there is one. */
export function describeUnless(reason: string | undefined, title: string, body: () => void): void {
  if (reason === undefined) describe(title, body);
  else test(title, (context) => context.skip(reason));
}
