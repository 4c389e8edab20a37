/** Runs the warren command inside of the test's own process, and keeps what it writes. */

import { runCli } from '../../src/cli/main.ts';
import type { CliIo, Output } from '../../src/terminal/io.ts';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliSetup {
  readonly env?: Record<string, string>;
  readonly isTerminal?: boolean;
  readonly columns?: number;
  /** Called with all of standard output after each write; aborting `interrupt` is Ctrl-C. */
  readonly onOutput?: (stdout: string, interrupt: AbortController) => void;
}

export async function cli(argv: readonly string[], setup: CliSetup = {}): Promise<CliResult> {
  const written = { stdout: '', stderr: '' };
  const interrupt = new AbortController();
  const output = (name: 'stdout' | 'stderr'): Output => ({
    isTerminal: setup.isTerminal ?? false,
    columns: setup.columns ?? 120,
    write(text) {
      written[name] += text;
      if (name === 'stdout') setup.onOutput?.(written.stdout, interrupt);
    },
  });
  const io: CliIo = {
    stdout: output('stdout'),
    stderr: output('stderr'),
    env: setup.env ?? {},
    interruptSignal: () => interrupt.signal,
  };
  return { code: await runCli(argv, io), ...written };
}
