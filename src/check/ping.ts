/** One echo request with iputils' `ping`, from this network namespace or another. */
import { HostCommandError, runCommand } from '../host/command.ts';

/** `-W1` waits a second for the answer; the rest is the program's own start. */
const PING_TIMEOUT_MS = 10_000;
const TRIES = 2;
/** Seconds before ping gives up on an answer. */
const WAIT_SECONDS = '1';

export interface PingOptions {
  /** Of the whole IP packet, which may not be fragmented; absent: a small one. */
  readonly bytes?: number | undefined;
}

/** IP and ICMP headers. */
const HEADER_BYTES = { 4: 28, 6: 48 } as const;

/** Round trip in milliseconds; null if nothing came back, twice. Throws TOOL_MISSING and the like. */
export async function ping(
  address: string,
  netns: string | undefined,
  { bytes }: PingOptions = {},
): Promise<number | null> {
  const headers = HEADER_BYTES[address.includes(':') ? 6 : 4];
  const size = bytes === undefined ? [] : ['-M', 'do', '-s', String(bytes - headers)];
  for (let i = 0; i < TRIES; i++) {
    try {
      const output = await runCommand(['ping', '-n', '-c', '1', '-W', WAIT_SECONDS, ...size, address], {
        netns,
        timeoutMs: PING_TIMEOUT_MS,
      });
      return roundTripMs(output);
    } catch (error) {
      if (!(error instanceof HostCommandError) || isNoPing(error)) throw error;
    }
  }
  return null;
}

/** `64 bytes from 10.42.7.2: icmp_seq=1 ttl=62 time=0.123 ms`; `time<1 ms` from others' pings. */
function roundTripMs(output: string): number | null {
  const time = /time[=<]([\d.]+) ?ms/.exec(output)?.[1];
  return time === undefined ? null : Number(time);
}

/** No answer is exit code 1, an unreachable network 2: results. Not being allowed to ping at all is none. */
function isNoPing(error: HostCommandError): boolean {
  return /nsenter: |Operation not permitted|Permission denied|invalid option/.test(error.stderr);
}
