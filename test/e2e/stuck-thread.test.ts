/** A packet path thread that the kernel does not let run: what the agent says of it, and how it ends. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { ping } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { FrozenThread, NO_FREEZER, packetThread } from '../helpers/thread-freezer.ts';

const LISTEN = '127.0.0.1:9095';
/** For a machine that is busy. */
const SPARE_MS = 5000;

describeUnless(lacking('root', 'ip', 'ping', 'nsenter') ?? NO_FREEZER, 'a thread that is held', () => {
  let lab: Lab;
  let node: LabNode;
  let agent: ChildProcess;
  let log = '';

  beforeAll(async () => {
    const config = () => ({ api: { listen: LISTEN } });
    lab = await Lab.up({ encapsulation: 'vxlan-gpe', name: 'stuck', nodes: 2, pods: 1, config });
    node = lab.node(0);
  });
  afterAll(async () => {
    agent?.kill('SIGKILL');
    await lab?.down();
  });

  /** An agent whose end can be waited for; the id of its packet path thread. */
  async function startAgent(): Promise<number> {
    await node.stop();
    agent = node.spawn([process.execPath, WARREN_PROGRAM, 'agent', '-c', node.configFile], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    log = '';
    agent.stderr!.on('data', (text) => (log += text));
    await until(async () => (await health('readyz')).startsWith('200'), 20_000);
    return packetThread(agent.pid!);
  }

  function hold(thread: number): FrozenThread {
    const frozen = new FrozenThread(thread);
    onTestFinished(() => frozen.thaw());
    return frozen;
  }

  async function health(path: string): Promise<string> {
    const script = `fetch('http://${LISTEN}/${path}').then(async (r) => console.log(r.status, await r.text()))`;
    return (await node.exec([process.execPath, '-e', script])).stdout;
  }

  async function reachesOtherNode(): Promise<boolean> {
    const other = (await lab.node(1).view()).status.tun.addresses[0]!;
    return (await ping(node, other)).code === 0;
  }

  test('shows after five seconds, and no more once it runs again', async () => {
    const frozen = hold(await startAgent());
    const heldMs = performance.now();
    await until(async () => (await health('livez')).startsWith('503'), 10_000 + SPARE_MS);
    expect(performance.now() - heldMs).toBeGreaterThan(4500);
    const reason = '1 of 1 packet path threads does not answer\n';
    expect(await health('livez')).toBe(`503 ${reason}\n`);
    expect(await health('readyz')).toContain('no packets flow');
    const { status } = await node.view();
    expect(status.datapath).toMatchObject({ active: false, workers: 1, stuckWorkers: 1 });
    expect(status.cluster.problems).toContain(reason.trim());
    expect(await health('metrics')).toContain('warren_datapath_stuck_workers 1');
    frozen.thaw();
    await until(async () => (await health('healthz')).startsWith('200'), SPARE_MS);
    expect(await reachesOtherNode()).toBe(true);
  }, 60_000);

  test('does not hold up the end of the agent', async () => {
    const frozen = hold(await packetThread(agent.pid!));
    const ended = once(agent, 'exit');
    agent.kill('SIGTERM');
    await until(() => log.includes('does not end'), 10_000 + SPARE_MS);
    // Even the kernel waits for a thread that a freezer holds.
    await delay(2000);
    frozen.thaw();
    expect(await ended).toEqual([1, null]);
  }, 60_000);

  test('ends the agent after thirty seconds, and the next one goes on', async () => {
    const frozen = hold(await startAgent());
    const ended = once(agent, 'exit');
    await until(() => log.includes('the agent cannot go on'), 45_000 + SPARE_MS);
    expect(log).toContain('a packet path thread does not end');
    await delay(3000);
    frozen.thaw();
    expect(await ended).toEqual([1, null]);
    await startAgent();
    expect(await reachesOtherNode()).toBe(true);
  }, 120_000);
});

async function until(holds: () => Promise<boolean> | boolean, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`did not come true within ${limitMs / 1000} s`);
    await delay(100);
  }
}
