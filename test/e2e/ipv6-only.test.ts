/**
 * A cluster without IPv4: underlay, seeds and pods have IPv6 addresses alone. What works with two families elsewhere
 * (join, pings, `warren check`, MTU, restart, repair, cleanup) works with one.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { cleanUp } from '../helpers/agent-cleanup.ts';
import { PATIENTLY, ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const NAME = 'ipv6only';
/** 1,500 less the outer IPv6, UDP and VXLAN-GPE headers. */
const OVERLAY_MTU = 1444;
const ECHO_HEADERS = 40 + 8;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'a cluster without IPv4', () => {
  const probes: Probe[] = [];
  let lab: Lab;
  let nodes: readonly LabNode[];

  beforeAll(async () => {
    lab = await Lab.up({
      encapsulation: 'vxlan-gpe',
      name: NAME,
      pods: 2,
      ipv6Only: true,
      config: (_node, all) => ({
        underlay: { address: 'auto' },
        cluster: { seeds: all.map(({ underlayAddress }) => `[${underlayAddress}]:7946`) },
        api: { listen: '[::1]:9095' },
      }),
    });
    nodes = lab.nodes;
  });
  afterAll(async () => {
    for (const probe of probes) probe.stop();
    await Lab.remove(NAME);
  });

  const warren = (node: LabNode, ...args: string[]) =>
    node.exec([process.execPath, WARREN_PROGRAM, ...args, '-s', node.socket]);
  const pods = async (): Promise<LabPod[]> =>
    (
      await Promise.all(
        nodes.map(({ name }) => Promise.all(['pod-1', 'pod-2'].map((pod) => lab.pod(name, pod)))),
      )
    ).flat();
  const problems = async (node: LabNode) => (await node.view()).status.cluster.problems;
  /** For what comes a moment later. */
  const within = (what: string, holds: () => Promise<boolean>) =>
    expect.poll(holds, { message: what, timeout: 30_000 }).toBe(true);

  test('forms, with one address for each node and pod, and no problem', async () => {
    for (const node of nodes) {
      expect((await node.exec(['ip', '-4', '-brief', 'address', 'show', 'dev', 'eth0'])).stdout).toBe('');
      const { status, pods: own } = await node.view();
      await expect.poll(() => problems(node), { timeout: 30_000 }).toEqual([]);
      expect(status.underlay.address).toBe(node.addresses.ipv6);
      expect(status.tun.addresses).toEqual([expect.stringContaining('fd42:')]);
      expect(status.tun.mtu).toBe(OVERLAY_MTU);
      expect(own.map(({ addresses }) => addresses)).toEqual([
        [expect.stringContaining('fd42:')],
        [expect.stringContaining('fd42:')],
      ]);
    }
  });

  test('passes `warren check` from every node, and shows its tables', async () => {
    for (const node of nodes) {
      const check = await warren(node, 'check');
      expect(check, check.stdout + check.stderr).toMatchObject({ code: 0 });
      for (const command of ['status', 'peers', 'routes', 'pods']) {
        expect(await warren(node, command)).toMatchObject({ code: 0 });
      }
      const metrics = await node.exec([
        process.execPath,
        '-e',
        'fetch("http://[::1]:9095/metrics").then((r) => r.text()).then((t) => console.log(t))',
      ]);
      expect(metrics.stdout).toContain('warren_');
    }
  });

  test('carries packets as long as its MTU, answers longer ones, and streams', async () => {
    const all = await pods();
    const from = all[0]!;
    const to = all[2]!;
    const whole = ['-M', 'do', '-s', String(OVERLAY_MTU - ECHO_HEADERS)];
    expect((await ping(from, to.address(6), [...PATIENTLY, ...whole])).code).toBe(0);
    const longer = ['-M', 'do', '-s', String(OVERLAY_MTU - ECHO_HEADERS + 1)];
    expect((await ping(from, to.address(6), longer)).code).not.toBe(0);
    const [client, server] = [new Probe(from), new Probe(to)];
    probes.push(client, server);
    const sent = await client.transfer(await server.receiver(to.address(6)), 5_000_000, 'ipv6 only');
    expect(sent.receipt).toEqual({ bytes: 5_000_000, sha256: sent.sha256, from: from.address(6) });
  });

  test('keeps its pods and addresses over the death of an agent', async () => {
    const node = nodes[1]!;
    const before = await pods();
    await node.kill('SIGKILL');
    node.start();
    await lab.ready();
    expect((await pods()).map(({ addresses }) => addresses)).toEqual(
      before.map(({ addresses }) => addresses),
    );
    expect((await warren(node, 'check')).code).toBe(0);
  });

  test.each([
    ['the address of the TUN device', ['address', 'flush', 'dev', 'warren0']],
    ['the route of the pod range', ['-6', 'route', 'delete', 'fd42::/48', 'dev', 'warren0']],
    ['the TUN device', ['link', 'delete', 'warren0']],
  ])('puts back %s', async (_what, command) => {
    const node = nodes[0]!;
    const from = await lab.pod(node.name, 'pod-1');
    const to = await lab.pod(nodes[1]!.name, 'pod-1');
    expect((await node.exec(['ip', ...command])).code).toBe(0);
    await within('pods reach each other', async () => (await ping(from, to.address(6))).code === 0);
    await within('no problem is left', async () => (await problems(node)).length === 0);
  });

  test('takes another underlay address as any other does', async () => {
    const node = nodes[2]!;
    const moved = '2001:db8:0:1::77';
    await node.exec(['ip', '-6', 'address', 'add', `${moved}/64`, 'dev', 'eth0', 'nodad']);
    await node.exec(['ip', '-6', 'address', 'delete', `${node.addresses.ipv6}/64`, 'dev', 'eth0']);
    await node.waitFor('the new address is in use', ({ status }) => status.underlay.address === moved);
    const from = await lab.pod(nodes[0]!.name, 'pod-1');
    const to = await lab.pod(node.name, 'pod-1');
    await within('pods reach each other', async () => (await ping(from, to.address(6))).code === 0);
  });

  test('goes without leaving anything', async () => {
    const node = nodes[0]!;
    await node.stop();
    await cleanUp(node);
    expect((await node.exec(['ip', 'link', 'show', 'warren0'])).code).not.toBe(0);
  });
});
