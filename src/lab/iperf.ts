/** Throughput from one namespace to another, measured by iperf3. */
import type { ChildProcess } from 'node:child_process';
import { errorMessage, WarrenError } from '../errors.ts';
import type { LabNamespace } from './host.ts';

export interface Throughput {
  /** What the receiver counted: TCP payload. */
  readonly bitsPerSecond: number;
  readonly seconds: number;
}

const PORT = '5201';
/** iperf3 needs this long for its own exchange before and after, at most. */
const OVERHEAD_MS = 10_000;

/**
 * Runs one TCP stream from `client` to `address`, which is `server`'s, for `seconds`.
 * Throws IPERF_FAILED with what iperf3 said.
 */
export async function measureTcp(
  client: LabNamespace,
  server: LabNamespace,
  address: string,
  seconds: number,
): Promise<Throughput> {
  const listener = server.spawn(['iperf3', '-s', '-1', '-B', address, '-p', PORT, '--forceflush'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  try {
    await listening(listener);
    const argv = ['iperf3', '-c', address, '-p', PORT, '-t', String(seconds), '-J'];
    const { stdout, stderr } = await client.exec(argv, { timeoutMs: seconds * 1000 + OVERHEAD_MS });
    return readResult(stdout, stderr);
  } finally {
    listener.kill('SIGKILL');
  }
}

/** Resolves when the server has said that it listens. */
async function listening(server: ChildProcess): Promise<void> {
  let text = '';
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const fail = (reason: string): void => reject(failure(`the server did not start: ${reason}`));
      timer = setTimeout(() => fail('it says nothing'), OVERHEAD_MS);
      const read = (chunk: Buffer): void => {
        text += chunk.toString();
        if (text.includes('Server listening')) resolve();
      };
      server.stdout?.on('data', read);
      server.stderr?.on('data', read);
      server.on('error', (error) => fail(errorMessage(error)));
      server.on('close', () => fail(text.trim()));
    });
  } finally {
    clearTimeout(timer);
  }
}

function readResult(stdout: string, stderr: string): Throughput {
  let report: { error?: string; end?: { sum_received?: { bits_per_second?: number; seconds?: number } } };
  try {
    report = JSON.parse(stdout);
  } catch {
    throw failure(stderr.trim() || 'the client was stopped');
  }
  const received = report.end?.sum_received;
  if (received?.bits_per_second === undefined) throw failure(report.error ?? 'no result');
  return { bitsPerSecond: received.bits_per_second, seconds: received.seconds ?? 0 };
}

function failure(reason: string): WarrenError {
  return new WarrenError('IPERF_FAILED', `iperf3: ${reason}`);
}
