/** Where the threads of a process are blocked: by the number of the system call that each one is in. */
import { readdirSync, readFileSync } from 'node:fs';

/** asm/unistd.h; the C library may have ppoll in poll's place. */
const NUMBERS = {
  x64: { read: '0', recvmmsg: '299', poll: '7' },
  arm64: { read: '63', recvmmsg: '243', poll: '73' },
}[process.arch as 'x64' | 'arm64'];

export type BlockingCall = keyof typeof NUMBERS;

/** The threads of `pid` that are blocked in `call` now. */
export function threadsIn(pid: number, call: BlockingCall): number[] {
  return readdirSync(`/proc/${pid}/task`)
    .filter((tid) => systemCall(pid, tid) === NUMBERS[call])
    .map(Number);
}

/** `running` where it is in none. A thread may end meanwhile. */
function systemCall(pid: number, tid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/task/${tid}/syscall`, 'utf8').split(' ')[0];
  } catch {
    return undefined;
  }
}
