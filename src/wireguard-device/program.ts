/**
 * The program that takes the place of wireguard-go: its arguments, its environment, its life. Without --foreground it starts
 * itself anew in the background and returns once that has its device, so that whoever called goes on to configure it.
 *
 *     WG_PROCESS_FOREGROUND=1   as --foreground
 *     WG_TUN_FD, WG_UAPI_FD     descriptors of a TUN device and of a socket that listens, to use instead of new ones
 *     LOG_LEVEL                 verbose (or debug), error, silent; where it is set, the background process says so on the
 *                               standard error of the one that started it
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { errorMessage, WarrenError } from '../errors.ts';
import { builtFile, VERSION } from '../package.ts';

/** The background process tells here that its device is ready, or why it is not. */
const READY_VARIABLE = 'WARREN_WIREGUARD_READY_FD';
const READY = 'ready';
const [TUN_FD, UAPI_FD, READY_FD] = [3, 4, 5];
const USAGE = 'usage: warren-wireguard [-f/--foreground] INTERFACE\n       warren-wireguard --version\n';

type Environment = Readonly<Record<string, string | undefined>>;

export interface ProgramIo {
  readonly env: Environment;
  out(text: string): void;
  err(text: string): void;
}

export type ProgramArguments =
  | { readonly kind: 'version' }
  | { readonly kind: 'usage' }
  | { readonly kind: 'run'; readonly name: string; readonly foreground: boolean };

export function parseArguments(argv: readonly string[], env: Environment): ProgramArguments {
  if (argv.length === 1 && argv[0] === '--version') return { kind: 'version' };
  const asksForeground = argv[0] === '-f' || argv[0] === '--foreground';
  const [name, ...more] = asksForeground ? argv.slice(1) : argv;
  if (name === undefined || name.startsWith('-') || more.length > 0) return { kind: 'usage' };
  return { kind: 'run', name, foreground: asksForeground || env.WG_PROCESS_FOREGROUND === '1' };
}

/** Gives the exit code. Never throws. */
export async function runProgram(argv: readonly string[], io: ProgramIo): Promise<number> {
  const parsed = parseArguments(argv, io.env);
  if (parsed.kind === 'version') {
    io.out(`warren-wireguard ${VERSION}\n`);
    return 0;
  }
  if (parsed.kind === 'usage') {
    io.err(USAGE);
    return 2;
  }
  try {
    if (!parsed.foreground) await startInBackground(parsed.name, io.env);
    else await runInForeground(parsed.name, io.env);
    return 0;
  } catch (error) {
    // Whoever started this in the background says it.
    if (parsed.foreground && io.env[READY_VARIABLE] !== undefined) return 1;
    io.err(`warren-wireguard: ${errorMessage(error)}\n`);
    if (error instanceof WarrenError && error.hint !== undefined) io.err(`${error.hint}\n`);
    return 1;
  }
}

async function runInForeground(name: string, env: Environment): Promise<void> {
  const readyFd = descriptor(env, READY_VARIABLE);
  const tell = (text: string): void => {
    if (readyFd === undefined) return;
    try {
      writeSync(readyFd, text);
      closeSync(readyFd);
    } catch {
      // Whoever waited has gone.
    }
  };
  let isReady = false;
  try {
    const tunFd = descriptor(env, 'WG_TUN_FD');
    const uapiFd = descriptor(env, 'WG_UAPI_FD');
    const { runDevice } = await import('./run.ts');
    const { createLog } = await import('../log/logger.ts');
    const { openStandardError } = await import('../sys/standard-error.ts');
    const log = createLog({ level: logLevel(env), format: 'text' }, openStandardError());
    process.once('exit', () => log.flush(100));
    await runDevice({
      ...{ name, tunFd, uapiFd, log: log.logger },
      onReady: () => {
        isReady = true;
        tell(READY);
      },
    });
  } catch (error) {
    if (!isReady) tell(errorMessage(error));
    throw error;
  }
}

/** Returns once the device is ready. Throws WIREGUARD_DEVICE_FAILED with what the background process says. */
async function startInBackground(name: string, env: Environment): Promise<void> {
  const isLogged = (env.LOG_LEVEL ?? '') !== '' && env.LOG_LEVEL !== 'silent';
  const handed = (variable: string) => descriptor(env, variable) ?? 'ignore';
  const tun = handed('WG_TUN_FD');
  const uapi = handed('WG_UAPI_FD');
  const output = isLogged ? 'inherit' : 'ignore';
  const stdio: StdioOptions = ['ignore', output, output, tun, uapi, 'pipe'];
  const child = spawn(
    process.execPath,
    [...process.execArgv, builtFile('bin/warren-wireguard'), '--foreground', name],
    {
      detached: true,
      stdio,
      env: {
        ...env,
        WG_PROCESS_FOREGROUND: '1',
        ...(tun !== 'ignore' && { WG_TUN_FD: String(TUN_FD) }),
        ...(uapi !== 'ignore' && { WG_UAPI_FD: String(UAPI_FD) }),
        [READY_VARIABLE]: String(READY_FD),
      },
    },
  );
  const answer = await saidBy(child);
  child.unref();
  if (answer === READY) return;
  throw new WarrenError(
    'WIREGUARD_DEVICE_FAILED',
    answer || `the process of ${name} has ended before it had its device`,
  );
}

async function saidBy(child: ChildProcess): Promise<string> {
  const pipe = child.stdio[READY_FD] as Readable;
  let text = '';
  await new Promise<void>((resolve) => {
    child.on('error', (error) => {
      text = errorMessage(error);
      resolve();
    });
    pipe.setEncoding('utf8');
    pipe.on('data', (chunk: string) => {
      text += chunk;
    });
    pipe.on('close', resolve);
    pipe.on('error', () => resolve());
  });
  pipe.destroy();
  return text;
}

/** Throws WIREGUARD_DEVICE_FAILED if it is no number. */
function descriptor(env: Environment, variable: string): number | undefined {
  const text = env[variable] ?? '';
  if (text === '') return undefined;
  if (!/^\d{1,9}$/.test(text))
    throw new WarrenError('WIREGUARD_DEVICE_FAILED', `${variable}=${text} is no descriptor`);
  return Number(text);
}

function logLevel({ LOG_LEVEL }: Environment): 'debug' | 'info' | 'error' | 'silent' {
  if (LOG_LEVEL === 'verbose' || LOG_LEVEL === 'debug') return 'debug';
  if (LOG_LEVEL === 'info' || LOG_LEVEL === 'silent') return LOG_LEVEL;
  return 'error';
}
