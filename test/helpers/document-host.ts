/**
 * A host as the documentation's reader has it: a node of a lab with a name, /etc, /var/lib and /run of its own, where
 * `warren` is in the PATH. Commands run there as they are written, by a shell.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, runCommand, startCommand } from '../../src/lab/command.ts';
import { WARREN_PROGRAM } from '../../src/lab/program.ts';

/** What a shell must do first in its mount namespace, before it says that it is ready. */
const SET_UP = `
set -e
mount --make-rprivate /
echo "$1" > /proc/sys/kernel/hostname
for folder in /etc/warren /etc/netns /var/lib /run; do mkdir -p $folder; mount -t tmpfs none $folder; done
mkdir -p /run/netns /var/lib/warren /etc/warren
echo ready
exec sleep 3600
`;

export class DocumentHost {
  readonly name: string;
  readonly #keeper: ChildProcess;
  readonly #bin: string;
  /** What runs in the foreground, in a terminal of its own. Bounded by the documents. */
  readonly #agents: ChildProcess[] = [];

  private constructor(name: string, keeper: ChildProcess, bin: string) {
    this.name = name;
    this.#keeper = keeper;
    this.#bin = bin;
  }

  /** A host called `name` in the network namespace at the path `netns`. */
  static async start(name: string, netns: string): Promise<DocumentHost> {
    const bin = mkdtempSync(join(tmpdir(), 'warren-document-host-'));
    writeFileSync(join(bin, 'warren'), `#!/bin/sh\nexec '${process.execPath}' '${WARREN_PROGRAM}' "$@"\n`);
    chmodSync(join(bin, 'warren'), 0o755);
    const unshare = ['unshare', '--mount', '--uts', 'sh', '-c', SET_UP, 'sh', name];
    const keeper = spawn('nsenter', [`--net=${netns}`, '--', ...unshare], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(keeper, 'exit').then(() =>
      Promise.reject(new Error(`the host ${name} did not start`)),
    );
    await Promise.race([once(keeper.stdout!, 'data'), ended]);
    ended.catch(() => {});
    return new DocumentHost(name, keeper, bin);
  }

  writeFile(path: string, text: string): Promise<CommandResult> {
    return this.run(`mkdir -p "$(dirname ${path})" && printf %s "$TEXT" > ${path}`, { TEXT: text });
  }

  async readFile(path: string): Promise<string> {
    return (await this.run(`cat ${path}`)).stdout;
  }

  /** Runs a line as a shell on this host would. */
  run(line: string, env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
    return runCommand(this.#argv(line), { env: this.#env(env), timeoutMs: 60_000 });
  }

  /** Starts a line that stays in the foreground. */
  startInTerminal(line: string): void {
    this.#agents.push(startCommand(this.#argv(`exec ${line}`), { stdio: 'ignore', env: this.#env({}) }));
  }

  /** Ctrl-C in every such terminal; resolves to the exit codes. */
  interrupt(): Promise<(number | null)[]> {
    for (const child of this.#agents) child.kill('SIGINT');
    return this.ended();
  }

  /** The exit codes of what ran in the foreground, once all of it has ended. */
  ended(): Promise<(number | null)[]> {
    return Promise.all(
      this.#agents.splice(0).map(async (child) => {
        if (child.exitCode !== null) return child.exitCode;
        return (await once(child, 'exit'))[0] as number | null;
      }),
    );
  }

  async stop(): Promise<void> {
    await this.interrupt();
    const exit = once(this.#keeper, 'exit');
    this.#keeper.kill('SIGKILL');
    await exit;
    rmSync(this.#bin, { recursive: true });
  }

  #argv(line: string): string[] {
    const where = ['--target', String(this.#keeper.pid), '--net', '--mount', '--uts'];
    return ['nsenter', ...where, '--', 'sh', '-c', line];
  }

  #env(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
    return { ...process.env, PATH: `${this.#bin}:${process.env.PATH}:/usr/sbin:/sbin`, ...extra };
  }
}
