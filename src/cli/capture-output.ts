/** Where `warren capture` writes: bytes, in order, each before the next one is taken from the agent. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { errorMessage, WarrenError } from '../errors.ts';

const STDOUT = 1;

export interface CaptureOutput {
  /** Throws CAPTURE_UNWRITABLE, but not where the reader of a pipe has seen enough: that ends the process. */
  write(bytes: Uint8Array): void;
  close(): void;
}

/** `path`: undefined or `-` for standard output. */
export function captureOutput(path: string | undefined): CaptureOutput {
  const isStdout = path === undefined || path === '-';
  const name = isStdout ? 'standard output' : path;
  const fd = isStdout ? STDOUT : opened(path);
  return {
    write: (bytes) => {
      for (let at = 0; at < bytes.length; ) {
        try {
          at += writeSync(fd, bytes, at);
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException;
          if (code === 'EPIPE') process.exit(0);
          // A pipe that somebody has made non-blocking: whoever reads it takes its time.
          if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
          else throw unwritable(name, error);
        }
      }
    },
    close: () => {
      if (!isStdout) closeSync(fd);
    },
  };
}

function opened(path: string): number {
  try {
    return openSync(path, 'w', 0o600);
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(name: string, error: unknown): WarrenError {
  return new WarrenError('CAPTURE_UNWRITABLE', `cannot write ${name}: ${errorMessage(error)}`, {
    hint: 'Name a file in a folder that you may write to, with -w.',
    cause: error,
  });
}
