/** Prefixes of peers outside of the pod ranges, and guests' within this node's own: routes of their own lead into the tunnel. */
import { formatPrefix, type Prefix, prefixCovers } from '../ip/prefix.ts';
import type { ForwardingPeer } from './dataplane.ts';

/** Each one once. */
export function prefixesBeside(
  podRanges: readonly Prefix[],
  ownSubnets: readonly Prefix[],
  peers: readonly ForwardingPeer[],
): Prefix[] {
  const isWithin = (ranges: readonly Prefix[], prefix: Prefix) =>
    ranges.some((range) => prefixCovers(range, prefix));
  const beside = peers.flatMap(({ subnets, isGuest }) =>
    subnets.filter(
      (prefix) => !isWithin(podRanges, prefix) || (isGuest === true && isWithin(ownSubnets, prefix)),
    ),
  );
  return [...new Map(beside.map((prefix) => [formatPrefix(prefix), prefix])).values()];
}

/** In the same order. */
export function samePrefixes(a: readonly Prefix[], b: readonly Prefix[]): boolean {
  return a.map(formatPrefix).join() === b.map(formatPrefix).join();
}
