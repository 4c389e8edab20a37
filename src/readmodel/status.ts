/** This node at a glance: its subnets, its tunnel, what it forwarded and dropped, what is wrong. */
import type { DataPlaneReport } from '../dataplane/dataplane.ts';
import { formatAddress } from '../ip/address.ts';
import { formatPrefix } from '../ip/prefix.ts';
import { stuckText } from './health.ts';
import type { ReadModelSources } from './ports.ts';
import type { StatusReport } from './reports.ts';
import { directionReports } from './traffic.ts';

/** Nodes that are configured differently are told of up to here: with one wrong node all others are. */
const MAX_MISMATCHES = 20;

export function statusReport(sources: ReadModelSources): StatusReport {
  const { facts, members, admission, leases, dataPlane, own, pods, repairs, dns, groupProbes } = sources;
  const { durations, droppedLogLines, kubernetes } = sources;
  const counts = { alive: 0, suspect: 0, dead: 0, left: 0 };
  const standings = { approved: 0, pending: 0, revoked: 0 };
  for (const { id, status } of members.members()) {
    counts[status]++;
    if (status === 'alive' || status === 'suspect') standings[admission.standing(id)]++;
  }
  const lease = leases.state();
  const plane = dataPlane.report();
  const policies = sources.policies?.();
  const { underlay } = dataPlane;
  return {
    version: facts.version,
    node: {
      name: facts.name,
      id: members.id,
      pid: facts.pid,
      uptimeSeconds: Math.round(facts.uptimeSeconds()),
    },
    cluster: {
      name: facts.clusterName,
      sealed: facts.sealed,
      members: counts,
      admission: { mode: admission.mode(), ...standings },
      problems: [
        ...planeProblems(plane),
        ...members.problems(),
        ...leases.problems(),
        ...mismatches(sources),
      ],
    },
    underlay: {
      address: formatAddress(underlay.address),
      interface: underlay.interfaceName,
      mtu: underlay.mtu,
      gossipPort: facts.gossipPort,
    },
    encapsulation: {
      type: facts.encapsulation.type,
      port: dataPlane.vtep.port,
      ...(facts.encapsulation.type === 'vxlan-gpe' && { vni: facts.encapsulation.vni }),
      overheadBytes: plane.overheadBytes,
      encrypted: facts.encapsulation.type === 'wireguard' && facts.encapsulation.accept === undefined,
      ...(facts.encapsulation.accept !== undefined && { accept: facts.encapsulation.accept }),
      ...(plane.cipher && { cipher: plane.cipher.name }),
      ...(plane.cipher?.fallback !== undefined && { cipherFallback: plane.cipher.fallback }),
      ...(facts.encapsulation.publicKey !== undefined && { publicKey: facts.encapsulation.publicKey }),
      ...postQuantum(sources),
    },
    tun: { name: plane.device, mtu: dataPlane.mtu, addresses: own.addresses().map(formatAddress) },
    lease: { status: lease.status, subnets: lease.prefixes.map(formatPrefix) },
    pods: pods.list().length,
    dns: dns(),
    ...(kubernetes && { kubernetes: kubernetes() }),
    datapath: {
      type: plane.type,
      active: plane.isActive,
      workers: plane.workers,
      stuckWorkers: plane.stuckWorkers,
      offloads: { ...plane.offloads },
      ...directionReports(plane.totals),
      drops: { ...plane.drops },
      groupProbes: { ...groupProbes() },
    },
    gossip: { ...members.counters() },
    repairs: { ...repairs() },
    durations: { ...durations(), ...(plane.handshakes && { handshake: plane.handshakes }) },
    ...(policies && { policies }),
    log: { dropped: droppedLogLines() },
  };
}

function postQuantum({
  facts,
  pairKeys,
}: Pick<ReadModelSources, 'facts' | 'pairKeys'>): Pick<StatusReport['encapsulation'], 'postQuantum'> {
  const mode = facts.encapsulation.postQuantum;
  if (mode === undefined) return {};
  const library = pairKeys?.library;
  return { postQuantum: { mode, ...(library && { library }), keys: { ...pairKeys?.counts } } };
}

function planeProblems({ workers, stuckWorkers }: DataPlaneReport): string[] {
  return stuckWorkers === 0 ? [] : [stuckText(workers, stuckWorkers)];
}

/** Peers that are there and cannot be sent to, but for those that somebody has revoked: that is as it should be. */
function mismatches({ peers, admission }: Pick<ReadModelSources, 'peers' | 'admission'>): string[] {
  const reasons = peers
    .peers()
    .filter(({ status }) => status === 'alive' || status === 'suspect')
    .filter(({ id }) => admission.standing(id) !== 'revoked')
    .flatMap(({ unreachable }) => unreachable ?? []);
  return [...new Set(reasons)].slice(0, MAX_MISMATCHES);
}
