/** The other nodes, and peers that are none: who they are, what they own, what went to and from them. */
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { ReadModelSources } from './ports.ts';
import type { PeerReport } from './reports.ts';
import { directionReports } from './traffic.ts';

/** Nodes by name, then static peers as they are configured, then those that were added. Asks each source once, and for each peer's traffic once. */
export function peerReports({
  peers,
  dataPlane,
  pairKeys,
}: Pick<ReadModelSources, 'peers' | 'dataPlane' | 'pairKeys'>): PeerReport[] {
  const known = peers.peers();
  const nodes = known
    .filter(({ kind }) => kind === 'gossip')
    .sort((a, b) => compareText(a.name, b.name) || compareText(a.id, b.id));
  const others = known.filter(({ kind }) => kind !== 'gossip');
  return [...nodes, ...others].map((peer) => ({
    name: peer.name,
    id: peer.id,
    kind: peer.kind,
    status: peer.status,
    endpoint: endpointText(dataPlane.movedTo?.(peer.key) ?? peer.endpoint),
    subnets: peer.subnets.map(formatPrefix),
    partialChecksums: peer.partialChecksums,
    ...optional(peer, dataPlane.pathMtu(peer.key) ?? peer.mtu),
    ...seconds('sessionAgeSeconds', dataPlane.sessionAgeMs?.(peer.key)),
    ...seconds('handshakeAgeSeconds', dataPlane.handshakeAgeMs?.(peer.key)),
    ...postQuantum(peer, pairKeys),
    ...directionReports(dataPlane.traffic(peer.key)),
  }));
}

/** Empty: it was not heard from yet. */
function endpointText(endpoint: Endpoint | undefined): string {
  return endpoint === undefined ? '' : formatEndpoint(endpoint);
}

function optional(
  { sentSingly, unreachable }: KnownPeer,
  mtu: number | undefined,
): Pick<PeerReport, 'mtu' | 'sentSingly' | 'unreachable'> {
  return {
    ...(mtu !== undefined && { mtu }),
    ...(sentSingly && { sentSingly }),
    ...(unreachable !== undefined && { unreachable }),
  };
}

function seconds<Name extends string>(name: Name, ms: number | undefined): { readonly [N in Name]?: number } {
  return ms === undefined ? {} : ({ [name]: Math.floor(ms / 1000) } as { [N in Name]?: number });
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
