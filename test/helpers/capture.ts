/** tcpdump in a lab's namespace. */
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LabNamespace } from '../../src/lab/host.ts';
import { readPcap } from './pcap.ts';

const START_TIMEOUT_MS = 10_000;
const FLUSH_TIMEOUT_MS = 10_000;
/** A capture that is not whole is taken again; one that never is means that this machine is too busy, or a bug. */
const MAX_TRIES = 5;
/**
 * The longest frame, with room. The kernel's ring has slots of that size: with tcpdump's own 256 KB the buffer below
 * would hold 256 frames, whatever their length, and a tcpdump that waits for a processor would miss some.
 */
const SNAPSHOT_BYTES = 2048;
const BUFFER_KIB = 128 * 1024;

export interface CaptureOptions {
  readonly namespace: LabNamespace;
  readonly device: string;
  readonly filter: string;
  /** The last thing that `work` sends holds them: the capture goes on until they are in it. */
  readonly lastBytes: Buffer;
  /** Whether all that `work` sent is in these frames. Default: yes. */
  readonly isWhole?: (frames: readonly Buffer[]) => boolean;
}

/** Not everything is in it, so that nothing can be said of what it lacks. */
class CaptureGap extends Error {}

/**
 * The frames that pass `device` and `filter` while `work` runs. Where some are missing, `work` is run and captured
 * again; throws if they are missing every time.
 */
export async function captureWhile(options: CaptureOptions, work: () => Promise<void>): Promise<Buffer[]> {
  for (let tries = 1; ; tries++) {
    try {
      const frames = await captureOnce(options, work);
      if (options.isWhole?.(frames) !== false || tries === MAX_TRIES) return frames;
    } catch (error) {
      if (!(error instanceof CaptureGap) || tries === MAX_TRIES) throw error;
    }
  }
}

async function captureOnce(options: CaptureOptions, work: () => Promise<void>): Promise<Buffer[]> {
  const { namespace, device, filter, lastBytes } = options;
  const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
  const file = join(folder, 'capture.pcap');
  const size = ['-s', String(SNAPSHOT_BYTES), '-B', String(BUFFER_KIB)];
  const argv = [
    ...['tcpdump', '-i', device, '--immediate-mode', '-n', '-U', ...size, '-Z', 'root'],
    ...['-w', file, filter],
  ];
  const child = namespace.spawn(argv, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = once(child, 'close');
  try {
    await until(
      () => said.includes('listening on'),
      START_TIMEOUT_MS,
      () => new Error(`tcpdump did not start: ${said}`),
    );
    await work();
    await until(
      () => readFileSync(file).includes(lastBytes),
      FLUSH_TIMEOUT_MS,
      () => new CaptureGap(`the end is not in the capture: ${said}`),
    );
    child.kill('SIGINT');
    await ended;
    if (!hasNoGaps(said)) throw new CaptureGap(`the capture has gaps: ${said}`);
    return readPcap(readFileSync(file));
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

/** Whether tcpdump, as it ends, says that nothing was dropped on the way to it. */
export function hasNoGaps(said: string): boolean {
  return (
    /^0 packets dropped by kernel$/m.test(said) && !/^[1-9]\d* packets? dropped by interface$/m.test(said)
  );
}

async function until(holds: () => boolean, timeoutMs: number, problem: () => Error): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadline) throw problem();
    await delay(20);
  }
}
