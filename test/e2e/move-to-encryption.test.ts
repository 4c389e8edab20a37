/** A cluster in clear text becomes an encrypted one, node by node, while pods of its nodes talk. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const CLEAR = /type: "?vxlan-gpe"?/;
const BYTES = 3_000_000;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'a cluster in clear text', () => {
  let lab: Lab;
  let pods: LabPod[];
  const probes: Probe[] = [];

  beforeAll(async () => {
    lab = await Lab.up({ name: 'move', nodes: 3, pods: 1, encapsulation: 'vxlan-gpe' });
    pods = await Promise.all([0, 1, 2].map((node) => lab.pod(node, 'pod-1')));
    for (const pod of pods) probes.push(new Probe(pod));
  });
  afterAll(async () => {
    for (const probe of probes) probe.stop();
    await lab?.down();
  });

  async function restart(number: number, before: RegExp, after: string): Promise<void> {
    const node = lab.node(number);
    const path = join(node.folder, 'config.yaml');
    const text = readFileSync(path, 'utf8');
    expect(text).toMatch(before);
    writeFileSync(path, text.replace(before, after));
    await node.restart();
  }

  /** TCP of every pod with every other one, whole. */
  async function allStream(): Promise<void> {
    for (const [i, from] of pods.entries()) {
      for (const [j, to] of pods.entries()) {
        if (i === j) continue;
        const listener = await probes[j]!.receiver(to.address(i < j ? 4 : 6));
        const { sha256, receipt } = await probes[i]!.transfer(listener, BYTES, `${i}${j}`);
        expect(receipt).toMatchObject({ bytes: BYTES, sha256, from: from.address(i < j ? 4 : 6) });
      }
    }
  }

  test('becomes an encrypted one while pods talk', async () => {
    await allStream();
    for (const number of [0, 1, 2]) {
      // Those of the other nodes go on meanwhile: twenty pings a second, of which none is lost.
      const [one, other] = pods.filter((_, i) => i !== number) as [LabPod, LabPod];
      const pings = one.exec(['ping', '-i', '0.05', '-c', '60', '-W', '2', other.address(4)]);
      await delay(100);
      await restart(number, CLEAR, 'type: wireguard\n  accept: vxlan-gpe');
      await lab.ready();
      expect((await pings).stdout).toContain(' 0% packet loss');
      await allStream();
      const { status } = await lab.node(number).view();
      expect(status.encapsulation).toMatchObject({
        type: 'wireguard',
        accept: 'vxlan-gpe',
        encrypted: false,
      });
    }
    for (const number of [0, 1, 2]) {
      await restart(number, /accept: vxlan-gpe/, 'port: 4790');
      await lab.ready();
      await allStream();
    }
    for (const node of lab.nodes) {
      const { status, peers } = await node.view();
      expect(status.encapsulation.encrypted).toBe(true);
      expect(status.cluster.problems).toEqual([]);
      for (const peer of peers) expect(peer.sessionAgeSeconds).toBeDefined();
    }
    expect((await ping(pods[0]!, pods[2]!.address(6))).code).toBe(0);
  });
});
