/**
 * Real agents become a cluster with an allowlist, and revoke one of them: its pods are cut off, and back later. That it takes 5 s at
 * most is held in virtual time (test/cluster/admission.test.ts).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, RawConfig } from '../../src/lab/node.ts';
import { PATIENTLY, ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'labadmission';

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'who may take part', () => {
  let lab: Lab;
  let nodes: readonly [LabNode, LabNode, LabNode];

  beforeAll(async () => {
    lab = await Lab.up({ name: NAME, nodes: 3, pods: 1 });
    nodes = lab.nodes as unknown as [LabNode, LabNode, LabNode];
  });
  afterAll(async () => {
    await Lab.remove(NAME);
  });

  async function configure(cluster: object): Promise<void> {
    for (const node of nodes) {
      const config = parseYaml(readFileSync(node.configFile, 'utf8')) as RawConfig;
      node.writeConfig({ ...config, cluster: { ...(config.cluster as object), ...cluster } });
      expect((await node.client().reload()).needsRestart).toEqual([]);
    }
  }

  test('approved nodes go on, a revoked one is cut off, and over a restart', async () => {
    const [a, b, c] = nodes;
    const idOf = async (node: LabNode) => (await node.view()).status.node.id;
    expect((await a.view()).status.cluster.admission).toMatchObject({ mode: 'open', pending: 3 });
    await configure({ approvers: [await idOf(a)] });
    await a.client().changeNodes({ action: 'approve', all: true });
    for (const node of nodes) {
      await node.waitFor('all are approved', ({ status }) => status.cluster.admission.approved === 3);
    }
    await configure({ admission: 'allowlist' });
    const [from, to] = [await lab.pod(b.name, 'pod-1'), await lab.pod(c.name, 'pod-1')];
    const expectReached = async () => {
      for (const family of [4, 6] as const)
        expect((await ping(from, to.address(family), PATIENTLY)).code).toBe(0);
    };
    await expectReached();

    const { subnets } = (await c.view()).status.lease;
    await a.client().changeNodes({ action: 'revoke', nodes: [c.name] });
    for (const node of [a, b]) {
      await node.waitFor('no route leads to it', ({ routes }) =>
        routes.every(({ prefix }) => !subnets.includes(prefix)),
      );
    }
    await c.waitFor('it has no subnet', ({ status }) => status.lease.status === 'pending');
    for (const family of [4, 6] as const) expect((await ping(from, to.address(family))).code).not.toBe(0);
    expect((await ping(to, from.address(4))).code).not.toBe(0);

    await c.kill('SIGTERM');
    c.start();
    await c.waitFor('it knows that it is revoked', ({ status }) => status.lease.status === 'pending');
    expect((await ping(to, from.address(4))).code).not.toBe(0);

    await a.client().changeNodes({ action: 'approve', nodes: [await idOf(c)] });
    await c.waitFor('it has its subnet again', ({ status }) => status.lease.status === 'active');
    expect((await c.view()).status.lease.subnets).toEqual(subnets);
    await lab.ready();
    await expectReached();
  });
});
