/** What shells complete: every command and option that there is, names that the agent knows, in real shells. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ApiServer, startApiServer } from '../../../src/api/server.ts';
import { candidatesFor, LIVE_ARGUMENTS, pathOf } from '../../../src/cli/completion/candidates.ts';
import { buildProgram } from '../../../src/cli/main.ts';
import { silentLogger } from '../../../src/log/logger.ts';
import { builtFile } from '../../../src/package.ts';
import { cli } from '../../helpers/cli.ts';
import { FakeAgent, fakePeers } from '../../helpers/fake-agent.ts';

const quiet = { write: () => {}, isTerminal: false, columns: 100 };
const io = { stdout: quiet, stderr: quiet, env: {}, interruptSignal: () => new AbortController().signal };

let folder: string;
let socket: string;
let agent: FakeAgent;
let server: ApiServer;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'warren-completion-test-'));
  socket = join(folder, 'agent.sock');
  agent = new FakeAgent();
  const options = { path: socket, gid: undefined, model: agent, commands: agent, log: silentLogger };
  server = await startApiServer(options);
  // The first question loads what answers it, which on a busy machine takes longer than a prompt waits.
  await cli(['pods', '-s', socket]);
});
afterEach(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

function withAll(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withAll)];
}

async function complete(...words: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await cli(['completion', 'bash', '--', ...words], {
    env: { WARREN_SOCKET: socket },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

describe('candidates', () => {
  it('are all commands and options that there are', async () => {
    const program = await buildProgram({ io, exitCode: 0 }, []);
    const words = async (line: string[]) =>
      (await candidatesFor(program, line, async () => [])).map(({ word }) => word);
    for (const command of withAll(program)) {
      const path = pathOf(command).split(' ').filter(Boolean);
      expect(await words([...path, ''])).toEqual(
        expect.arrayContaining(command.commands.map((one) => one.name())),
      );
      expect(await words([...path, '-'])).toEqual(
        expect.arrayContaining(command.options.map((one) => one.long ?? one.short)),
      );
    }
  });

  it('name live arguments only of commands that there are', async () => {
    const program = await buildProgram({ io, exitCode: 0 }, []);
    const taking = withAll(program).filter((one) => one.registeredArguments.length > 0);
    expect(taking.map(pathOf)).toEqual(
      expect.arrayContaining(Object.keys(LIVE_ARGUMENTS).map((key) => key.replace(/ \d$/, ''))),
    );
  });

  it('are the names that the agent knows', async () => {
    expect(await complete('exec', 'w')).toEqual(['web']);
    expect(await complete('pod', 'rm', '')).toEqual(agent.podReports.map(({ name }) => name));
    expect(await complete('pod', 'remove', 'w')).toEqual(['web']);
    expect(await complete('forget', '--json', '')).toEqual(['node-b']);
    expect(await complete('node', 'revoke', '')).toEqual(['b2'.repeat(16)]);
  });

  it('are the pods and nodes of both ends of a trace', async () => {
    const ends = ['web.node-a', 'db.node-b', 'node:node-a', 'node:node-b'];
    expect(await complete('trace', '')).toEqual(ends);
    expect(await complete('trace', 'web.node-a', '--tcp', '80', '')).toEqual(ends);
    expect(await complete('trace', 'web.node-a', 'db.node-b', '')).toEqual([]);
  });

  it('are the names that the agent knows for what an option takes', async () => {
    expect(await complete('capture', '--pod', 'w')).toEqual(['web']);
    expect(await complete('capture', '-w', 'x', '--pod', '')).toEqual(['web', 'db']);
    expect(await complete('capture', '--peer', '')).toEqual(['node-b']);
    expect(await complete('capture', '--drop-reason', 'inbound-')).toEqual(['inbound-unknown-source']);
    expect(await complete('capture', '--side', '')).toEqual(['inner', 'outer', 'dropped']);
  });

  it('leave out names that a shell would read otherwise', async () => {
    agent.peerReports = [
      { ...fakePeers[0]!, name: '$(reboot)' },
      { ...fakePeers[0]!, name: '-rf' },
    ];
    expect(await complete('forget', '')).toEqual([]);
  });

  it('are none for the value of an option, for what exec runs, and after the last argument', async () => {
    expect(await complete('forget', '--socket', '')).toEqual([]);
    expect(await complete('exec', 'web', '--', '-')).toEqual([]);
    expect(await complete('exec', 'web', '-')).toEqual([]);
    expect(await complete('exec', 'web', '')).toEqual([]);
  });

  it('are none, and no error, without an agent', async () => {
    await server.close();
    expect(await complete('exec', '')).toEqual([]);
    expect(await complete('exec', '--socket', join(folder, 'none.sock'), '')).toEqual([]);
    server = await startApiServer({
      path: socket,
      gid: undefined,
      model: agent,
      commands: agent,
      log: silentLogger,
    });
  });
});

const built = builtFile('bin/warren');
const isBuilt = statSync(built, { throwIfNoEntry: false }) !== undefined;

/** Prints what the shell makes of a line, one candidate a line. */
const DRIVERS = {
  bash: `source <(warren completion bash); COMP_WORDS=(warren exec w); COMP_CWORD=2; _warren; printf '%s\\n' "\${COMPREPLY[@]}"`,
  zsh: `compdef() { :; }; _describe() { print -l -- "\${(@P)2}"; }; source <(warren completion zsh); words=(warren exec w); CURRENT=3; _warren`,
  fish: `warren completion fish | source; complete -C 'warren exec w'`,
} as const;

for (const [shell, driver] of Object.entries(DRIVERS)) {
  const why = !isBuilt
    ? 'needs npm run build'
    : spawnSync(shell, ['--version']).error !== undefined
      ? `needs ${shell}`
      : '';
  describe.skipIf(why !== '')(`in ${shell}${why ? ` (skipped: ${why})` : ''}`, () => {
    it('completes a part of a name', async () => {
      const bin = join(folder, 'bin');
      mkdirSync(bin);
      const script = `#!/bin/sh\nexec '${process.execPath}' '${built}' "$@"\n`;
      writeFileSync(join(bin, 'warren'), script, { mode: 0o755 });
      const { stdout, stderr } = await promisify(execFile)(shell, ['-c', driver], {
        env: { PATH: `${bin}:${process.env.PATH}`, HOME: folder, WARREN_SOCKET: socket },
      });
      expect(stderr).toBe('');
      expect(stdout.trimEnd().split(/[\t:\n]/)[0]).toBe('web');
    });
  });
}
