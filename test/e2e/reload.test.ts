/** A configuration that a real agent reads again, at SIGHUP and by `warren reload`. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, RawConfig } from '../../src/lab/node.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labreload';
const OFFLOADS_OFF = { tso: false, uso: false, udpGro: false, coalesceTcp: false, checksum: false };

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'a configuration that is read again', () => {
  let lab: Lab;
  let a: LabNode;
  let b: LabNode;
  let config: RawConfig;

  beforeAll(async () => {
    lab = await Lab.up({ name: NAME, nodes: 2, pods: 1 });
    [a, b] = lab.nodes as [LabNode, LabNode];
    config = parseYaml(readFileSync(a.configFile, 'utf8')) as RawConfig;
  });
  afterAll(async () => {
    await Lab.remove(NAME);
  });

  test('SIGHUP does not end the agent, and takes over static pods', async () => {
    const { pid } = a;
    a.writeConfig({ ...config, staticPods: ['front'] });
    await a.kill('SIGHUP');
    await a.waitFor('the static pod is there', ({ pods }) => pods.some(({ name }) => name === 'front'));
    expect(a.pid).toBe(pid);
  });

  test('offloads are switched while traffic flows, and it goes on', async () => {
    const before = (await a.view()).status.datapath;
    a.writeConfig({ ...config, datapath: { offload: OFFLOADS_OFF }, tun: { name: 'other0' } });
    const report = await a.client().reload();
    expect(report.changed).toEqual(
      expect.arrayContaining([
        'staticPods',
        ...Object.keys(OFFLOADS_OFF).map((name) => `datapath.offload.${name}`),
      ]),
    );
    expect(report.needsRestart).toEqual(['tun.name']);
    await b.waitFor('the other node knows', ({ peers }) =>
      peers.every(({ partialChecksums }) => !partialChecksums),
    );
    const [from, to] = [await lab.pod(a.name, 'pod-1'), await lab.pod(b.name, 'pod-1')];
    for (const family of [4, 6] as const) expect((await ping(from, to.address(family))).code).toBe(0);
    const { datapath } = (await a.view()).status;
    expect(datapath.offloads).toMatchObject({ ...OFFLOADS_OFF, udpSegment: before.offloads.udpSegment });
    expect(datapath.outbound.packets).toBeGreaterThan(before.outbound.packets);

    a.writeConfig(config);
    await a.client().reload();
    expect((await a.view()).status.datapath.offloads).toEqual(before.offloads);
    expect((await ping(from, to.address(4))).code).toBe(0);
  });

  test('a file with mistakes changes nothing, and each is in the log with its line and key', async () => {
    a.writeConfig({ ...config, log: { level: 'loud' }, tun: { mtu: 12 } });
    await expect(a.client().reload()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await a.waitFor('it goes on', () => /\d+:\d+: log\.level: must be/.test(a.log()));
    expect(a.log()).toMatch(/\d+:\d+: tun\.mtu: must be/);
  });
});
