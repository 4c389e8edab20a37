/**
 * Runs the host's own programs: argument vectors, never a shell, with a time limit and bounded output.
 *
 * A network namespace is entered with `nsenter --net=PATH`, for named ones too: `ip -n` and `ip netns exec`
 * know only names under /run/netns, and both remount /sys, which a container may not let them.
 */
import { execFile } from 'node:child_process';
import { WarrenError } from '../errors.ts';

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/** A service's PATH often lacks the folders that `ip` and `sysctl` live in. */
export const SBIN = '/usr/local/sbin:/usr/sbin:/sbin';

/** Debian's package of each program that the agent and the CLI call. */
const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  nsenter: 'util-linux',
  unshare: 'util-linux',
  nft: 'nftables',
  'firewall-cmd': 'firewalld',
  ip6tables: 'iptables',
  'ip6tables-restore': 'iptables',
  'iptables-restore': 'iptables',
  ping: 'iputils-ping',
  tee: 'coreutils',
};

export interface InNetns {
  /** Path of the network namespace to act in, such as `/run/netns/blue`; default: this process's own. */
  readonly netns?: string | undefined;
}

export interface CommandOptions extends InNetns {
  readonly stdin?: string | undefined;
  /** Default 10 s; then the program is killed. */
  readonly timeoutMs?: number | undefined;
}

/** A program that ran and failed, or that ran too long. */
export class HostCommandError extends WarrenError {
  /** The whole command as text. */
  readonly command: string;
  /** Null if it was killed. */
  readonly exitCode: number | null;
  readonly stderr: string;

  constructor(command: string, exitCode: number | null, stderr: string, problem: string, cause: unknown) {
    const hint = hintFor(command, stderr);
    super('HOST_COMMAND_FAILED', `\`${command}\` failed: ${problem}`, {
      ...(hint === undefined ? {} : { hint }),
      cause,
    });
    this.command = command;
    this.exitCode = exitCode;
    this.stderr = stderr;
  }
}

/**
 * Runs `argv` to its end and gives its standard output.
 * Throws TOOL_MISSING if the program does not exist, HostCommandError if it fails.
 */
export function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const whole = argvInNetns(options.netns, argv);
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return new Promise<string>((resolve, reject) => {
    const child = execFile(
      whole[0]!,
      whole.slice(1),
      {
        timeout: timeoutMs,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT_BYTES,
        // The programs' messages are read here, so they must not be translated.
        env: { ...process.env, PATH: `${process.env.PATH ?? ''}:${SBIN}`, LC_ALL: 'C' },
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        // EACCES: not found, and a folder of the PATH is closed to this user.
        if (error.code === 'ENOENT' || error.code === 'EACCES') return reject(toolMissing(whole[0]!, error));
        if (error.code === 127 || /failed to execute .*No such file/.test(stderr)) {
          return reject(toolMissing(argv[0]!, error));
        }
        const exitCode = typeof error.code === 'number' ? error.code : null;
        const problem = error.killed ? `no answer within ${timeoutMs} ms` : meaning(stderr) || error.message;
        reject(new HostCommandError(whole.join(' '), exitCode, stderr, problem, error));
      },
    );
    // A program that ends before it has read everything closes the pipe; its exit code tells the rest.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.stdin ?? '');
  }).catch((error: unknown) => {
    // execve(2): the program's file has capabilities that this process may not have. Node throws that at once.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    const reason = 'Operation not permitted';
    throw new HostCommandError(whole.join(' '), null, reason, reason, error);
  });
}

/** `argv` as it is run in the network namespace at `netns` (a path); as it is where there is none. */
export function argvInNetns(netns: string | undefined, argv: readonly string[]): string[] {
  return netns === undefined ? [...argv] : ['nsenter', `--net=${netns}`, '--', ...argv];
}

export function toolMissing(program: string, cause?: unknown): WarrenError {
  const name = PACKAGES[program] ?? program;
  return new WarrenError('TOOL_MISSING', `the program ${program} is not installed`, {
    hint: `Install it; on Debian and Ubuntu: apt-get install ${name}`,
    cause,
  });
}

/** What a program's standard error says, on one line and without its preambles. */
function meaning(stderr: string): string {
  return stderr
    .split('\n')
    .map((line) => line.replace(/^(RTNETLINK answers|Error): /, '').trim())
    .filter((line) => line !== '' && !line.startsWith('Command failed -:'))
    .slice(0, 3)
    .join('; ');
}

function hintFor(command: string, stderr: string): string | undefined {
  if (!/Operation not permitted|Permission denied/.test(stderr)) return undefined;
  if (/(^| )ping /.test(command) && !/setns|reassociate to namespace/.test(stderr)) {
    return 'ping needs root, and in a container the capability NET_RAW (cap_add).';
  }
  if (/netns|setns|reassociate to namespace|unshare|mount/.test(stderr)) return NAMESPACE_HINT;
  return 'Run as root; in a container give it the capability NET_ADMIN (cap_add).';
}

/** What entering and making network namespaces takes. */
export const NAMESPACE_HINT =
  'Network namespaces need root and the capability CAP_SYS_ADMIN; in a container: ' +
  'cap_add: [SYS_ADMIN, NET_ADMIN] and, where AppArmor is on, security_opt: ["apparmor:unconfined"].';
