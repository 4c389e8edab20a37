/** What the running agent knows, as the read model takes it. */
import type { Config } from '../config/config.ts';
import { addTraffic } from '../datapath/counters.ts';
import { DROP_NAMES } from '../datapath/drops.ts';
import type { Overlay } from '../dataplane/userspace.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { LeaseManager } from '../lease/lease-manager.ts';
import type { Membership } from '../membership/membership.ts';
import { VERSION } from '../package.ts';
import { nodeAddress } from '../pod/addresses.ts';
import type { DataPlaneReader, KnownPeer, OwnOverlay, PeerView } from '../readmodel/ports.ts';
import { LiveReadModel } from '../readmodel/read-model.ts';
import type { PodReport } from '../readmodel/reports.ts';
import { staticPeerKey, subnetsByOwner, unreachableReason } from './peers.ts';

export interface ViewParts {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly membership: Membership;
  readonly leases: LeaseManager;
  readonly overlay: Overlay;
  readonly pods: { list(): readonly PodReport[] };
  /** What was put back on this host, by kind. */
  readonly repairs: () => Readonly<Record<string, number>>;
}

export function agentModel(parts: ViewParts): LiveReadModel {
  const { config, membership, leases, pods, repairs } = parts;
  return new LiveReadModel({
    facts: {
      version: VERSION,
      name: config.node.name,
      pid: process.pid,
      clusterName: config.cluster.name,
      sealed: config.cluster.keyFile !== undefined,
      gossipPort: config.underlay.gossipPort,
      encapsulation: config.encapsulation,
      uptimeSeconds: () => process.uptime(),
    },
    members: membership,
    leases,
    peers: peerView(parts),
    dataPlane: dataPlaneReader(parts),
    own: ownOverlay(parts),
    // The agent says itself when its pods have changed.
    pods: { list: () => pods.list(), on: () => undefined },
    repairs,
  });
}

function peerView(parts: ViewParts): PeerView {
  const { membership, leases, overlay, config } = parts;
  return {
    peers: () => {
      const subnets = subnetsByOwner(leases.owners());
      const partial = new Set(
        overlay.table.forwarding.peers.filter((peer) => peer.partialChecksums).map((peer) => peer.key),
      );
      const { family } = parts.underlay.address;
      const nodes = membership
        .members()
        .filter((member) => member.id !== membership.id)
        .map(
          (member): KnownPeer => ({
            key: member.id,
            id: member.id,
            name: member.name,
            kind: 'gossip',
            status: member.status,
            endpoint: member.vtep,
            subnets: subnets.get(member.id) ?? [],
            partialChecksums: partial.has(member.id),
            mtu: member.mtu,
            unreachable: unreachableReason(config, family, member),
          }),
        );
      const statics = config.staticPeers.map(
        (peer): KnownPeer => ({
          key: staticPeerKey(peer.name),
          id: '',
          name: peer.name,
          kind: 'static',
          status: 'static',
          endpoint: peer.endpoint,
          subnets: peer.subnets,
          partialChecksums: false,
        }),
      );
      return [...nodes, ...statics];
    },
    on: (event, listener) => membership.on(event, listener),
  };
}

function dataPlaneReader(parts: ViewParts): DataPlaneReader {
  const { overlay, config } = parts;
  return {
    get vtep() {
      return overlay.vtep;
    },
    get underlay() {
      return parts.underlay;
    },
    get mtu() {
      return overlay.mtu;
    },
    report: () => ({
      type: 'userspace',
      device: config.tun.name,
      overheadBytes: overlay.overheadBytes,
      workers: overlay.workers,
      offloads: { ...overlay.offloads },
      totals: overlay.datapath?.totals() ?? addTraffic([]),
      drops: overlay.datapath?.drops() ?? Object.fromEntries(DROP_NAMES.map((name) => [name, 0])),
    }),
    traffic: (key) => {
      const index = overlay.table.index(key);
      return (index === undefined ? undefined : overlay.datapath?.vtepTotals(index)) ?? addTraffic([]);
    },
  };
}

function ownOverlay({ overlay, leases }: ViewParts): OwnOverlay {
  return {
    subnets: () => overlay.table.forwarding.ownSubnets,
    addresses: () => (overlay.datapath ? leases.state().prefixes.map(nodeAddress) : []),
  };
}
