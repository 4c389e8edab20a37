/**
 * Which peers have metrics of their own. Each has a dozen series, and a cluster may have 10,000 nodes: so all are in the
 * totals, and one by one only as many as this, those first that something is wrong with, then those with the most traffic.
 */
import type { PeerReport } from '../readmodel/reports.ts';

export const MAX_LISTED_PEERS = 100;

export function listedPeers(peers: readonly PeerReport[]): readonly PeerReport[] {
  if (peers.length <= MAX_LISTED_PEERS) return peers;
  const ranked = peers.map((peer) => ({ peer, isIll: isIll(peer), bytes: bytesOf(peer) }));
  // By id where all else is the same, so that they do not change from scrape to scrape.
  ranked.sort(
    (a, b) => Number(b.isIll) - Number(a.isIll) || b.bytes - a.bytes || (a.peer.id < b.peer.id ? -1 : 1),
  );
  return ranked.slice(0, MAX_LISTED_PEERS).map(({ peer }) => peer);
}

function isIll({ status, unreachable, sentSingly }: PeerReport): boolean {
  return status === 'suspect' || status === 'dead' || unreachable !== undefined || sentSingly === true;
}

function bytesOf({ outbound, inbound }: PeerReport): number {
  return outbound.bytes + inbound.bytes;
}
