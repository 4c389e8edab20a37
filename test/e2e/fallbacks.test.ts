/**
 * What an agent does without on a kernel that lacks it, or that turns out not to do it: `warren status` says so,
 * and data arrives all the same. (test/e2e/integrity.test.ts has the switches.)
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { type Lacking, LesserKernel } from '../helpers/lesser-kernel.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

/** More than the sockets between hold: the first superpacket is refused while others wait. */
const STREAM_BYTES = 8_000_000;
const DATAGRAMS = 40;

interface Case {
  readonly without: readonly Lacking[];
  /** What the status shows as off from the start, and once data has passed. */
  readonly atStart: readonly string[];
  readonly afterData: readonly string[];
}

const CASES: readonly Case[] = [
  { without: ['uso'], atStart: ['uso'], afterData: ['uso'] },
  {
    without: ['tso', 'udp-gro', 'udp-segment'],
    atStart: ['tso', 'uso', 'udpGro', 'udpSegment'],
    afterData: ['tso', 'uso', 'udpGro', 'udpSegment'],
  },
  {
    without: ['segment-send', 'tcp-superpacket', 'udp-superpacket'],
    atStart: [],
    afterData: ['udpSegment', 'coalesceTcp', 'coalesceUdp'],
  },
];

describeUnless(lacking('root', 'ip', 'nsenter', 'gcc'), 'an agent on a kernel without', () => {
  let folder: string;
  let kernel: LesserKernel;
  let lab: Lab;
  let pods: LabPod[];
  let probes: Probe[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'warren-fallbacks-test-'));
    kernel = new LesserKernel(folder);
    lab = await Lab.up({ name: 'fallbacks', nodes: 2, pods: 1 });
    pods = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
    probes = pods.map((pod) => new Probe(pod));
  });
  afterAll(async () => {
    for (const probe of probes ?? []) probe.stop();
    await lab?.down();
    rmSync(folder, { recursive: true });
  });

  async function offloadsOff(): Promise<string[]> {
    const { offloads } = (await lab.node(1).view()).status.datapath;
    return Object.keys(offloads).filter((name) => !offloads[name]);
  }

  async function passData(from: number, to: number): Promise<void> {
    const address = pods[to]!.address(4);
    const listener = await probes[to]!.receiver(address);
    const { sha256, receipt } = await probes[from]!.transfer(listener, STREAM_BYTES, `${from} ${to}`);
    expect(receipt).toEqual({ bytes: STREAM_BYTES, sha256, from: pods[from]!.address(4) });
    const echo = await probes[to]!.udpEcho(address);
    expect(await probes[from]!.udpSegments(pods[from]!.address(4), echo, DATAGRAMS, 1400)).toBe(DATAGRAMS);
  }

  const titled = CASES.map((one) => [one.without.join(', '), one] as const);
  test.each(titled)('%s does without, and says so', async (_title, { without, atStart, afterData }) => {
    await lab.node(1).stop();
    kernel.run(without, () => lab.node(1).start());
    await lab.ready();
    expect(await offloadsOff()).toEqual(atStart);
    await passData(0, 1);
    await passData(1, 0);
    // Its threads tell of it a moment after they have found it out.
    await expect.poll(offloadsOff, { timeout: 30_000 }).toEqual(afterData);
  });
});
