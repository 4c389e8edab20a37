/** The other nodes and static peers: who they are, what they own, what went to and from them. */
import { formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { ReadModelSources } from './ports.ts';
import type { PeerReport } from './reports.ts';
import { directionReports } from './traffic.ts';

/** Nodes by name, then static peers as they are configured. Asks each source once, and for each peer's traffic once. */
export function peerReports({
  peers,
  dataPlane,
  pairKeys,
}: Pick<ReadModelSources, 'peers' | 'dataPlane' | 'pairKeys'>): PeerReport[] {
  const known = peers.peers();
  const nodes = known
    .filter(({ kind }) => kind === 'gossip')
    .sort((a, b) => compareText(a.name, b.name) || compareText(a.id, b.id));
  const statics = known.filter(({ kind }) => kind === 'static');
  return [...nodes, ...statics].map((peer) => ({
    name: peer.name,
    id: peer.id,
    kind: peer.kind,
    status: peer.status,
    endpoint: formatEndpoint(peer.endpoint),
    subnets: peer.subnets.map(formatPrefix),
    partialChecksums: peer.partialChecksums,
    ...optional(peer, dataPlane.pathMtu(peer.key) ?? peer.mtu, dataPlane.sessionAgeMs?.(peer.key)),
    ...postQuantum(peer, pairKeys),
    ...directionReports(dataPlane.traffic(peer.key)),
  }));
}

function optional(
  { sentSingly, unreachable }: KnownPeer,
  mtu: number | undefined,
  sessionAgeMs: number | undefined,
): Pick<PeerReport, 'mtu' | 'sentSingly' | 'unreachable' | 'sessionAgeSeconds'> {
  return {
    ...(mtu !== undefined && { mtu }),
    ...(sessionAgeMs !== undefined && { sessionAgeSeconds: Math.floor(sessionAgeMs / 1000) }),
    ...(sentSingly && { sentSingly }),
    ...(unreachable !== undefined && { unreachable }),
  };
}

function postQuantum(
  peer: KnownPeer,
  pairKeys: ReadModelSources['pairKeys'],
): Pick<PeerReport, 'postQuantum'> {
  if (pairKeys === undefined || peer.postQuantum === undefined) return {};
  return { postQuantum: peer.postQuantum === 'needed' ? pairKeys.state(peer.id) : 'none' };
}

/** Made when it is first needed: it brings 2 MB of Node's tables into memory. */
let collator: Intl.Collator | undefined;

/** As people sort: `localeCompare` does the same, and looks its rules up each time. */
function compareText(a: string, b: string): number {
  collator ??= new Intl.Collator();
  return collator.compare(a, b);
}
