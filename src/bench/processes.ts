/** CPU time and memory of processes and of the machine, from /proc (schedstat, status, smaps_rollup, stat). */
import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessId } from '../lab/process.ts';

/** USER_HZ, which Linux fixes at 100 for everything that user space sees. */
const TICKS_PER_SECOND = 100;

/**
 * CPU seconds of a process so far: its threads' run times, exact to the nanosecond, or the ticks of
 * /proc/PID/stat where the kernel keeps no scheduler statistics. 0 if it is gone.
 */
export function cpuSeconds({ pid }: ProcessId): number {
  try {
    return threads(pid).reduce((sum, thread) => sum + runSeconds(`/proc/${pid}/task/${thread}/schedstat`), 0);
  } catch {
    return tickSeconds(pid);
  }
}

/** CPU seconds that the machine has been busy: user, nice, system, irq and softirq of all CPUs. */
export function machineBusySeconds(): number {
  const [, user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split(/\s+/, 8)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq!) / TICKS_PER_SECOND;
}

/** The most memory that a process has had resident, in MB (10^6); undefined if it is gone. */
export function peakMemoryMb({ pid }: ProcessId): number | undefined {
  return fieldMb(readProc(pid, 'status'), 'VmHWM');
}

/** Memory of a process, all of its threads, in MB. */
export interface Memory {
  readonly residentMb: number;
  /**
   * The part with no file behind it: heaps, buffers, stacks. The rest is mostly the Node program itself, whose pages the
   * kernel drops and reads again as it likes.
   */
  readonly anonymousMb: number;
}

/**
 * What a process has now; undefined if it is gone. Counted from the page tables: VmRSS is summed up from a counter per
 * CPU, and wrong by some hundred pages.
 */
export function currentMemory({ pid }: ProcessId): Memory | undefined {
  const text = readProc(pid, 'smaps_rollup');
  const residentMb = fieldMb(text, 'Rss');
  const anonymousMb = fieldMb(text, 'Anonymous');
  return residentMb === undefined || anonymousMb === undefined ? undefined : { residentMb, anonymousMb };
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

function fieldMb(text: string, field: string): number | undefined {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(text);
  return match === null ? undefined : (Number(match[1]) * 1024) / 1e6;
}

function threads(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`);
}

function runSeconds(path: string): number {
  return Number(readFileSync(path, 'utf8').split(' ')[0]) / 1e9;
}

function tickSeconds(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name in parentheses, which may hold spaces: utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
