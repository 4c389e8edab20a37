/**
 * SIGKILL of the plugin and of the agent at each step of an ADD and a DEL, in real processes: strace ends them as they enter
 * the nth call of a kind that they make for it, from the first until there are no more. Then the runtime's next command,
 * or the agent's start, leaves nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Lab } from '../../src/lab/lab.ts';
import type { LabNode } from '../../src/lab/node.ts';
import { callPlugin, hostState } from '../helpers/cni-plugin.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';
import { type ThrowawayNetns, throwawayNetns } from '../helpers/throwaway-netns.ts';

/** Of the plugin: what it does with the agent, the queue and its answer. */
const PLUGIN_CALLS = ['connect', 'write', 'writev', 'fsync', 'exit_group'];
/** Of the agent: netlink, namespaces, the state on the disk, and its answer. */
const AGENT_CALLS = ['sendto', 'setns', 'fsync', 'rename', 'writev'];
/** None of them is made so often for one command. */
const MAX_STEPS = 40;

const CONTAINER = 'killed';

/** Of strace: it ends whoever enters the `nth` call of a kind, and shows nothing. */
function killingAt(call: string, nth: number): string[] {
  return [
    'strace',
    '-f',
    '-o',
    '/dev/null',
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:signal=KILL:when=${nth}`,
  ];
}

describeUnless(lacking('root', 'ip', 'nsenter', 'nft', 'strace'), 'killed at each step', () => {
  let lab: Lab;
  let node: LabNode;
  let before: string[];
  let netns: ThrowawayNetns;

  beforeAll(async () => {
    lab = await Lab.up({ name: 'cnikills', nodes: 1, pods: 0 });
    node = lab.node(0);
    netns = throwawayNetns();
    // What the first container of a node brings with it for good.
    await added();
    await deleted();
    before = hostState(node.netns);
  });
  afterAll(async () => {
    netns?.remove();
    await lab?.down();
  });
  const tracers: ChildProcess[] = [];
  afterEach(() => {
    for (const tracer of tracers.splice(0)) tracer.kill('SIGKILL');
  });

  const call = () => ({ containerId: CONTAINER, netns: netns.path });
  const added = async () => expect(await callPlugin(node, 'ADD', call())).toMatchObject({ exitCode: 0 });
  const deleted = async () =>
    expect(await callPlugin(node, 'DEL', call())).toMatchObject({ exitCode: 0, text: '' });
  const collected = async () =>
    expect(
      await callPlugin(node, 'GC', { containerId: '', config: { 'cni.dev/valid-attachments': [] } }),
    ).toMatchObject({ exitCode: 0 });

  function attachments(): unknown[] {
    const text = readFileSync(join(node.folder, 'state', 'attachments.json'), 'utf8');
    return JSON.parse(text.slice(text.indexOf('\n'))).attachments;
  }

  async function nothingLeft(step: string): Promise<void> {
    const queue = join(node.folder, 'state', 'cni-deletes');
    await expect.poll(() => readdirSync(queue), { message: step, timeout: 30_000 }).toEqual([]);
    await expect
      .poll(() => hostState(node.netns), { message: step, timeout: 30_000, interval: 100 })
      .toEqual(before);
    expect(attachments(), step).toEqual([]);
    // The agent may be writing something else just now.
    const unfinished = () => readdirSync(join(node.folder, 'state')).filter((name) => name.endsWith('.tmp'));
    await expect.poll(unfinished, { message: step, timeout: 30_000 }).toEqual([]);
    expect(netns.run('ip', '-oneline', 'link').trim().split('\n'), step).toHaveLength(1);
  }

  /** Calls `attempt` with 1, 2, ... until it says that nobody was killed; how often somebody was. */
  async function eachStep(attempt: (nth: number) => Promise<boolean>): Promise<number> {
    for (let nth = 1; nth <= MAX_STEPS; nth++) if (!(await attempt(nth))) return nth - 1;
    throw new Error(`more than ${MAX_STEPS} steps`);
  }

  test.each(['ADD', 'DEL'])('the plugin, in %s', { timeout: 180_000 }, async (command) => {
    const kills: Record<string, number> = {};
    for (const name of PLUGIN_CALLS) {
      kills[name] = await eachStep(async (nth) => {
        if (command === 'DEL') await added();
        const { exitCode } = await callPlugin(node, command, { ...call(), under: killingAt(name, nth) });
        // What was asked of the agent by then it does, and undoes where nobody waits for it, or it is not there; a request that is
        // read only after this finds that nobody waits.
        await (nth % 2 === 0 ? deleted() : collected());
        await nothingLeft(`${command}, ${name} ${nth}`);
        return exitCode === null;
      });
    }
    expect(kills).toMatchObject({ connect: 1, exit_group: 1 });
    expect(kills.write! + kills.writev!).toBeGreaterThan(0);
  });

  test('the plugin, in a DEL without an agent', { timeout: 180_000 }, async () => {
    const kills: Record<string, number> = {};
    for (const name of ['connect', 'openat', 'fsync', 'exit_group']) {
      kills[name] = await eachStep(async (nth) => {
        await added();
        await node.kill('SIGKILL');
        // The files that Node opens at its start come before its own.
        const at = name === 'openat' ? nth + 12 : nth;
        const { exitCode } = await callPlugin(node, 'DEL', { ...call(), under: killingAt(name, at) });
        // A runtime repeats what has failed, before or after the agent's start.
        if (exitCode === null && nth % 2 === 0) await deleted();
        node.start();
        await lab.ready();
        if (exitCode === null && nth % 2 === 1) await deleted();
        await nothingLeft(`DEL, ${name} ${at}`);
        return exitCode === null;
      });
    }
    expect(kills).toMatchObject({ connect: 2, fsync: 1, exit_group: 1 });
  });

  test.each(['ADD', 'DEL'])('the agent, in %s', { timeout: 400_000 }, async (command) => {
    const kills: Record<string, number> = {};
    for (const name of AGENT_CALLS) {
      kills[name] = await eachStep(async (nth) => {
        if (command === 'DEL') await added();
        const [program, ...options] = killingAt(name, nth);
        const tracer = spawn(program!, [...options, '-p', String(node.pid)], {
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        tracers.push(tracer);
        const ended = once(tracer, 'close');
        await once(tracer.stderr!, 'data');
        const { exitCode, json } = await callPlugin(node, command, call());
        // Its process is there for a moment after it has ended.
        const answers = async () => (await callPlugin(node, 'STATUS', { containerId: '' })).exitCode === 0;
        const wasAlive = await answers();
        if (wasAlive) tracer.kill('SIGINT');
        await ended;
        // Until then whatever the agent does by itself may be the call that it is killed at.
        const isAlive = wasAlive && (await answers());
        // An answer that was on its way is as good as one.
        if (exitCode !== 0) expect(json.code).toBe(11);
        if (isAlive) {
          await deleted();
        } else {
          if (command === 'ADD' && nth % 2 === 0) await deleted();
          await node.kill('SIGKILL');
          node.start();
          await lab.ready();
          if (command === 'ADD' && nth % 2 === 1) await (nth % 4 === 1 ? deleted() : collected());
        }
        await nothingLeft(`${command}, ${name} ${nth}`);
        return !isAlive;
      });
    }
    expect(kills.sendto).toBeGreaterThan(command === 'ADD' ? 5 : 0);
    expect(kills.rename).toBeGreaterThan(0);
  });
});
