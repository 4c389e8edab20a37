/** Prefixes of peers outside of the pod ranges: routes of their own lead into the tunnel. */
import { formatPrefix, type Prefix, prefixCovers } from '../ip/prefix.ts';
import type { ForwardingPeer } from './dataplane.ts';

/** Each one once. */
export function prefixesBeside(podRanges: readonly Prefix[], peers: readonly ForwardingPeer[]): Prefix[] {
  const beside = peers
    .flatMap(({ subnets }) => subnets)
    .filter((prefix) => !podRanges.some((range) => prefixCovers(range, prefix)));
  return [...new Map(beside.map((prefix) => [formatPrefix(prefix), prefix])).values()];
}

/** In the same order. */
export function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a.map(formatPrefix).join() === b.map(formatPrefix).join();
}
