/**
 * The network namespace that a thread is in: its own, and for moments another. All that runs inside is synchronous:
 * nothing else of the thread may run there, and nothing may be started there that stays.
 */
import { closeSync, openSync } from 'node:fs';
import { WarrenError } from '../../errors.ts';
import { SysError } from '../../sys/errors.ts';
import { enterNetworkNamespace } from '../../sys/namespaces.ts';
import { NAMESPACE_HINT } from '../command.ts';
import { isNetns } from '../netns.ts';

export class ThreadNamespace {
  /** The thread's own namespace. Node closes what a thread opened when the thread ends. */
  readonly #home: number;

  constructor() {
    this.#home = openSync('/proc/thread-self/ns/net', 'r');
  }

  /** Calls `work` inside of the namespace open as `fd`; undefined: where the thread is at home. */
  inside<T>(fd: number | undefined, work: () => T): T {
    if (fd === undefined) return work();
    enterNetworkNamespace(fd);
    try {
      return work();
    } finally {
      this.return();
    }
  }

  /** Brings the thread home. Where that fails, it ends here and now: it must not go on in another's namespace. */
  return(): void {
    try {
      enterNetworkNamespace(this.#home);
    } catch (error) {
      console.error('warren: the namespace thread cannot return to its own network namespace:', error);
      process.exit(1);
    }
  }
}

/**
 * Opens the network namespace at `path`; the caller closes it with `closeSync`.
 * Throws POD_NETNS_MISSING if there is none.
 */
export function openNetns(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (error) {
    throw missing(path, error);
  }
  // Looked at by its descriptor's own path: the file may be another one by now.
  if (isNetns(`/proc/self/fd/${fd}`)) return fd;
  closeSync(fd);
  throw missing(path, undefined);
}

/** A refusal to enter the namespace at `path`, as what a person has to act on. */
export function enterProblem(path: string, error: unknown): unknown {
  if (!(error instanceof SysError) || error.call !== 'setns') return error;
  if (error.code === 'EINVAL') return missing(path, error);
  return new WarrenError(
    'POD_NETNS_FORBIDDEN',
    `cannot enter the network namespace ${path}: ${error.message}`,
    {
      hint: NAMESPACE_HINT,
      cause: error,
    },
  );
}

function missing(path: string, cause: unknown): WarrenError {
  return new WarrenError('POD_NETNS_MISSING', `"${path}" is not the path of a network namespace`, {
    hint: 'Give an absolute path such as /run/netns/NAME (of `ip netns add NAME`) or /proc/PID/ns/net.',
    cause,
  });
}
