/**
 * The agent's reports in Prometheus' text format. Nothing is counted here: reports are read when they are scraped. How many
 * series there are does not grow with the cluster beyond a bound (listed-peers.ts).
 */
import type { DirectionReport, PeerReport, StatusReport } from '../readmodel/reports.ts';
import { listedPeers } from './listed-peers.ts';
import { histogram, metric, type Sample } from './text.ts';

const PEER_STATUSES = ['alive', 'suspect', 'dead', 'left', 'static'] as const;

export function renderMetrics(status: StatusReport, all: readonly PeerReport[]): string {
  const { node, cluster, dns, datapath, durations } = status;
  const peers = listedPeers(all);
  const count = (holds: (peer: PeerReport) => boolean) => all.filter(holds).length;
  const directions = (field: keyof DirectionReport): Sample[] => [
    [{ direction: 'outbound' }, datapath.outbound[field]],
    [{ direction: 'inbound' }, datapath.inbound[field]],
  ];
  const ofPeers = (field: keyof DirectionReport): Sample[] =>
    peers.flatMap((peer): Sample[] => [
      [{ peer: peer.name, id: peer.id, direction: 'outbound' }, peer.outbound[field]],
      [{ peer: peer.name, id: peer.id, direction: 'inbound' }, peer.inbound[field]],
    ]);
  return [
    metric('warren_build_info', 'gauge', 'The version that runs.', [[{ version: status.version }, 1]]),
    metric('warren_node_info', 'gauge', 'Who this node is.', [
      [{ node: node.name, id: node.id, cluster: cluster.name }, 1],
    ]),
    metric('warren_uptime_seconds', 'gauge', "Seconds since the agent's start.", [[{}, node.uptimeSeconds]]),
    metric(
      'warren_cluster_members',
      'gauge',
      'Nodes of the cluster by what this node holds them for.',
      Object.entries(cluster.members).map(([name, count]): Sample => [{ status: name }, count]),
    ),
    metric(
      'warren_admission_members',
      'gauge',
      'Nodes that are there by what approvers have said of them.',
      (['approved', 'pending', 'revoked'] as const).map(
        (name): Sample => [{ admission: name }, cluster.admission[name]],
      ),
    ),
    metric('warren_cluster_problems', 'gauge', 'Seeds and peers that cannot be joined.', [
      [{}, cluster.problems.length],
    ]),
    metric('warren_lease_active', 'gauge', '1 if this node has its subnet.', [
      [{}, status.lease.status === 'active' ? 1 : 0],
    ]),
    metric('warren_pods', 'gauge', 'Pods of this node.', [[{}, status.pods]]),
    metric('warren_tunnel_encrypted', 'gauge', '1 if what goes between nodes is sealed.', [
      [{}, status.encapsulation.encrypted ? 1 : 0],
    ]),
    metric(
      'warren_post_quantum_keys_total',
      'counter',
      'Post-quantum keys of pairs: made for this node, made by it for another, and asked for in vain.',
      Object.entries(status.encapsulation.postQuantum?.keys ?? {}).map(
        ([result, count]): Sample => [{ result }, count],
      ),
    ),
    metric('warren_datapath_active', 'gauge', '1 if packets flow.', [[{}, datapath.active ? 1 : 0]]),
    metric('warren_datapath_workers', 'gauge', 'Packet path threads.', [[{}, datapath.workers]]),
    metric('warren_datapath_stuck_workers', 'gauge', 'Packet path threads that do not answer.', [
      [{}, datapath.stuckWorkers],
    ]),
    metric('warren_datapath_packets_total', 'counter', 'Inner packets forwarded.', directions('packets')),
    metric(
      'warren_datapath_bytes_total',
      'counter',
      'Bytes of inner packets forwarded.',
      directions('bytes'),
    ),
    metric(
      'warren_datapath_drops_total',
      'counter',
      'Packets dropped, by reason.',
      Object.entries(datapath.drops).map(([reason, count]): Sample => [{ reason }, count]),
    ),
    metric('warren_dns_listening', 'gauge', 'Addresses of this node on which names are answered.', [
      [{}, dns.addresses.length],
    ]),
    metric(
      'warren_dns_queries_total',
      'counter',
      'Questions for names, by how they ended.',
      Object.entries(dns.queries).map(([result, count]): Sample => [{ result }, count]),
    ),
    metric(
      'warren_dns_forwards_total',
      'counter',
      "Questions to the host's resolvers: over what, and what came of them.",
      Object.entries(dns.forwards).map(([result, count]): Sample => [{ result }, count]),
    ),
    metric('warren_dns_cache_lookups_total', 'counter', "Looks for a resolver's answer that is kept.", [
      [{ result: 'hit' }, dns.cache.hits],
      [{ result: 'miss' }, dns.cache.misses],
    ]),
    metric('warren_dns_cache_entries', 'gauge', "Resolvers' answers that are kept.", [
      [{}, dns.cache.entries],
    ]),
    metric('warren_dns_cache_bytes', 'gauge', 'What they take.', [[{}, dns.cache.bytes]]),
    metric(
      'warren_group_probes_total',
      'counter',
      'Probes whether groups of datagrams arrive whole at a peer, by what came out.',
      Object.entries(datapath.groupProbes).map(([result, count]): Sample => [{ result }, count]),
    ),
    metric(
      'warren_repairs_total',
      'counter',
      'What others changed on this host and the agent put back, by kind.',
      Object.entries(status.repairs).map(([kind, count]): Sample => [{ kind }, count]),
    ),
    ...policyMetrics(status),
    histogram(
      'warren_probe_rtt_seconds',
      'How long other nodes took to answer probes of the gossip.',
      durations.probe ? [[{}, durations.probe]] : [],
    ),
    histogram(
      'warren_handshake_duration_seconds',
      'How long handshakes that this node began took to agree on keys.',
      durations.handshake ? [[{}, durations.handshake]] : [],
    ),
    histogram(
      'warren_attach_duration_seconds',
      'How long it took to attach a pod, waiting for its turn included.',
      durations.attach ? [[{}, durations.attach]] : [],
    ),
    metric(
      'warren_peers',
      'gauge',
      'Other nodes and static peers, by status.',
      PEER_STATUSES.map((status): Sample => [{ status }, count((peer) => peer.status === status)]),
    ),
    metric('warren_peers_unreachable', 'gauge', 'Peers that are there and cannot be sent to.', [
      [{}, count(({ status, unreachable }) => status !== 'dead' && unreachable !== undefined)],
    ]),
    metric('warren_peers_sent_singly', 'gauge', 'Peers that groups of datagrams do not arrive at whole.', [
      [{}, count(({ sentSingly }) => sentSingly === true)],
    ]),
    metric('warren_peers_unlisted', 'gauge', 'Peers that have no metrics of their own, being too many.', [
      [{}, all.length - peers.length],
    ]),
    metric('warren_log_lines_dropped_total', 'counter', 'Log lines that their reader did not take in time.', [
      [{}, status.log.dropped],
    ]),
    metric('warren_peer_packets_total', 'counter', 'Inner packets to and from a peer.', ofPeers('packets')),
    metric(
      'warren_peer_bytes_total',
      'counter',
      'Bytes of inner packets to and from a peer.',
      ofPeers('bytes'),
    ),
    metric(
      'warren_peer_mtu_bytes',
      'gauge',
      'Bytes of an inner packet that the path to a peer carries.',
      peers.flatMap(({ name, id, mtu }): Sample[] => (mtu === undefined ? [] : [[{ peer: name, id }, mtu]])),
    ),
    metric(
      'warren_peer_status',
      'gauge',
      '1 for the status that a peer has.',
      peers.map((peer): Sample => [{ peer: peer.name, id: peer.id, status: peer.status }, 1]),
    ),
    metric(
      'warren_peer_post_quantum',
      'gauge',
      '1 for what is so of the post-quantum key with a peer.',
      peers.flatMap(({ name, id, postQuantum: state }): Sample[] =>
        state === undefined ? [] : [[{ peer: name, id, state }, 1]],
      ),
    ),
    metric(
      'warren_peer_sent_singly',
      'gauge',
      '1 if groups of datagrams do not arrive whole at a peer, so that it is sent single ones.',
      peers.map((peer): Sample => [{ peer: peer.name, id: peer.id }, peer.sentSingly ? 1 : 0]),
    ),
    ...Object.entries(status.gossip).map(([name, value]) =>
      metric(`warren_gossip_${snakeCase(name)}_total`, 'counter', `Gossip: ${words(name)}.`, [[{}, value]]),
    ),
  ].join('');
}

/** None where there are no policies. */
function policyMetrics({ policies }: StatusReport): string[] {
  if (policies === undefined) return [];
  const packets = (staged: boolean) =>
    policies.denied
      .filter(({ isStaged }) => isStaged === staged)
      .map(({ policy, direction, packets: count }): Sample => [{ policy, direction }, count]);
  return [
    metric('warren_policies', 'gauge', 'Network policies of this node, by whether they are in force.', [
      [{ state: 'enforced' }, policies.policies - policies.staged],
      [{ state: 'staged' }, policies.staged],
    ]),
    metric(
      'warren_policy_denied_packets_total',
      'counter',
      'Packets that network policies denied; one that several deny counts for each.',
      packets(false),
    ),
    metric(
      'warren_policy_staged_packets_total',
      'counter',
      'First packets of connections that staged network policies would deny.',
      packets(true),
    ),
  ];
}

/** `probesSent` as `probes_sent`: what a metric's name may hold. */
function snakeCase(name: string): string {
  return words(name).replaceAll(' ', '_');
}

function words(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[^A-Za-z0-9]+/g, ' ')
    .trim()
    .toLowerCase();
}
