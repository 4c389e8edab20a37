/** Ctrl-C and its kin, as something that work can be told and can be waited for. */

/** Exit code of a program that a signal ended: 128 + its number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

type Interruption = keyof typeof EXIT_CODES;

export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: Interruption) {
    super(`stopped by ${signal}`);
    this.exitCode = EXIT_CODES[signal];
  }
}

/**
 * Runs `work` with an AbortSignal that the first SIGINT, SIGTERM or SIGHUP aborts, its reason Interrupted.
 * `work` decides when to stop; none of the signals ends this process before it has, so that it can clean up.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const names = Object.keys(EXIT_CODES) as Interruption[];
  const onSignal = (name: Interruption): void => controller.abort(new Interrupted(name));
  for (const name of names) process.on(name, onSignal);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of names) process.off(name, onSignal);
  }
}

/** `promise`, or the signal's reason as soon as it is aborted. */
export async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort: () => void = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
