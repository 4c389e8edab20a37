/** The systemd unit that is shipped: what the documentation shows, and what systemd itself says of it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blocks, readDocument, section } from '../../helpers/markdown.ts';
import { describeUnless, lacking } from '../../helpers/requirements.ts';

const unit = readDocument('deploy/systemd/warren.service');

function values(name: string): string[] {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value!);
}

it('operations.md shows the unit as it is', () => {
  const shown = blocks(section(readDocument('docs/operations.md'), 'As a service'));
  expect(shown.filter(({ language }) => language === 'ini').map(({ text }) => text)).toEqual([unit]);
});

it('the unit starts the agent again however often it fails, and watches it', () => {
  expect(values('Type')).toEqual(['notify']);
  expect(values('Restart')).toEqual(['always']);
  expect(values('StartLimitIntervalSec')).toEqual(['0']);
  expect(Number(values('WatchdogSec')[0])).toBeGreaterThan(0);
  expect(values('ExecReload')).toEqual(['/usr/local/bin/warren reload']);
});

it('the unit comes before a Docker engine, which does not wait for it without end', () => {
  expect(values('Before')).toEqual(['docker.service']);
  expect(Number(values('JobRunningTimeoutSec')[0])).toBeGreaterThan(60);
});

it('the unit has nothing that makes a mount namespace', () => {
  // systemd.exec(5), and exec_needs_mount_namespace() of its source.
  const options =
    /^(Private(Tmp|Devices|Mounts|IPC|Network|Users)|Protect\w+|Root\w+|Read(Write|Only)Paths|(Inaccessible|Exec|NoExec)Paths|Bind\w*Paths|TemporaryFileSystem|Mount\w+|DynamicUser|ProcSubset)=/m;
  expect(unit).not.toMatch(options);
});

describeUnless(lacking('systemd-analyze'), 'systemd', () => {
  it('finds nothing wrong with the unit', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-unit-test-'));
    try {
      const path = join(folder, 'warren.service');
      // The program need not be installed here.
      writeFileSync(path, unit.replaceAll('/usr/local/bin/warren', '/bin/true'));
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
