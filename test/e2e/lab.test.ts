/** The lab itself: up and down, again after everything was killed, two at once; and the demo on it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { type CommandResult, runCommand } from '../../src/lab/command.ts';
import type { DemoReport } from '../../src/lab/demo.ts';
import { Lab } from '../../src/lab/lab.ts';
import { labFolder } from '../../src/lab/names.ts';
import { identifyProcess, type ProcessId, signalProcess, waitForExit } from '../../src/lab/process.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';
import { PATIENTLY } from '../helpers/overlay-endpoints.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

// Names of this file's own, so that a lab or a demo that somebody has standing is left alone.
const FIRST = 'labtest';
const SECOND = 'labtwo';

function warren(...args: string[]): Promise<CommandResult> {
  return runCommand([process.execPath, WARREN_PROGRAM, ...args], { timeoutMs: 120_000 });
}

/** Namespaces in /run/netns that belong to the lab `name`. */
function namespacesOf(name: string): string[] {
  if (!existsSync('/run/netns')) return [];
  return readdirSync('/run/netns').filter(
    (entry) => entry.startsWith(`warrenlab-${name}-`) || entry.startsWith(`warren-${name}-`),
  );
}

function expectNothingLeft(name: string, agents: readonly ProcessId[] = []): void {
  expect(namespacesOf(name)).toEqual([]);
  expect(existsSync(labFolder(name))).toBe(false);
  expect(agents.filter(({ pid }) => identifyProcess(pid) !== undefined)).toEqual([]);
}

function agentsOf(lab: Lab): ProcessId[] {
  return lab.nodes.map((node) => identifyProcess(node.pid!)!);
}

/** Every pod of `from` reaches every pod of `to`, in both families. */
async function expectPodsReach(lab: Lab, from: number, to: number): Promise<void> {
  const targets = (await lab.node(to).client().pods()).flatMap((pod) => pod.addresses);
  expect(targets.length).toBeGreaterThan(0);
  for (const { name } of await lab.node(from).client().pods()) {
    const pod = await lab.pod(from, name);
    for (const target of targets) {
      const { code, stdout, stderr } = await pod.exec(['ping', '-c1', ...PATIENTLY, target]);
      expect(code, `${lab.name}: ${name} to ${target}\n${stdout}${stderr}`).toBe(0);
    }
  }
}

describeUnless(lacking('root', 'ip', 'ping', 'nsenter'), 'a lab', () => {
  afterEach(async () => {
    await Promise.all([Lab.remove(FIRST), Lab.remove(SECOND)]);
  });

  test('comes up by command, runs commands in nodes and pods, and goes without a trace', async () => {
    const up = await warren('lab', 'up', '--nodes', '2', '--pods', '1', '--name', FIRST);
    expect(up, up.stderr).toMatchObject({ code: 0, stderr: '' });
    const lab = Lab.open(FIRST);
    const agents = agentsOf(lab);
    expect(agents).toHaveLength(2);
    await expectPodsReach(lab, 0, 1);

    const status = await warren('lab', 'status', '--name', FIRST);
    expect(status.stdout).toMatch(
      new RegExp(`^${FIRST}-b +pid ${agents[1]!.pid} +192\\.0\\.2\\.2 +10\\.42\\.`, 'm'),
    );
    const inNode = await warren(
      'lab',
      'exec',
      '--name',
      FIRST,
      `${FIRST}-a`,
      '--',
      'ip',
      '-brief',
      'address',
    );
    expect(inNode.stdout).toMatch(/^eth0\S* .*192\.0\.2\.1\/24/m);
    const inPod = await warren('lab', 'exec', '--name', FIRST, `${FIRST}-a`, '--pod', 'pod-1', '--', 'false');
    expect(inPod.code).toBe(1);

    const again = await warren('lab', 'up', '--name', FIRST);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain(`a lab called ${FIRST} stands already`);
    expect(agents.every(({ pid }) => identifyProcess(pid) !== undefined)).toBe(true);

    const down = await warren('lab', 'down', '--name', FIRST);
    expect(down, down.stderr).toMatchObject({ code: 0, stderr: '' });
    expectNothingLeft(FIRST, agents);
    expect((await warren('lab', 'down', '--name', FIRST)).code).toBe(0);
    const gone = await warren('lab', 'status', '--name', FIRST);
    expect(gone.code).toBe(1);
    expect(gone.stderr).not.toContain('    at ');
  });

  test.each([
    ['lab', 'up', '--nodes', '0'],
    ['lab', 'up', '--name', 'not-a-name'],
    ['lab', 'up', '--underlay', 'ipx'],
    ['lab', 'exec', 'node-z', '--name', SECOND, '--', 'true'],
  ])('refuses `warren %s %s %s %s`', async (...args) => {
    const { code, stdout, stderr } = await warren(...args);
    expect(code).not.toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^warren: /);
    expect(stderr).not.toContain('    at ');
    expectNothingLeft(SECOND);
  });

  test('comes up again after the command and all agents were killed', async () => {
    const first = await startLab(FIRST, 'lab', 'up');
    const orphans = await killOwner(first);
    for (const agent of orphans) {
      signalProcess(agent, 'SIGKILL');
      await waitForExit(agent, 5_000);
    }
    const lab = await Lab.up({ name: FIRST, nodes: 2, pods: 1 });
    await expectPodsReach(lab, 1, 0);
    const agents = agentsOf(lab);
    await lab.down();
    await lab.down();
    expectNothingLeft(FIRST, agents);
  });

  test('comes up again after the command was killed and its agents live on', async () => {
    const first = await startLab(FIRST, 'lab', 'up');
    const orphans = await killOwner(first);
    expect(orphans.length).toBeGreaterThan(0);
    const lab = await Lab.up({ name: FIRST, nodes: 2, pods: 1 });
    expect(orphans.filter((id) => identifyProcess(id.pid)?.startTime === id.startTime)).toEqual([]);
    await expectPodsReach(lab, 0, 1);
    await lab.down();
    expectNothingLeft(FIRST);
  });

  test('tears down what there is when it is interrupted', async () => {
    const command = await startLab(FIRST, 'lab', 'up');
    const exit = once(command, 'exit');
    command.kill('SIGINT');
    expect(await exit).toEqual([130, null]);
    expectNothingLeft(FIRST);
  });

  test('two at once do not see each other, and one can go while the other stays', async () => {
    const [one, two] = await Promise.all([
      Lab.up({ name: FIRST, nodes: 2, pods: 1 }),
      Lab.up({ name: SECOND, nodes: 2, pods: 1, underlay: 'ipv6', sealed: false }),
    ]);
    await expectPodsReach(one, 0, 1);
    await expectPodsReach(two, 0, 1);
    for (const lab of [one, two]) {
      const names = (await lab.node(0).client().peers()).map((peer) => peer.name);
      expect(names).toEqual([lab.node(1).name]);
    }
    await one.down();
    expectNothingLeft(FIRST);
    await expectPodsReach(two, 1, 0);
    await two.down();
    expectNothingLeft(SECOND);
  });

  test('says which agent did not come up, and why, and leaves nothing', async () => {
    const up = Lab.up({
      name: FIRST,
      nodes: 2,
      config: (node) => (node.name.endsWith('-b') ? { tun: { mtu: 17 } } : {}),
    });
    await expect(up).rejects.toMatchObject({
      code: 'LAB_AGENT_ENDED',
      message: expect.stringMatching(new RegExp(`agent of ${FIRST}-b has ended.*\\n(.*\\n)*.*mtu`)),
    });
    expectNothingLeft(FIRST);
  });
});

describeUnless(lacking('root', 'setpriv'), 'the demo as another user than root', () => {
  const asNobody = (...argv: string[]) =>
    runCommand(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, ...argv]);

  test.each([
    ['npm run demo', ['scripts/setup.mjs', '--system', 'demo'], /the demo needs root.*network namespaces/],
    ['warren demo', [WARREN_PROGRAM, 'demo'], /root/],
  ])('%s says that it needs root', async (_what, argv, message) => {
    const { code, stdout, stderr } = await asNobody(...argv);
    expect(stderr, stdout).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });
});

describeUnless(lacking('root', 'ip', 'ping', 'nsenter', 'iperf3'), 'the demo', () => {
  afterEach(async () => {
    await Lab.remove(FIRST);
  });

  test('reaches all pairs, measures, and leaves nothing', async () => {
    const { code, stdout, stderr } = await warren('demo', '--name', FIRST, '--json');
    expect(code, stderr).toBe(0);
    const report = JSON.parse(stdout) as DemoReport;
    expect(report.ok).toBe(true);
    expect(report.nodes.map((node) => node.pods.length)).toEqual([2, 2, 2]);
    expect(new Set(report.nodes.flatMap((node) => node.subnets)).size).toBe(6);
    expect(report.tcp.bitsPerSecond).toBeGreaterThan(1e6);
    expectNothingLeft(FIRST);
  });

  test('runs again after it was killed, and shows both matrices', async () => {
    await killOwner(await startLab(FIRST, 'demo'));
    const { code, stdout, stderr } = await warren('demo', '--name', FIRST);
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toMatch(/^IPv4, ms/m);
    expect(stdout).toMatch(/^IPv6, ms/m);
    expect(stdout).toContain('All 144 pairs reach each other');
    expect(stdout).toMatch(/[\d.]+ Gbit\/s TCP/);
    expectNothingLeft(FIRST);
  });
});

/** Starts a command that builds a lab and returns once that has an agent, which is well before it is done. */
async function startLab(name: string, ...command: string[]): Promise<ChildProcess> {
  const args = [WARREN_PROGRAM, ...command, '--name', name, '--nodes', '3'];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  while (runningAgents(name).length === 0) {
    if (child.exitCode !== null) throw new Error(`${command.join(' ')} ended with code ${child.exitCode}`);
    await delay(5);
  }
  return child;
}

/** Kills the command as an out-of-memory killer would; answers the agents it leaves. */
async function killOwner(command: ChildProcess): Promise<ProcessId[]> {
  const exit = once(command, 'exit');
  command.kill('SIGKILL');
  await exit;
  return runningAgents(FIRST);
}

function runningAgents(name: string): ProcessId[] {
  try {
    return Lab.open(name).nodes.flatMap(({ pid }) => (pid === undefined ? [] : (identifyProcess(pid) ?? [])));
  } catch {
    return [];
  }
}
