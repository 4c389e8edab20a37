/**
 * Which process of the plugin asks. A runtime that is killed leaves plugins that it has started, and they may come to the
 * agent after those of its next run: when each was started tells the agent which came first.
 */
import { readFileSync } from 'node:fs';
import type { Caller } from './messages.ts';

/** The 22nd field of proc_pid_stat(5); the second ends with the last parenthesis. */
const START_FIELD = 22 - 3;

/** Undefined where the kernel does not say. */
export function thisCaller(): Caller | undefined {
  try {
    return callerOf(process.pid, readFileSync('/proc/self/stat', 'latin1'));
  } catch {
    return undefined;
  }
}

/** `stat` is what the kernel says of the process; it counts from the fork, through every exec, in hundredths of a second. */
export function callerOf(pid: number, stat: string): Caller | undefined {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startedAt = Number(fields[START_FIELD]);
  return Number.isSafeInteger(startedAt) && startedAt > 0 ? { pid, startedAt } : undefined;
}
