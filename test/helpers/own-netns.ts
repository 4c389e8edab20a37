/**
 * Puts the calling thread into a network namespace of its own, which ends with it: with it go the sockets that it
 * opens from now on and the programs that it starts. Each test file has a process to itself, so no other notices.
 */
import { execFileSync } from 'node:child_process';
import koffi from 'koffi';

// linux/sched.h
const CLONE_NEWNET = 0x40000000;

export function enterOwnNetns(): void {
  const unshare = koffi.load(null).func('int unshare(int flags)') as (flags: number) => number;
  if (unshare(CLONE_NEWNET) !== 0) throw new Error(`unshare: errno ${koffi.errno()}`);
  execFileSync('ip', ['link', 'set', 'dev', 'lo', 'up']);
}
