import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { AttachReport } from '../../src/bench/attach-cli.ts';
import { builtFile } from '../../src/package.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), '`warren bench attach`', () => {
  it('measures what is installed, and removes all that it made', () => {
    const folder = mkdtempSync(join(tmpdir(), 'warren-bench-test-'));
    try {
      const json = join(folder, 'attach.json');
      const argv = ['bench', 'attach', '--count', '4', '--at-once', '2', '--rounds', '1', '--pods', '4'];
      const text = execFileSync(process.execPath, [builtFile('bin/warren'), ...argv, '--json', json], {
        encoding: 'utf8',
      });
      expect(text).toMatch(/^4 ATTACHMENTS, 2 AT ONCE/m);
      const { programs, targets }: AttachReport = JSON.parse(readFileSync(json, 'utf8'));
      for (const { p50 } of programs) expect(p50.median).toBeGreaterThan(0);
      expect(programs[0]!.name).toBe('warren');
      expect(targets).toHaveLength(2);
      expect(readdirSync('/run/netns').filter((name) => name.startsWith('warren-bench-'))).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
