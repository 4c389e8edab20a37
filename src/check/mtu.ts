/**
 * `warren check --mtu`: what each path really carries. Echo requests that may not be fragmented are sent in growing steps, so
 * that nothing that anybody says of a path has to be believed; and what the agent goes by stands beside it.
 */
import pLimit from 'p-limit';
import type { AgentClient } from '../api/client.ts';
import { runCommand } from '../host/command.ts';
import type { MtuReport, MtuResult } from '../readmodel/check-reports.ts';
import { checkProblems, checkSources, checkTargets } from './pairs.ts';
import { ping } from './ping.ts';

/** Each is a process or two, one after another. */
const CONCURRENCY = 8;
/** What every path carries (RFC 791, RFC 8200). */
const LEAST_BYTES = { 4: 576, 6: 1280 } as const;

/** The largest of `least` to `most` for which `passes`; null if not even the least does. Most paths carry all. */
export async function largestThatPasses(
  least: number,
  most: number,
  passes: (bytes: number) => Promise<boolean>,
): Promise<number | null> {
  if (await passes(most)) return most;
  if (!(await passes(least))) return null;
  let [good, bad] = [least, most];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (await passes(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/**
 * Whether a packet of so many bytes leaves as one: of IPv6 the host divides what is over the path MTU that it was told of, also
 * where ping asks it not to.
 */
async function leavesWhole(address: string, netns: string | undefined, bytes: number): Promise<boolean> {
  if (!address.includes(':')) return true;
  const mtu = mtuOfRoute(await runCommand(['ip', '-6', '-o', 'route', 'get', address], { netns }));
  return mtu === undefined || mtu >= bytes;
}

/** What `ip route get` says of it; undefined: nothing. */
export function mtuOfRoute(output: string): number | undefined {
  const mtu = /\bmtu (\d+)/.exec(output)?.[1];
  return mtu === undefined ? undefined : Number(mtu);
}

export async function runMtuCheck(
  client: AgentClient,
  onProgress: (done: number, total: number) => void,
): Promise<MtuReport> {
  const [status, pods, peers, all] = await Promise.all([
    client.status(),
    client.pods(),
    client.peers(),
    client.allTargets(),
  ]);
  const believed = new Map(peers.map(({ name, mtu }) => [name, mtu ?? null]));
  const pairs = checkSources(status, pods).flatMap((source) =>
    checkTargets(all).map((target) => ({ source, target })),
  );
  let done = 0;
  const results = await pLimit(CONCURRENCY).map(pairs, async ({ source, target }): Promise<MtuResult> => {
    const { address, toNode } = target;
    const least = LEAST_BYTES[address.includes(':') ? 6 : 4];
    const most = status.tun.mtu;
    const mtu = await largestThatPasses(
      Math.min(least, most),
      most,
      async (bytes) =>
        (await ping(address, source.netns, { bytes })) !== null &&
        (await leavesWhole(address, source.netns, bytes)),
    );
    onProgress(++done, pairs.length);
    const expected = toNode === status.node.name ? most : (believed.get(toNode) ?? null);
    const ok = mtu !== null && (expected === null || mtu >= expected);
    return { from: source.name, ...target, mtu, expected, ok };
  });
  const problems = checkProblems(status, pods);
  const isWhole = problems.length === 0 && all.unreachable.length === 0;
  return {
    node: status.node.name,
    ok: isWhole && results.every(({ ok }) => ok),
    problems,
    unreachable: all.unreachable,
    results,
  };
}
