/** docker-compose.yml and the Dockerfile, as they are: image built, three containers up, pods reach each other. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CommandResult, runCommand } from '../../src/lab/command.ts';
import type { CheckReport } from '../../src/readmodel/check-reports.ts';
import type { PeerReport, PodReport, RouteReport, StatusReport } from '../../src/readmodel/reports.ts';
import { importBaseImage } from '../helpers/base-image.ts';
import { output } from '../helpers/command.ts';
import { type DockerEngine, findDockerEngine } from '../helpers/docker-engine.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NODES = ['node-a', 'node-b', 'node-c'] as const;

// Of docker-compose.yml.
const SUBNET = '198.18.42.0/24';

const SETUP_TIMEOUT_MS = 15 * 60_000;
const CONVERGE_TIMEOUT_MS = 120_000;

const found = lacking('root', 'debootstrap') ?? (await findDockerEngine(SUBNET));

describeUnless(typeof found === 'string' ? found : undefined, 'docker-compose', () => {
  const engine = found as DockerEngine;
  // Several runs may share an engine, so nothing here has a name that another could have.
  const id = `warren-test-${randomBytes(4).toString('hex')}`;
  const label = `warren.test=${id}`;
  const baseImage = `${id}-base`;
  const env = { ...engine.env, WARREN_IMAGE: id, COMPOSE_PROJECT_NAME: id, BASE: baseImage };

  function compose(...args: string[]): Promise<string> {
    return output([...engine.compose, '--project-directory', ROOT, ...args], {
      timeoutMs: SETUP_TIMEOUT_MS,
      env,
    });
  }

  function inNode(node: string, ...argv: string[]): Promise<CommandResult> {
    return runCommand([...engine.compose, '--project-directory', ROOT, 'exec', '-T', node, ...argv], { env });
  }

  async function report<T>(node: string, ...argv: string[]): Promise<T> {
    const { code, stdout, stderr } = await inNode(node, 'warren', ...argv, '--json');
    if (code !== 0 && stdout === '') throw new Error(`warren ${argv.join(' ')} on ${node}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** Waits until on every node packets flow, its pods are there, and so are routes to the two others. */
  async function converged(): Promise<void> {
    const deadline = performance.now() + CONVERGE_TIMEOUT_MS;
    for (;;) {
      const state = await Promise.all(NODES.map(readiness));
      if (state.every((ready) => ready === 'ready')) return;
      if (performance.now() > deadline) {
        throw new Error(
          `the nodes are not ready: ${state.join('; ')}\n${await compose('logs', '--tail=40')}`,
        );
      }
      await delay(250);
    }
  }

  async function readiness(node: string): Promise<string> {
    try {
      const { datapath } = await report<StatusReport>(node, 'status');
      const peers = await report<PeerReport[]>(node, 'peers');
      const routes = await report<RouteReport[]>(node, 'routes');
      const pods = await report<PodReport[]>(node, 'pods');
      const alive = peers.filter((peer) => peer.status === 'alive' && peer.subnets.length === 2);
      const ready = pods.filter((pod) => pod.status === 'ready');
      // Of each node one in each family.
      const isRouted = routes.length === 2 * NODES.length;
      return datapath.active && alive.length === 2 && isRouted && ready.length === 2
        ? 'ready'
        : `${node} ${alive.length} peers ${routes.length} routes ${ready.length} pods`;
    } catch (error) {
      return `${node} ${(error as Error).message}`;
    }
  }

  beforeAll(async () => {
    await importBaseImage(engine, baseImage, label);
    await compose('build', '--build-arg', `BASE=${baseImage}`);
    await compose('up', '-d');
    await converged();
  }, SETUP_TIMEOUT_MS);

  afterAll(async () => {
    const down = ['down', '--volumes', '--remove-orphans', '--timeout', '5'];
    await runCommand([...engine.compose, '--project-directory', ROOT, ...down], { env, timeoutMs: 120_000 });
    // The base image's label is on everything made from it: what a failed build step leaves is a container
    // that holds its image, and untagging leaves the build stage's images.
    const leftover = await runCommand(['docker', 'ps', '-aq', '--filter', `label=${label}`], { env });
    const containers = leftover.stdout.split('\n').filter((line) => line !== '');
    if (containers.length > 0) await runCommand(['docker', 'rm', '--force', ...containers], { env });
    await runCommand(['docker', 'image', 'rm', '--force', id, baseImage], { env });
    await runCommand(['docker', 'image', 'prune', '--force', '--filter', `label=${label}`], { env });
    await engine.close();
  }, SETUP_TIMEOUT_MS);

  test.each(NODES)('check passes on %s', async (node) => {
    const check = await report<CheckReport>(node, 'check');
    expect(check.results.filter((result) => !result.ok)).toEqual([]);
    expect(check.unreachable).toEqual([]);
    expect(check.ok).toBe(true);
    // Every node, itself included, and the two pods of each, in both families, from the node and both its pods.
    const targets = new Set(check.results.map(({ toNode, toPod }) => `${toNode}/${toPod}`));
    expect(targets.size).toBe(3 * (1 + 2));
    expect(check.results).toHaveLength(3 * targets.size * 2);
    const { code, stdout } = await inNode(node, 'warren', 'check');
    expect({ code, stdout }).toMatchObject({ code: 0 });
  });

  test('a pod pings a pod on another node, in both families', async () => {
    const pods = await report<PodReport[]>('node-b', 'pods');
    const addresses = pods.flatMap((pod) => pod.addresses);
    expect(addresses).toHaveLength(4);
    for (const address of addresses) {
      const { code, stdout } = await inNode(
        'node-a',
        'warren',
        'exec',
        'web',
        '--',
        'ping',
        '-c1',
        '-W2',
        address,
      );
      expect({ code, stdout }).toMatchObject({ code: 0 });
    }
  });

  test('gossip is sealed with the generated key', async () => {
    const status = await report<StatusReport>('node-a', 'status');
    expect(status.cluster.sealed).toBe(true);
    expect(status.node.name).toBe('node-a');
  });

  test('every container becomes healthy', async () => {
    const deadline = performance.now() + CONVERGE_TIMEOUT_MS;
    for (const node of NODES) {
      const container = (await compose('ps', '-q', node)).trim();
      let health = '';
      while (health !== 'healthy' && performance.now() < deadline) {
        health = (
          await output(['docker', 'inspect', '-f', '{{.State.Health.Status}}', container], { env })
        ).trim();
        if (health !== 'healthy') await delay(250);
      }
      expect(health, node).toBe('healthy');
    }
  });

  test('a container that is made anew keeps its subnets', async () => {
    const before = await report<StatusReport>('node-b', 'status');
    await compose('up', '-d', '--force-recreate', '--no-deps', 'node-b');
    await converged();
    const after = await report<StatusReport>('node-b', 'status');
    expect(after.lease.subnets).toEqual(before.lease.subnets);
    expect(after.node.id).toBe(before.node.id);
    expect((await report<CheckReport>('node-a', 'check')).ok).toBe(true);
  });
});
