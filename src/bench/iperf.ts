/** Throughput of a path, by iperf3: what its receiver counted. */
import { WarrenError } from '../errors.ts';
import { runCommand } from '../lab/command.ts';
import { z } from '../zod.ts';
import { whileListening } from './listener.ts';
import type { Path } from './system.ts';

const PORT = '5201';
/** iperf3 needs this long for its own exchange before and after, at most. */
const OVERHEAD_MS = 10_000;
const CONNECT_TIMEOUT_MS = '3000';

const sum = z.object({ bytes: z.number(), seconds: z.number(), packets: z.number().optional() });
const answer = z.object({
  error: z.string().optional(),
  end: z.object({ sum_sent: sum.optional(), sum_received: sum.optional() }).optional(),
});

export interface TcpResult {
  readonly bitsPerSecond: number;
  /** Payload that arrived. */
  readonly bytes: number;
}

export interface UdpResult {
  readonly packetsPerSecond: number;
  /** 0 to 1: of the packets that were sent, how many did not arrive while the receiver counted. */
  readonly lost: number;
}

export async function measureTcp(path: Path, streams: number, seconds: number): Promise<TcpResult> {
  const { received } = await run(path, ['-P', String(streams)], seconds);
  return { bitsPerSecond: (received.bytes * 8) / received.seconds, bytes: received.bytes };
}

/** Sends as fast as one iperf3 can. */
export async function measureUdp(path: Path, payloadBytes: number, seconds: number): Promise<UdpResult> {
  const { sent, received } = await run(path, ['-u', '-b', '0', '-l', String(payloadBytes)], seconds);
  return udpResult(payloadBytes, sent, received);
}

/**
 * iperf3 counts as lost only what a later packet shows to be missing; here it is all that was sent and did not
 * come. So packets are reckoned from the bytes that arrived.
 */
export function udpResult(payloadBytes: number, sent: Sum, received: Sum): UdpResult {
  const packets = received.bytes / payloadBytes;
  const lost = sent.packets ? Math.max(0, 1 - packets / sent.packets) : 0;
  return { packetsPerSecond: packets / received.seconds, lost };
}

export type Sum = z.output<typeof sum>;

/** The two sums of iperf3's JSON. Throws IPERF_FAILED with what it said. */
export function readIperf(stdout: string, stderr: string): { sent: Sum; received: Sum } {
  let value: unknown;
  try {
    value = JSON.parse(stdout);
  } catch {
    throw failure(stderr.trim() || 'it was stopped before it had a result');
  }
  const parsed = answer.safeParse(value);
  if (!parsed.success) throw failure('its JSON has another shape than that of iperf3 3.x');
  const { error, end } = parsed.data;
  if (error !== undefined) throw failure(error);
  if (end?.sum_sent === undefined || end.sum_received === undefined) throw failure('no result');
  if (end.sum_received.bytes === 0) throw failure('nothing arrived');
  return { sent: end.sum_sent, received: end.sum_received };
}

export async function iperfVersion(): Promise<string> {
  const { stdout } = await runCommand(['iperf3', '--version']);
  return stdout.split('\n')[0]?.trim() || 'iperf3';
}

async function run(
  path: Path,
  args: readonly string[],
  seconds: number,
): Promise<{ sent: Sum; received: Sum }> {
  const { address } = path;
  const server = ['iperf3', '-s', '-1', '-B', address, '-p', PORT, '--forceflush'];
  return whileListening(path.server, server, 'Server listening', async () => {
    const to = ['-c', address, '-p', PORT, '--connect-timeout', CONNECT_TIMEOUT_MS];
    const client = ['iperf3', ...to, '-t', String(seconds), '-i', '0', '-J', ...args];
    const { stdout, stderr } = await path.client.exec(client, {
      timeoutMs: seconds * 1000 + OVERHEAD_MS,
    });
    return readIperf(stdout, stderr);
  });
}

function failure(reason: string): WarrenError {
  return new WarrenError('IPERF_FAILED', `iperf3: ${reason.replace(/^error - /, '')}`);
}
