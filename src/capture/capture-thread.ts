/** A capture on this host: its thread, and what the packet path drops meanwhile. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { WarrenError } from '../errors.ts';
import { builtFile } from '../package.ts';
import type { CapturePart } from './source.ts';
import { type CaptureSettings, CONTROL, type FromCapture } from './thread-messages.ts';

/** What is captured lies outside of the heap, and is given back the sooner the smaller that is. */
const HEAP_LIMITS = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

export type ThreadOptions = Omit<CaptureSettings, 'control'>;

/** Goes on until `signal` is aborted. Throws CAPTURE_FAILED where this host does not let it. */
export async function* captureOnThread(
  options: ThreadOptions,
  signal: AbortSignal,
): AsyncGenerator<CapturePart> {
  const shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
  const control = new Int32Array(shared);
  const settings: CaptureSettings = { ...options, control: shared };
  const thread = new Worker(builtFile('capture/worker'), {
    workerData: settings,
    name: 'warren-capture',
    resourceLimits: HEAP_LIMITS,
  });
  /** Bounded by the thread, which waits while too much of it is untaken. */
  const parts: FromCapture[] = [];
  let wake = () => {};
  let hasEnded = false;
  thread.on('message', (message: FromCapture) => {
    parts.push(message);
    wake();
  });
  const failed = (error: Error) => {
    parts.push({ kind: 'failed', message: error.message, hint: undefined });
    wake();
  };
  thread.on('error', failed);
  thread.on('exit', () => {
    hasEnded = true;
    wake();
  });
  const stop = () => {
    Atomics.store(control, CONTROL.stop, 1);
    Atomics.notify(control, CONTROL.stop);
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  try {
    while (!hasEnded || parts.length > 0) {
      const part = parts.shift();
      if (part === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else if (part.kind === 'failed') {
        throw new WarrenError('CAPTURE_FAILED', part.message, { hint: part.hint });
      } else {
        Atomics.sub(control, CONTROL.untaken, part.blocks.length);
        yield part;
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
    if (!hasEnded) await once(thread, 'exit').catch(() => {});
  }
}
