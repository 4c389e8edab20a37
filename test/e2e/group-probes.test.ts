/** Groups of datagrams that a path loses or damages, as some kernels and drivers do: traffic goes on, one by one. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { setSysctls } from '../../src/host/sysctl.ts';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, RawConfig } from '../../src/lab/node.ts';
import { onGroups } from '../helpers/packet-filter.ts';
import { type Listener, Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const TUNNEL_PORT = 4790;
const DATAGRAMS = 8;
/** Groups that do not arrive are found after 2 s, and tried again after 10 s. */
const FLOW_LIMIT_MS = 60_000;
/** Another VNI in the first datagram of a group; checksums of a link between namespaces are left to hardware. */
const MANGLE = '@th,96,24 set 0x0000ff';

describeUnless(lacking('root', 'ip', 'nsenter', 'nft'), 'groups of datagrams', () => {
  let lab: Lab;
  let a: LabNode;
  let b: LabNode;
  let pods: LabPod[];
  let probes: Probe[];
  let echo: Listener;

  beforeAll(async () => {
    lab = await Lab.up({ encapsulation: 'vxlan-gpe', name: 'groups', nodes: 2, pods: 1 });
    [a, b] = lab.nodes as [LabNode, LabNode];
    pods = await Promise.all(lab.nodes.map(({ name }) => lab.pod(name, 'pod-1')));
    probes = pods.map((pod) => new Probe(pod));
    echo = await probes[1]!.udpEcho(pods[1]!.address(4));
  });
  afterAll(async () => {
    for (const probe of probes ?? []) probe.stop();
    await lab?.down();
  });

  let sent = 0;
  /** One group there and back: how many of its datagrams came. */
  const group = (timeoutMs?: number) =>
    probes[0]!.udpSegments(pods[0]!.address(4), echo, DATAGRAMS, 1200, `${++sent}`, timeoutMs);

  /** Sends groups, each when the one before has come back or is given up, until `isEnough`, which is told how many came whole. */
  async function flowUntil(isEnough: (whole: number) => boolean | Promise<boolean>): Promise<void> {
    const deadline = performance.now() + FLOW_LIMIT_MS;
    for (let whole = 0; !(await isEnough(whole)); ) {
      expect(performance.now()).toBeLessThan(deadline);
      if ((await group(50)) === DATAGRAMS) whole++;
      else await sleep(20);
    }
  }

  const flowFor = (durationMs: number) => {
    const startMs = performance.now();
    return flowUntil(() => performance.now() - startMs >= durationMs);
  };

  /** See `onGroups`; over at the end of the test, whatever became of it. */
  async function groupsThatAre(verdict: string): Promise<{ stop(): Promise<number> }> {
    onTestFinished(async () => void (await b.exec(['nft', 'delete', 'table', 'inet', 'groups'])));
    return onGroups(b, TUNNEL_PORT, verdict);
  }

  async function sentSingly(from: LabNode): Promise<boolean> {
    return (await from.view()).peers[0]!.sentSingly === true;
  }

  test('are found to arrive, and are sent', async () => {
    for (const node of [a, b]) {
      await node.waitFor('it has looked', ({ status }) => status.datapath.groupProbes.whole! > 0);
      expect(await sentSingly(node)).toBe(false);
    }
    await flowFor(3000);
    await flowUntil((whole) => whole > 10);
    expect((await a.view()).status.datapath.groupProbes).toMatchObject({ broken: 0 });
  });

  describe.each([
    ['lost', 'drop'],
    ['damaged', MANGLE],
  ])('that are %s on the way', (_what, verdict) => {
    // That it takes 2 s at most is held in virtual time (test/cluster/group-probes.test.ts).
    test('are sent singly, and groups again once they arrive', async () => {
      await flowFor(1500);
      const filter = await groupsThatAre(verdict);
      await flowUntil(() => sentSingly(a));
      const { status } = await a.view();
      expect(status.cluster.problems.join()).toContain(`do not arrive whole at ${b.name}`);
      await expect.poll(() => a.log()).toMatch(/WARN.*groups of datagrams do not arrive whole/);
      expect(await sentSingly(b)).toBe(false);
      // From then on all of them: nothing is hit any more.
      for (let i = 0; i < 20; i++) expect(await group()).toBe(DATAGRAMS);
      expect(await filter.stop()).toBeGreaterThan(0);

      await flowUntil(async () => !(await sentSingly(a)));
      const problems = async () => (await a.client().status()).cluster.problems;
      await expect.poll(problems, { timeout: 30_000 }).toEqual([]);
    });
  });

  test('that are lost hold up no TCP connection for long', async () => {
    const listener = await probes[1]!.receiver(pods[1]!.address(4));
    // BBR takes the stall for a slow path, and needs half a minute more to find out that it is not.
    await setSysctls(['net/ipv4/tcp_congestion_control'], 'reno', { netns: pods[0]!.netns });
    const filter = await groupsThatAre('drop');
    const bytes = 50_000_000;
    const startMs = performance.now();
    const { sha256, receipt } = await probes[0]!.transfer(listener, bytes, 'tcp');
    expect(receipt).toEqual({ bytes, sha256, from: pods[0]!.address(4) });
    // Seconds where nothing else runs.
    expect(performance.now() - startMs).toBeLessThan(30_000);
    expect(await sentSingly(a)).toBe(true);
    await filter.stop();
  });

  test('are looked at where the TUN takes no UDP superpackets, too', async () => {
    const config = parseYaml(readFileSync(a.configFile, 'utf8')) as RawConfig;
    await b.stop();
    a.writeConfig({ ...config, datapath: { offload: { uso: false } } });
    await a.client().reload();
    await b.start();
    await lab.ready();
    const filter = await groupsThatAre('drop');
    const listener = await probes[1]!.receiver(pods[1]!.address(4));
    await probes[0]!.transfer(listener, 20_000_000, 'tcp');
    await a.waitFor('it is found', ({ peers: [peer] }) => peer!.sentSingly === true);
    await filter.stop();
  });
});
