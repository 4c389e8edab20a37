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

/**
 * The frames that pass `device` and `filter` while `work` runs. The last thing that `work` sends must hold
 * `lastBytes`: the capture goes on until they are in it.
 */
export async function captureWhile(
  namespace: LabNamespace,
  device: string,
  filter: string,
  lastBytes: Buffer,
  work: () => Promise<void>,
): Promise<Buffer[]> {
  const folder = mkdtempSync(join(tmpdir(), 'warren-test-'));
  const file = join(folder, 'capture.pcap');
  const options = ['--immediate-mode', '-n', '-U', '-s', '0', '-B', '65536', '-Z', 'root'];
  const argv = ['tcpdump', '-i', device, ...options, '-w', file, filter];
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
      () => `tcpdump did not start: ${said}`,
    );
    await work();
    const isWhole = () => readFileSync(file).includes(lastBytes);
    await until(isWhole, FLUSH_TIMEOUT_MS, () => `the end is not in the capture: ${said}`);
    child.kill('SIGINT');
    await ended;
    if (!/^0 packets dropped by kernel$/m.test(said)) throw new Error(`the capture has gaps: ${said}`);
    return readPcap(readFileSync(file));
  } finally {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

async function until(holds: () => boolean, timeoutMs: number, problem: () => string): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(problem());
    await delay(20);
  }
}
