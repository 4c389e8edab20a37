/** Rates of the last 15 minutes, with the names of whom they are to and from. */
import { SAMPLE_INTERVAL_MS } from '../history/ring.ts';
import type { ReadModelSources } from './ports.ts';
import type { HistoryReport } from './reports.ts';

export function historyReport(
  { history, peers }: Pick<ReadModelSources, 'history' | 'peers'>,
  after: number,
): HistoryReport {
  const { peers: series, ...samples } = history.samples(after);
  const known = new Map(peers.peers().map((peer) => [peer.key, peer]));
  return {
    ...samples,
    intervalSeconds: SAMPLE_INTERVAL_MS / 1000,
    // One that is not known any more has no name to show.
    peers: series.flatMap(({ key, ...rates }) => {
      const peer = known.get(key);
      return peer === undefined ? [] : [{ name: peer.name, id: peer.id, ...rates }];
    }),
  };
}
