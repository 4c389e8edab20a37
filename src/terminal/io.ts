/** Where a command writes and what it may ask of its surroundings: the process's own, or a test's. */

export interface Output {
  write(text: string): void;
  /** Colours and redrawing are for terminals. */
  readonly isTerminal: boolean;
  /** Characters of a line. */
  readonly columns: number;
}

export interface CliIo {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborted by Ctrl-C from the first call on; before it, Ctrl-C ends the process. */
  interruptSignal(): AbortSignal;
}

/** What commands share: their surroundings, and the exit code that they leave. */
export interface CliContext {
  readonly io: CliIo;
  exitCode: number;
}

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

const DEFAULT_COLUMNS = 120;

export function processIo(): CliIo {
  let interrupt: AbortController | undefined;
  return {
    // `warren peers | head -1`: who reads has seen enough. What was to be said on standard error is lost, no more.
    stdout: streamOutput(process.stdout, () => process.exit(0)),
    stderr: streamOutput(process.stderr, () => {}),
    env: process.env,
    interruptSignal() {
      if (interrupt === undefined) {
        const controller = new AbortController();
        process.once('SIGINT', () => controller.abort());
        interrupt = controller;
      }
      return interrupt.signal;
    },
  };
}

/** `onClosed`: nobody reads it any more. */
function streamOutput(stream: NodeJS.WriteStream, onClosed: () => void): Output {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    onClosed();
  });
  return {
    write: (text) => void stream.write(text),
    isTerminal: stream.isTTY === true,
    get columns() {
      return stream.columns ?? DEFAULT_COLUMNS;
    },
  };
}
