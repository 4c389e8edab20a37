import { expect, test } from 'vitest';
import { timingOf } from '../../../src/agent/timing.ts';
import { parseConfig } from '../../../src/config/load.ts';
import { timingPresets } from '../../../src/membership/timing.ts';

const clusterOf = (more: string) =>
  parseConfig(`cluster: {podCidrs: [10.42.0.0/16]${more}}`, 'test', 'host').cluster;

test.each(['lan', 'wan', 'local'] as const)('cluster.timing: %s is that preset', (timing) => {
  const { deadRetentionMs, ...rest } = timingOf(clusterOf(`, timing: ${timing}`));
  expect({ ...rest, deadRetentionMs: timingPresets[timing].deadRetentionMs }).toEqual(timingPresets[timing]);
  expect(deadRetentionMs).toBe(24 * 3600_000);
});

test('the default is lan, and leases are kept for cluster.leaseTtl', () => {
  expect(timingOf(clusterOf(', leaseTtl: 90s'))).toEqual({ ...timingPresets.lan, deadRetentionMs: 90_000 });
});
