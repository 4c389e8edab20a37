/**
 * Addresses of pods that come from where no pod is. A pod's packets come out of the tunnel or of its own interface, where they have
 * been checked; rules that go by who sends would believe a host beside this one, which takes it for its router.
 */
import { formatPrefix, type Prefix } from '../../ip/prefix.ts';

/** Matches of nftables, one for each range: the way back to the source does not lead where the packet came from. */
export function forgedSources(podRanges: readonly Prefix[]): string[] {
  return podRanges.map(
    (range) =>
      `${range.family === 4 ? 'ip' : 'ip6'} saddr ${formatPrefix(range)} fib saddr . iif oif missing`,
  );
}
