import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { NetworkMonitor } from '../../../src/host/network-monitor.ts';
import { type Logger, silentLogger } from '../../../src/log/logger.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const path = process.env.PATH;
let folder: string;
let monitor: NetworkMonitor | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'warren-monitor-test-'));
  process.env.PATH = `${folder}:${path}`;
});
afterEach(() => {
  monitor?.stop();
  process.env.PATH = path;
  rmSync(folder, { recursive: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, name), 0o755);
}

/** Stands for `ip monitor`, where the test's condition holds: leaves a mark, and tells of an event at once. */
function watcher(condition: string): void {
  program('ip', `${condition} && touch ${folder}/watches && echo event; exec sleep 60`);
}

/** Resolves with the first event, or with the restart of a monitor that has ended. */
function firstEvent(): Promise<void> {
  return new Promise((resolve) => {
    monitor = new NetworkMonitor({ onChange: resolve, log: silentLogger });
    monitor.start();
  });
}

it.each([
  ['knows no --pdeathsig', 'echo "setpriv: unrecognized option" >&2; exit 1'],
  ['is one that cannot be run', 'exit 127'],
])('watches although setpriv %s', async (_what, setpriv) => {
  program('setpriv', setpriv);
  watcher('true');
  await firstEvent();
  expect(existsSync(join(folder, 'watches'))).toBe(true);
});

describeUnless(lacking('prlimit'), 'without a descriptor to spare', () => {
  it('tries again, and watches once there is one', async () => {
    program('setpriv', `echo yes > ${folder}/tied; shift 3 && exec "$@"`);
    watcher('true');
    const before = /Max open files +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))![1]!;
    const reasons: string[] = [];
    const log = { warn: ({ reason }: { reason: string }) => reasons.push(reason) } as unknown as Logger;
    const watches = new Promise<void>((resolve) => {
      const onChange = () => {
        if (existsSync(join(folder, 'watches'))) resolve();
      };
      monitor = new NetworkMonitor({ onChange, log });
    });
    const limit = (soft: string) => `prlimit --pid ${process.pid} --nofile=${soft}:`;
    // Lifts the limit from outside: this process cannot run a program meanwhile.
    const lifter = spawn('sh', ['-c', `${limit('3')}; echo; read line; ${limit(before)}`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lifted = once(lifter, 'exit');
    await once(lifter.stdout, 'data');
    try {
      expect(() => monitor!.start()).not.toThrow();
      await vi.waitFor(() => expect(reasons).toHaveLength(1));
    } finally {
      lifter.stdin.end('\n');
      await lifted;
    }
    expect(reasons[0]).toContain('EMFILE');
    await watches;
    // With setpriv, which was not to blame.
    expect(readFileSync(join(folder, 'tied'), 'utf8')).toBe('yes\n');
  });
});

it('asks setpriv to end it with the agent', async () => {
  program('setpriv', 'test "$1 $2 $3" = "--pdeathsig KILL --" && shift 3 && TIED=yes exec "$@"');
  watcher('test "$TIED" = yes');
  await firstEvent();
  expect(existsSync(join(folder, 'watches'))).toBe(true);
});
