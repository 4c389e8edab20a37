/** A server of one measurement: started, waited for, and ended when the measurement is over. */
import type { ChildProcess } from 'node:child_process';
import { errorMessage, WarrenError } from '../errors.ts';
import type { LabNamespace } from '../lab/host.ts';

const START_TIMEOUT_MS = 10_000;

/** Runs `work` while `argv` serves in `server`; it begins once the program has printed `ready`. */
export async function whileListening<T>(
  server: LabNamespace,
  argv: readonly string[],
  ready: string,
  work: () => Promise<T>,
): Promise<T> {
  const child = server.spawn(argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    await said(child, argv, ready);
    return await work();
  } finally {
    child.kill('SIGKILL');
  }
}

async function said(child: ChildProcess, argv: readonly string[], ready: string): Promise<void> {
  let text = '';
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (reason: string): void => {
        reject(new WarrenError('BENCH_SERVER_FAILED', `${argv[0]}: the server did not start: ${reason}`));
      };
      timer = setTimeout(() => fail('it says nothing'), START_TIMEOUT_MS);
      const read = (chunk: Buffer): void => {
        if (text.length < 10_000) text += chunk.toString();
        if (text.includes(ready)) resolve();
      };
      // Read to the end, or the server would block on a full pipe.
      child.stdout?.on('data', read);
      child.stderr?.on('data', read);
      child.on('error', (error) => fail(errorMessage(error)));
      child.on('close', () => fail(text.trim() || 'it ended'));
    });
  } finally {
    clearTimeout(timer);
  }
}
