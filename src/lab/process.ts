/**
 * Processes that outlive the command that started them. A pid alone does not name one, since the kernel
 * reuses pids; a pid with the process's start time does, and only such a pair is ever signalled.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot, as text. */
  readonly startTime: string;
}

const POLL_INTERVAL_MS = 20;

/** The identity of the process that has `pid` now; undefined if there is none, or only its exit status. */
export function identifyProcess(pid: number): ProcessId | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const startTime = fields[19];
  if (state === 'Z' || state === 'X' || startTime === undefined) return undefined;
  return { pid, startTime };
}

export function isRunning(id: ProcessId): boolean {
  return identifyProcess(id.pid)?.startTime === id.startTime;
}

/** Sends `signal` if the process still is the one that `id` names; answers whether it was. */
export function signalProcess(id: ProcessId, signal: NodeJS.Signals): boolean {
  if (!isRunning(id)) return false;
  try {
    return process.kill(id.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Waits for the end of a process, which need not be a child; false if it still runs after `timeoutMs`. */
export async function waitForExit(id: ProcessId, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isRunning(id)) {
    if (performance.now() >= deadline) return false;
    await delay(POLL_INTERVAL_MS);
  }
  return true;
}

/** Ends processes: SIGTERM, and SIGKILL for those that are still there `graceMs` later (0: at once). */
export async function endProcesses(ids: readonly ProcessId[], graceMs: number): Promise<void> {
  let left = ids;
  if (graceMs > 0) {
    for (const id of left) signalProcess(id, 'SIGTERM');
    await Promise.all(left.map((id) => waitForExit(id, graceMs)));
    left = left.filter(isRunning);
  }
  for (const id of left) signalProcess(id, 'SIGKILL');
  await Promise.all(left.map((id) => waitForExit(id, 5_000)));
}
