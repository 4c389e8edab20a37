import { describe, expect, it } from 'vitest';
import { type AttachReport, renderAttach } from '../../../src/bench/attach-cli.ts';
import { summarise } from '../../../src/bench/statistics.ts';
import { atMost } from '../../../src/bench/targets.ts';

const report: AttachReport = {
  format: 1,
  startedAt: '2026-01-01T00:00:00.000Z',
  count: 100,
  atOnce: 10,
  rounds: 3,
  machine: { node: 'v20', kernel: '6.1', cpus: 2, cpu: 'a processor', memoryMb: 4096, loadBefore: 0.5 },
  programs: [
    { name: 'warren', version: '0.1.0', p50: summarise([15, 20, 25])!, p99: summarise([50, 60, 70])! },
    {
      name: 'ptp',
      version: 'Debian 1.1.1',
      p50: summarise([120, 130, 140])!,
      p99: summarise([200, 210, 220])!,
    },
  ],
  pods: 250,
  longestBlockMs: 25,
  targets: [
    atMost('p50, of ptp with host-local', 0.5, '', 20 / 130),
    atMost('event loop blocked, 250 attachments', 20, ' ms', 25),
  ],
};

describe('the report of attachments', () => {
  it('shows both programs with medians, and what is met and missed', () => {
    const text = renderAttach(report);
    expect(text).toMatch(/^100 ATTACHMENTS, 10 AT ONCE +VERSION +p50, ms +p99, ms$/m);
    expect(text).toMatch(/^warren +0\.1\.0 +20\.0 \(15\.0 - 25\.0\) +60\.0 \(50\.0 - 70\.0\)$/m);
    expect(text).toMatch(/^ptp, host-local +Debian 1\.1\.1 +130 \(120 - 140\)/m);
    expect(text).toMatch(/^met +p50, of ptp with host-local +0\.15 \(<= 0\.5\)$/m);
    expect(text).toMatch(/^missed +event loop blocked, 250 attachments +25\.0 \(<= 20 ms\)$/m);
  });
});
