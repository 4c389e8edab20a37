/** What `npm run kubernetes` refuses before it builds or starts anything. */
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { packageFile } from '../../../src/package.ts';

it.each([
  ['--keep'],
  ['--kubeconfig', 'file'],
  ['--nodes', '0'],
  ['--nodes', 'three'],
  ['--changes', '--short'],
  ['NodePort'],
  ['--e2e', 'one', 'two'],
  ['--no-such-option'],
])('%s %s %s is answered with how it is used', (...argv) => {
  const { status, stderr, stdout } = spawnSync(
    process.execPath,
    [packageFile('scripts/kubernetes.mjs'), ...argv],
    {
      encoding: 'utf8',
    },
  );
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^usage: npm run kubernetes -- /);
});
