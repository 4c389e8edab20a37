/** Agents that die and come back: what the others notice, and what the pods do not. */
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LabPod } from '../../src/lab/host.ts';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode, NodeView } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { mustRun } from '../helpers/in-namespace.ts';
import { failedPings, overlayEndpoints, ping } from '../helpers/overlay-endpoints.ts';
import { Probe } from '../helpers/probe.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

/**
 * A node of three that is killed is declared dead in 3.4 to 4.9 s (src/membership/timing.ts); the rest is for a
 * machine that is busy.
 */
const DETECTION_LIMIT_MS = 15_000;
const FAMILIES = [4, 6] as const;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'an agent that ends', () => {
  const probes: Probe[] = [];
  let lab: Lab;
  let nodes: [LabNode, LabNode, LabNode];

  beforeAll(async () => {
    lab = await Lab.up({ name: 'restart', nodes: 3, pods: 2 });
    nodes = [lab.node(0), lab.node(1), lab.node(2)];
  });
  afterAll(async () => {
    for (const probe of probes) probe.stop();
    await lab?.down();
  });

  function startProbe(pod: LabPod): Probe {
    const probe = new Probe(pod);
    probes.push(probe);
    return probe;
  }

  test('by SIGKILL is missed by the others, and comes back as the same node with the same pods', async () => {
    const [a, b, c] = nodes;
    const before = await b.view();
    const subnets = before.status.lease.subnets;
    const namespaces = before.pods.map(({ netns }) => statSync(netns).ino);
    // A program in a pod, which knows nothing of agents.
    const target = await lab.pod(b.name, 'pod-1');
    const listeners = await Promise.all(
      FAMILIES.map((family) => startProbe(target).receiver(target.address(family))),
    );

    const monitors = childrenOf(before.status.node.pid).filter((pid) => commandOf(pid).includes('monitor'));
    expect(monitors.map(commandOf)).toEqual(['ip -json monitor link address route']);
    await b.kill('SIGKILL');
    const killedMs = performance.now();
    const isGone = ({ peers, routes }: NodeView) =>
      peers.find(({ name }) => name === b.name)?.status === 'dead' &&
      !routes.some(({ prefix, via }) => via === b.name || subnets.includes(prefix));
    const noticedMs = await Promise.all(
      [a, c].map(async (node) => {
        await node.waitFor('the killed node has no routes', isGone, { timeoutMs: DETECTION_LIMIT_MS });
        return Math.round(performance.now() - killedMs);
      }),
    );
    console.info(`a killed node lost its routes on the two others after ${noticedMs.join(' and ')} ms`);

    expect(monitors.map(commandOf), 'programs of the killed agent').toEqual(['']);

    const pod = await lab.pod(a.name, 'pod-1');
    expect((await ping(pod, target.address(4))).stdout).toContain('Destination Net Unreachable');
    expect((await ping(pod, target.address(6))).stdout).toContain('Destination unreachable: No route');
    const living = (await overlayEndpoints(lab, [a, c])).filter(({ name }) => name.includes('/'));
    expect((await failedPings(living, living)).failed).toEqual([]);

    b.start();
    await lab.ready();
    const after = await b.view();
    expect(after.status.node.pid).not.toBe(before.status.node.pid);
    expect(after.status.node.id).toBe(before.status.node.id);
    expect(after.status.lease).toEqual(before.status.lease);
    expect(after.pods).toEqual(before.pods);
    expect(after.pods.map(({ netns }) => statSync(netns).ino)).toEqual(namespaces);
    const everybody = await overlayEndpoints(lab);
    expect((await failedPings(everybody, everybody)).failed).toEqual([]);
    for (const listener of listeners) {
      const { bytes, sha256, receipt } = await startProbe(pod).transfer(listener, 100_000, 'again');
      expect(receipt).toMatchObject({ bytes, sha256 });
    }
  });

  test.each(['SIGTERM', 'SIGINT'] as const)('by %s ends with exit code 0', async (signal) => {
    const [, , c] = nodes;
    await c.stop();
    const agent = c.spawn([process.execPath, WARREN_PROGRAM, 'agent', '-c', c.configFile], {
      stdio: 'ignore',
    });
    const ended = once(agent, 'exit');
    while (
      (
        await c
          .client()
          .status()
          .catch(() => undefined)
      )?.lease.status !== 'active'
    ) {
      expect(agent.exitCode).toBeNull();
      await delay(50);
    }
    agent.kill(signal);
    expect(await ended).toEqual([0, null]);
    c.start();
    await lab.ready();
  });

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'by %s and starts again leaves the connections of its pods open',
    async (signal) => {
      const [a, b] = nodes;
      const [client, server] = [await lab.pod(a.name, 'pod-2'), await lab.pod(b.name, 'pod-2')];
      const [from, to] = [startProbe(client), startProbe(server)];
      const connections = await Promise.all(
        FAMILIES.map(async (family) => (await from.open(await to.echo(server.address(family)))).connection),
      );
      const exchangeAll = async (seed: string): Promise<void> => {
        for (const exchange of await Promise.all(
          connections.map((connection) => from.exchange(connection, 1_000_000, seed)),
        )) {
          expect(exchange.echoedSha256).toBe(exchange.sha256);
        }
      };
      await exchangeAll('before');
      // First the client's agent, then the server's.
      for (const node of [a, b]) {
        const device = await tunIndex(node);
        await node.kill(signal);
        expect(node.pid).toBeUndefined();
        expect(await tunIndex(node)).toBe(device);
        // The connections have data to carry while there is no agent.
        const under = exchangeAll(`without ${node.name}`);
        node.start();
        await under;
        expect(await tunIndex(node)).toBe(device);
        await lab.ready();
        await exchangeAll(`after ${node.name}`);
      }
    },
  );
});

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
}

/** Empty for a process that has ended. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim();
  } catch {
    return '';
  }
}

/** The TUN device's number, which a device made anew would not have. */
async function tunIndex(node: LabNode): Promise<number> {
  const [link] = JSON.parse(await mustRun(node, ['ip', '-json', 'link', 'show', 'dev', 'warren0']));
  return link.ifindex;
}
