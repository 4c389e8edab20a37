/** Runs a program in place of this one: on the same terminal, with its signals and its exit code. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { toolMissing } from '../host/command.ts';

const FORWARDED = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'] as const;

/**
 * Resolves with the program's exit code, or 128 and the signal's number where a signal ended it, as a shell
 * would. Throws TOOL_MISSING if `argv[0]` does not exist.
 */
export function runAttached(argv: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: 'inherit' });
    const forward = (signal: NodeJS.Signals) => child.kill(signal);
    // A terminal sends Ctrl-C to both; this process waits for what the program makes of it.
    const interrupt = process.stdin.isTTY ? () => {} : forward;
    for (const signal of FORWARDED) process.on(signal, forward);
    process.on('SIGINT', interrupt);
    process.on('SIGQUIT', interrupt);
    const settle = () => {
      for (const signal of FORWARDED) process.off(signal, forward);
      process.off('SIGINT', interrupt);
      process.off('SIGQUIT', interrupt);
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      settle();
      reject(error.code === 'ENOENT' ? toolMissing(argv[0]!, error) : error);
    });
    child.once('exit', (code, signal) => {
      settle();
      resolve(code ?? 128 + constants.signals[signal!]);
    });
  });
}
