import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import {
  endProcesses,
  identifyProcess,
  isRunning,
  signalProcess,
  waitForExit,
} from '../../../src/lab/process.ts';

const children: ChildProcess[] = [];

/** A Node process that runs `script` and has said so: its signal handlers are in place. */
async function start(script: string): Promise<{ child: ChildProcess; pid: number }> {
  const code = `${script}; console.log('up'); setInterval(() => {}, 1000)`;
  const child = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  await once(child.stdout!, 'data');
  return { child, pid: child.pid! };
}

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

describe('processes by pid and start time', () => {
  test('this process has an identity that does not change', () => {
    const id = identifyProcess(process.pid)!;
    expect(id.startTime).toMatch(/^\d+$/);
    expect(identifyProcess(process.pid)).toEqual(id);
    expect(isRunning(id)).toBe(true);
  });

  test('a pid that was used again is another process, and gets no signal', async () => {
    const { child, pid } = await start('');
    const earlier = { pid, startTime: '1' };
    expect(isRunning(earlier)).toBe(false);
    expect(signalProcess(earlier, 'SIGKILL')).toBe(false);
    await endProcesses([earlier], 1_000);
    expect(child.exitCode).toBeNull();
    expect(isRunning(identifyProcess(pid)!)).toBe(true);
  });

  test('SIGTERM is enough for a process that heeds it', async () => {
    const { child, pid } = await start("process.on('SIGTERM', () => process.exit(7))");
    const exit = once(child, 'exit');
    await endProcesses([identifyProcess(pid)!], 5_000);
    expect(await exit).toEqual([7, null]);
  });

  test('a process that ignores SIGTERM is killed after the grace time', async () => {
    const { child, pid } = await start("process.on('SIGTERM', () => {})");
    const id = identifyProcess(pid)!;
    const exit = once(child, 'exit');
    await endProcesses([id], 50);
    expect(await exit).toEqual([null, 'SIGKILL']);
    expect(isRunning(id)).toBe(false);
    expect(await waitForExit(id, 0)).toBe(true);
  });

  test('there is no identity for a pid that nobody has', () => {
    expect(identifyProcess(2 ** 30)).toBeUndefined();
  });
});
