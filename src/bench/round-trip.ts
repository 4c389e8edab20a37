/**
 * How long a small packet takes there and back. By bench/round-trip.c, request and response over UDP, where a
 * compiler is; else by ping, whose echoes are answered by the far kernel itself, which wakes no process.
 */
import { WarrenError } from '../errors.ts';
import { z } from '../zod.ts';
import type { CompiledProgram } from './compile.ts';
import { whileListening } from './listener.ts';
import { quantile } from './statistics.ts';
import type { Path } from './system.ts';

const PORT = '5202';
const PAYLOAD_BYTES = '64';
const PING_INTERVAL_SECONDS = 0.002;
const OVERHEAD_MS = 10_000;

const answer = z.object({ p50Us: z.number(), p99Us: z.number() });
export type RoundTrip = z.output<typeof answer>;

/** How it is measured, for the report. */
export function roundTripMethod(program: CompiledProgram): string {
  return 'path' in program
    ? `UDP request and response of ${PAYLOAD_BYTES} bytes, both ends on one CPU (bench/round-trip.c)`
    : `ping every ${PING_INTERVAL_SECONDS * 1000} ms (${program.missing})`;
}

export async function measureRoundTrip(
  path: Path,
  program: CompiledProgram,
  seconds: number,
): Promise<RoundTrip> {
  const timeoutMs = seconds * 1000 + OVERHEAD_MS;
  const { address } = path;
  if ('missing' in program) {
    const count = String(Math.ceil(seconds / PING_INTERVAL_SECONDS));
    const argv = ['ping', '-i', String(PING_INTERVAL_SECONDS), '-c', count, '-s', PAYLOAD_BYTES, address];
    const { stdout } = await path.client.exec(argv, { timeoutMs });
    return readPings(stdout);
  }
  const server = [program.path, 'server', address, PORT];
  return whileListening(path.server, server, 'ready', async () => {
    const client = [program.path, 'client', address, PORT, String(seconds), PAYLOAD_BYTES];
    const { code, stdout, stderr } = await path.client.exec(client, { timeoutMs });
    if (code !== 0) throw failure(stderr.trim());
    return answer.parse(JSON.parse(stdout));
  });
}

/** The quantiles of ping's own lines, `time=0.045 ms`. */
export function readPings(output: string): RoundTrip {
  const times = [...output.matchAll(/ time=([\d.]+) ms/g)].map((match) => Number(match[1]) * 1000);
  if (times.length === 0) throw failure('no echo was answered');
  times.sort((a, b) => a - b);
  return { p50Us: quantile(times, 0.5), p99Us: quantile(times, 0.99) };
}

function failure(reason: string): WarrenError {
  return new WarrenError('ROUND_TRIP_FAILED', `round trip: ${reason}`);
}
