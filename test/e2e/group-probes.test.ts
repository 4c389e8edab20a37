/** Groups of datagrams that a path loses or damages, as some kernels and drivers do: traffic goes on, one by one. */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

  /** Sends groups for so long; when each one that came back whole was sent, ms from the start. */
  async function flowFor(durationMs: number): Promise<number[]> {
    const startMs = performance.now();
    const back: number[] = [];
    for (let sent = 0; performance.now() - startMs < durationMs; sent++) {
      const sentMs = performance.now() - startMs;
      const from = pods[0]!.address(4);
      const returned = await probes[0]!.udpSegments(from, echo, DATAGRAMS, 1200, `${sent}`, 50);
      if (returned === DATAGRAMS) back.push(sentMs);
      else await sleep(20);
    }
    return back;
  }

  async function sentSingly(from: LabNode): Promise<boolean> {
    return (await from.view()).peers[0]!.sentSingly === true;
  }

  test('are found to arrive, and are sent', async () => {
    for (const node of [a, b]) {
      await node.waitFor('it has looked', ({ status }) => status.datapath.groupProbes.whole! > 0);
      expect(await sentSingly(node)).toBe(false);
    }
    expect((await flowFor(3000)).length).toBeGreaterThan(10);
    expect((await a.view()).status.datapath.groupProbes).toMatchObject({ broken: 0, unclear: 0 });
  });

  describe.each([
    ['lost', 'drop'],
    ['damaged', MANGLE],
  ])('that are %s on the way', (_what, verdict) => {
    test('are sent singly within 2 s, and groups again once they arrive', async () => {
      await flowFor(1500);
      const filter = await onGroups(b, TUNNEL_PORT, verdict);
      const back = await flowFor(4000);
      const hits = await filter.stop();
      expect(back[0]).toBeLessThan(2000);
      // From then on all of them: nothing is hit any more.
      expect(back.filter((ms) => ms >= 2000).length).toBeGreaterThan(20);
      expect(hits).toBeGreaterThan(0);
      const { status, peers } = await a.view();
      expect(peers[0]).toMatchObject({ sentSingly: true });
      expect(status.cluster.problems.join()).toContain(`do not arrive whole at ${b.name}`);
      expect(a.log()).toMatch(/WARN.*groups of datagrams do not arrive whole/);
      expect(await sentSingly(b)).toBe(false);

      await flowFor(11_000);
      await a.waitFor('groups are sent again', ({ peers: [peer] }) => peer!.sentSingly === undefined);
      expect((await a.view()).status.cluster.problems).toEqual([]);
    });
  });

  test('that are lost hold up no TCP connection for long', async () => {
    const listener = await probes[1]!.receiver(pods[1]!.address(4));
    // BBR takes the stall for a slow path, and needs half a minute to find out that it is not.
    await setSysctls(['net/ipv4/tcp_congestion_control'], 'reno', { netns: pods[0]!.netns });
    const filter = await onGroups(b, TUNNEL_PORT, 'drop');
    const bytes = 50_000_000;
    const startMs = performance.now();
    const { sha256, receipt } = await probes[0]!.transfer(listener, bytes, 'tcp');
    expect(receipt).toEqual({ bytes, sha256, from: pods[0]!.address(4) });
    expect(performance.now() - startMs).toBeLessThan(10_000);
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
    const filter = await onGroups(b, TUNNEL_PORT, 'drop');
    const listener = await probes[1]!.receiver(pods[1]!.address(4));
    await probes[0]!.transfer(listener, 20_000_000, 'tcp');
    await a.waitFor('it is found', ({ peers: [peer] }) => peer!.sentSingly === true);
    await filter.stop();
  });
});
