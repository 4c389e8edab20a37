/**
 * Programs that a lab runs for somebody: their exit code is an answer, and some go on while the lab works.
 * (What the lab itself needs done goes through src/host/command.ts, where a failure is an error.)
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { WarrenError } from '../errors.ts';
import { toolMissing } from '../host/command.ts';

export interface CommandResult {
  /** Exit code; 128 + n when signal n ended it, as in a shell. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** After this long the program gets SIGKILL; default 60 s. */
  readonly timeoutMs?: number;
  /** Standard input; default none. */
  readonly input?: string;
  /** Default: this process's. */
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs `argv` to its end. A non-zero exit code is a result, not an error; throws TOOL_MISSING if there is
 * no such program. Output is collected whole: not for programs that talk without end.
 */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = startCommand(argv, {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
    ...(options.env ? { env: options.env } : {}),
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  // A program that ends without reading its input is judged by its exit code.
  child.stdin?.on('error', () => {});
  child.stdin?.end(options.input);
  const code = await exitCode(child, argv);
  return { code, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** Starts `argv` and hands out the child. Its `error` event must be handled; `exitCode` does. */
export function startCommand(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
  const [program, ...args] = argv;
  if (program === undefined) throw new WarrenError('LAB_COMMAND_EMPTY', 'no command was given');
  return spawn(program, args, options);
}

/** The exit code of a child, once it has ended and its output is read. */
export async function exitCode(child: ChildProcess, argv: readonly string[]): Promise<number> {
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? toolMissing(argv[0]!, error) : error),
    );
    child.on('close', (...result) => resolve(result));
  });
  return code ?? 128 + constants.signals[signal!];
}
