/** What the running agent shows on its control socket. Everything is read when it is asked for. */
import type { AgentView, AllTargets, PodsView } from '../api/agent-view.ts';
import type { Config } from '../config/config.ts';
import { addTraffic, type TrafficTotals } from '../datapath/counters.ts';
import { DROP_NAMES } from '../datapath/drops.ts';
import type { Overlay } from '../dataplane/userspace.ts';
import { WarrenError } from '../errors.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { formatAddress } from '../ip/address.ts';
import { formatEndpoint } from '../ip/endpoint.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { KeyCommands } from '../keys/key-commands.ts';
import type { LeaseManager } from '../lease/lease-manager.ts';
import { parseKeyRing } from '../link/key-ring.ts';
import type { Membership } from '../membership/membership.ts';
import type { Member } from '../membership/types.ts';
import { VERSION } from '../package.ts';
import { nodeAddress } from '../pod/addresses.ts';
import type {
  DirectionReport,
  KeyChange,
  LeaveReport,
  NodeTargets,
  PeerReport,
  RouteReport,
  StatusReport,
} from '../readmodel/reports.ts';
import type { Rpc } from '../rpc/rpc.ts';
import { askAllTargets, serveTargets } from '../rpc/targets.ts';
import { staticPeerKey, subnetsByOwner, unreachableReason } from './peers.ts';

export interface ViewParts {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly membership: Membership;
  readonly rpc: Rpc;
  readonly keys: KeyCommands;
  readonly leases: LeaseManager;
  readonly overlay: Overlay;
  readonly pods: PodsView;
  /** All of them, static ones too. */
  readonly removePods: () => Promise<void>;
  /** This node has left for good. */
  readonly onLeave: () => void;
  /** What was put back on this host, by kind. */
  readonly repairs: () => Readonly<Record<string, number>>;
}

export function agentView(parts: ViewParts): AgentView {
  const { membership, rpc, keys, leases, overlay, pods, config } = parts;
  const ownTargets = (): NodeTargets => ({
    node: config.node.name,
    addresses: overlay.datapath ? leases.state().prefixes.map(nodeAddress).map(formatAddress) : [],
    pods: pods.list().map(({ name, addresses }) => ({ name, addresses })),
  });
  serveTargets(rpc, ownTargets);
  return {
    status: () => status(parts),
    peers: () => [...gossipPeers(parts), ...staticPeers(parts)],
    routes: () => routes(parts),
    pods,
    targets: ownTargets,
    allTargets: () => allTargets(membership, rpc, ownTargets()),
    forget: (node) => {
      const { name, id, lease } = membership.forget(node);
      return { name, id, subnets: (lease?.prefixes ?? []).map(formatPrefix) };
    },
    leave: (options) => leave(parts, options.force),
    listKeys: () => keys.list(),
    changeKeys: (change) => changeKeys(keys, change),
  };
}

/** For good: pods go first, then the lease; the agent ends when this has been answered. */
async function leave(
  { config, leases, pods, removePods, onLeave }: ViewParts,
  force: boolean,
): Promise<LeaveReport> {
  const names = pods.list().map(({ name }) => name);
  if (names.length > 0 && !force) {
    const shown = names.slice(0, 10).join(', ') + (names.length > 10 ? ', ...' : '');
    throw new WarrenError('LEAVE_PODS', `this node has ${names.length} pods: ${shown}`, {
      hint: 'Remove them first (warren pod rm NAME); or with --force, which removes them.',
    });
  }
  if (names.length > 0) await removePods();
  const subnets = leases.state().prefixes.map(formatPrefix);
  leases.release();
  onLeave();
  return { name: config.node.name, subnets };
}

async function changeKeys(keys: KeyCommands, change: KeyChange): Promise<{ fingerprint: string }> {
  const options = { force: change.force === true };
  if (change.action === 'add') {
    const [key] = parseKeyRing(change.key ?? '', 'the request').keys;
    return { fingerprint: keys.add(key!) };
  }
  const fingerprint = change.fingerprint ?? '';
  if (change.action === 'use') await keys.use(fingerprint, options);
  else await keys.remove(fingerprint, options);
  return { fingerprint };
}

function status({ config, underlay, membership, leases, overlay, pods, repairs }: ViewParts): StatusReport {
  const members = { alive: 0, suspect: 0, dead: 0, left: 0 };
  for (const member of membership.members()) members[member.status]++;
  const lease = leases.state();
  const total = overlay.datapath?.totals() ?? addTraffic([]);
  const family = underlay.address.family;
  const mismatches = membership
    .members()
    .filter((member) => member.id !== membership.id && isReachable(member))
    .flatMap((member) => unreachableReason(config, family, member) ?? []);
  return {
    version: VERSION,
    node: {
      name: config.node.name,
      id: membership.id,
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime()),
    },
    cluster: {
      name: config.cluster.name,
      sealed: config.cluster.keyFile !== undefined,
      members,
      problems: [...membership.problems(), ...leases.problems(), ...mismatches.slice(0, 20)],
    },
    underlay: {
      address: formatAddress(underlay.address),
      interface: underlay.interfaceName,
      mtu: underlay.mtu,
      gossipPort: config.underlay.gossipPort,
    },
    encapsulation: {
      type: config.encapsulation.type,
      port: overlay.vtep.port,
      vni: config.encapsulation.vni,
      overheadBytes: overlay.overheadBytes,
    },
    tun: {
      name: config.tun.name,
      mtu: overlay.mtu,
      addresses: overlay.datapath ? lease.prefixes.map(nodeAddress).map(formatAddress) : [],
    },
    lease: { status: lease.status, subnets: lease.prefixes.map(formatPrefix) },
    pods: pods.list().length,
    datapath: {
      workers: overlay.workers,
      offloads: { ...overlay.offloads },
      outbound: outbound(total),
      inbound: inbound(total),
      drops: overlay.datapath?.drops() ?? Object.fromEntries(DROP_NAMES.map((name) => [name, 0])),
    },
    gossip: membership.counters(),
    repairs: { ...repairs() },
  };
}

function gossipPeers({ membership, leases, overlay }: ViewParts): PeerReport[] {
  const subnets = subnetsByOwner(leases.owners());
  return membership
    .members()
    .filter((member) => member.id !== membership.id)
    .map((member) => ({
      name: member.name,
      id: member.id,
      kind: 'gossip' as const,
      status: member.status,
      endpoint: formatEndpoint(member.vtep),
      subnets: (subnets.get(member.id) ?? []).map(formatPrefix),
      ...forwardingReport(overlay, member.id),
    }))
    .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
}

function staticPeers({ config, overlay }: ViewParts): PeerReport[] {
  return config.staticPeers.map((peer) => ({
    name: peer.name,
    id: '',
    kind: 'static' as const,
    status: 'static' as const,
    endpoint: formatEndpoint(peer.endpoint),
    subnets: peer.subnets.map(formatPrefix),
    ...forwardingReport(overlay, staticPeerKey(peer.name)),
  }));
}

function routes({ overlay, config }: ViewParts): RouteReport[] {
  const { peers, ownSubnets } = overlay.table.forwarding;
  const own = ownSubnets.map((prefix) => ({
    prefix,
    via: 'local',
    name: config.node.name,
    endpoint: overlay.vtep,
  }));
  const others = peers.flatMap(({ name, endpoint, subnets }) =>
    subnets
      .filter((prefix) => !ownSubnets.some((mine) => formatPrefix(mine) === formatPrefix(prefix)))
      .map((prefix) => ({ prefix, via: name, name, endpoint })),
  );
  return [...own, ...others]
    .sort((a, b) => a.prefix.family - b.prefix.family || Number(a.prefix.value > b.prefix.value) * 2 - 1)
    .map(({ prefix, via, endpoint }) => ({
      prefix: formatPrefix(prefix),
      via,
      endpoint: formatEndpoint(endpoint),
    }));
}

async function allTargets(membership: Membership, rpc: Rpc, own: NodeTargets): Promise<AllTargets> {
  const dead = membership
    .members()
    .filter(({ status, lease }) => status === 'dead' && lease !== undefined)
    .map(({ name }) => ({ node: name, reason: 'it is dead; `warren forget` it if it will not come back' }));
  const { targets, unreachable } = await askAllTargets(rpc, membership.others());
  return { targets: [own, ...targets], unreachable: [...dead, ...unreachable] };
}

function isReachable(member: Member): boolean {
  return member.status === 'alive' || member.status === 'suspect';
}

/** How packets are sent to a peer, and how many. */
function forwardingReport(
  overlay: Overlay,
  key: string,
): Pick<PeerReport, 'partialChecksums' | 'outbound' | 'inbound'> {
  const { table, datapath } = overlay;
  const index = table.index(key);
  const total = (index === undefined ? undefined : datapath?.vtepTotals(index)) ?? addTraffic([]);
  return {
    partialChecksums: table.forwarding.peers.some((peer) => peer.key === key && peer.partialChecksums),
    outbound: outbound(total),
    inbound: inbound(total),
  };
}

function outbound(total: TrafficTotals): DirectionReport {
  return { packets: total.outboundPackets, bytes: total.outboundBytes };
}

function inbound(total: TrafficTotals): DirectionReport {
  return { packets: total.inboundPackets, bytes: total.inboundBytes };
}
