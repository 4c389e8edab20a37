import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { NetworkMonitor } from '../../../src/host/network-monitor.ts';
import { silentLogger } from '../../../src/log/logger.ts';

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

it('asks setpriv to end it with the agent', async () => {
  program('setpriv', 'test "$1 $2 $3" = "--pdeathsig KILL --" && shift 3 && TIED=yes exec "$@"');
  watcher('test "$TIED" = yes');
  await firstEvent();
  expect(existsSync(join(folder, 'watches'))).toBe(true);
});
