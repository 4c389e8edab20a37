/** A real agent whose log is not read: it goes on as if it were. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AgentClient } from '../../src/api/client.ts';
import { builtFile } from '../../src/package.ts';
import { describeUnless, lacking } from '../helpers/requirements.ts';

const SET_UP =
  'ip link add e0 type veth peer name e1 && ip address add 192.0.2.1/24 dev e0 && ip link set e0 up && ip link set e1 up';
/** Each is a line of the log when the file is read again: 100 KB or so in all. */
const MISTAKES = Array.from({ length: 1000 }, (_, i) => `mistake${i}: {}`).join('\n');
/** For what comes a moment later, be the machine busy. */
const WAIT = { timeout: 30_000, interval: 20 };
/** Far more than a pipe and the agent keep. */
const RELOADS = 30;

describeUnless(lacking('root', 'ip', 'unshare', 'sh'), "an agent's log", () => {
  let folder: string;
  let file: string;
  let shell: ChildProcess | undefined;
  let client: AgentClient;
  let pid: number | undefined;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'warren-log-test-'));
    file = join(folder, 'config.yaml');
    client = new AgentClient(join(folder, 'agent.sock'));
    writeConfig('');
  });
  afterEach(() => {
    if (pid !== undefined) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended, as it should.
      }
    }
    pid = undefined;
    // With all that it runs.
    if (shell?.pid !== undefined && shell.exitCode === null) process.kill(-shell.pid, 'SIGKILL');
    rmSync(folder, { recursive: true });
  });

  function writeConfig(more: string): void {
    const state = `stateDir: ${folder}/state, socket: ${folder}/agent.sock`;
    const underlay = 'underlay: {address: 192.0.2.1}';
    writeFileSync(
      file,
      `node: {name: log-test, ${state}}\ncluster: {podCidrs: [10.42.0.0/16]}\n${underlay}\n${more}`,
    );
  }

  /** With its standard error in a pipe that `reader` reads. */
  async function startAgent(reader: string): Promise<void> {
    const agent = `${process.execPath} ${builtFile('bin/warren')} agent -c ${file}`;
    // The agent's exit code is written down, as that of a pipeline is its last program's.
    const script = `${SET_UP} && { ${agent} 2>&1 >&3; echo $? > ${folder}/code; } 3>/dev/null | ${reader}`;
    shell = spawn('unshare', ['--net', '--', 'sh', '-c', script], { stdio: 'ignore', detached: true });
    const status = () => client.status().catch(() => undefined);
    await expect.poll(async () => (pid = (await status())?.node.pid), WAIT).toBeDefined();
  }

  const dropped = async () => (await client.status()).log.dropped;

  async function reloadMistakes(times: number): Promise<void> {
    writeConfig(MISTAKES);
    for (let i = 0; i < times; i++) {
      await expect(client.reload()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    }
  }

  test('that nobody takes does not block it, nor its end', async () => {
    await startAgent('sleep 100');
    await reloadMistakes(RELOADS);
    await expect.poll(dropped, WAIT).toBeGreaterThan(0);
    process.kill(pid!, 'SIGTERM');
    await expect.poll(() => isAlive(pid!), WAIT).toBe(false);
  });

  test('whose reader has gone does not end it', async () => {
    await startAgent('head -1');
    await reloadMistakes(3);
    await expect.poll(dropped, WAIT).toBeGreaterThan(0);
    const ended = once(shell!, 'exit');
    process.kill(pid!, 'SIGTERM');
    await ended;
    expect(isAlive(pid!)).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
