/** `warren check --mtu`, `--perf` and `--disrupt` on a lab: what they find is what was done to it. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { namedNetnsPath } from '../../src/host/netns.ts';
import { LabNamespace } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { bridgeNamespace } from '../../src/lab/names.ts';
import { builtFile } from '../../src/package.ts';
import type { DisruptReport, MtuReport, PerfReport } from '../../src/readmodel/check-reports.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'chk';

describeUnless(lacking('root', 'ip', 'nsenter', 'ping'), 'warren check', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await Lab.up({ name: NAME, nodes: 2, pods: 1 });
  });
  afterAll(() => lab?.down());

  interface Checking {
    /** Ends once this has been said on standard error, after what was waited for before. */
    said(words: string): Promise<void>;
    interrupt(): void;
  }

  /** Of node-a. */
  async function check<T>(
    options: readonly string[],
    meanwhile: (checking: Checking) => Promise<void> = async () => {},
  ): Promise<{ code: number | null; report: T; said: string }> {
    const argv = [builtFile('bin/warren'), 'check', '--json', '-s', lab.node(0).socket, ...options];
    const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    let [out, said, heard] = ['', '', 0];
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk;
    });
    const ended = once(child, 'close') as Promise<[number | null]>;
    await meanwhile({
      said: async (words) => {
        await expect.poll(() => said.indexOf(words, heard), { timeout: 60_000 }).toBeGreaterThanOrEqual(0);
        heard = said.indexOf(words, heard) + words.length;
      },
      interrupt: () => void child.kill('SIGINT'),
    });
    const [code] = await ended;
    expect(out, said).not.toBe('');
    return { code, report: JSON.parse(out) as T, said };
  }

  test('--disrupt: TCP outlives restarts of both agents, and a cut shows as long as it lasts', async () => {
    const { code, report, said } = await check<DisruptReport>(['--disrupt'], async (checking) => {
      await checking.said('holding 16 connections');
      await delay(1500);
      await lab.node(1).restart();
      await lab.node(0).restart();
      await lab.ready();
      // Whatever the restarts have left is over.
      await delay(1500);
      await lab.node(1).setConnected(false);
      await delay(1500);
      await lab.node(1).setConnected(true);
      // A silence is told of when it is over.
      await checking.said(`${NAME}-a/pod-1 -> ${NAME}-b/pod-1: silent for `);
      checking.interrupt();
    });
    expect(code).toBe(1);
    // Two sources; two nodes with a pod each, in two families.
    expect(report.results.length).toBe(2 * 2 * 2 * 2);
    for (const { from, toNode, toPod, broken, longestGapMs } of report.results) {
      const pair = `${from} ${toNode} ${toPod}`;
      expect(broken, pair).toBe(0);
      if (toNode === `${NAME}-b`) expect(longestGapMs, pair).toBeGreaterThan(1000);
    }
    expect(said).toContain(`${NAME}-a/pod-1 -> ${NAME}-b/pod-1: silent for `);
  });

  test('--perf: node to node and pod to pod', async () => {
    const { code, report } = await check<PerfReport>(['--perf', '--seconds', '0.5']);
    expect(report.results.map(({ from, toNode, toPod }) => [from, toNode, toPod])).toEqual([
      ['node', `${NAME}-b`, null],
      ['pod-1', `${NAME}-b`, 'pod-1'],
    ]);
    for (const { bitsPerSecond, rttMs, error } of report.results) {
      expect(error).toBeUndefined();
      expect(bitsPerSecond).toBeGreaterThan(1e6);
      // The median; a busy machine stalls for seconds.
      expect(rttMs).toBeLessThan(5000);
    }
    expect(code).toBe(0);
  });

  test('--mtu: what the agent goes by, and less where something on the way takes less', async () => {
    const whole = await check<MtuReport>(['--mtu']);
    expect(whole.report.results.length).toBe(16);
    for (const { mtu, expected, ok } of whole.report.results) {
      expect([mtu, expected, ok]).toEqual([1440, 1440, true]);
    }
    expect(whole.code).toBe(0);
    // The way to the second node takes less, and nobody says so. A bridge passes on what a sender leaves to be cut up.
    await mustRun(lab.node(0), ['ip', 'link', 'set', 'eth0', 'gso_max_segs', '1']);
    const bridge = new LabNamespace(namedNetnsPath(bridgeNamespace(NAME)));
    await mustRun(bridge, ['ip', 'link', 'set', 'port2', 'mtu', '1400']);
    const less = await check<MtuReport>(['--mtu']);
    const found = less.report.results.filter(({ toNode }) => toNode === `${NAME}-b`);
    // WireGuard takes 60 bytes over IPv4; a bridge leaves room for four more.
    for (const result of found) {
      const said = JSON.stringify(result);
      expect(result.mtu, said).toBeGreaterThanOrEqual(1324);
      expect(result.mtu, said).toBeLessThanOrEqual(1344);
    }
  });
});
