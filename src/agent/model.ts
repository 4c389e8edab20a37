/** The read model over the parts of a running agent. */
import type { Admission } from '../admission/admission.ts';
import { nodeAddress } from '../attachment/addresses.ts';
import type { Config } from '../config/config.ts';
import type { DataPlane, ForwardingPeer } from '../dataplane/dataplane.ts';
import type { History } from '../history/history.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { LeaseSource } from '../lease/lease-source.ts';
import type { Membership } from '../membership/membership.ts';
import { VERSION } from '../package.ts';
import type { PeerView } from '../peers/peer-view.ts';
import type { InventoryReader, PairKeyReader, PodSource } from '../readmodel/ports.ts';
import { LiveReadModel } from '../readmodel/read-model.ts';
import type { DnsReport, KubernetesReport, PolicyReport, StatusReport } from '../readmodel/reports.ts';

export interface ModelParts {
  readonly config: Config;
  /** Gossip goes under a cluster key. */
  readonly sealed: boolean;
  readonly admission: Admission;
  /** X25519, if the tunnel has keys. */
  readonly tunnelKey: Uint8Array | undefined;
  readonly membership: Membership;
  readonly leases: LeaseSource;
  readonly peers: PeerView;
  readonly dataPlane: DataPlane;
  readonly pods: PodSource;
  readonly inventory: InventoryReader;
  readonly history: History;
  /** That the data plane works by now. */
  readonly subnets: () => readonly Prefix[];
  /** The peers that it works by. */
  readonly forwarded: () => readonly ForwardingPeer[];
  /** Besides those of leases and peers. */
  readonly problems: () => readonly string[];
  /** What was put back on this host, by kind. */
  readonly repairs: () => Readonly<Record<string, number>>;
  /** How names are answered. */
  readonly dns: () => DnsReport;
  /** Absent: this node is in no Kubernetes cluster. */
  readonly kubernetes: (() => KubernetesReport) | undefined;
  /** How many group probes came out how. */
  readonly groupProbes: () => Readonly<Record<string, number>>;
  /** Absent: sessions are made without. */
  readonly pairKeys: PairKeyReader | undefined;
  /** Undefined where there are none. */
  readonly policies: () => PolicyReport | undefined;
  readonly durations: () => StatusReport['durations'];
  readonly droppedLogLines: () => number;
}

export function agentModel(parts: ModelParts): LiveReadModel {
  const {
    config,
    sealed,
    admission,
    tunnelKey,
    membership,
    leases,
    peers,
    dataPlane,
    pods,
    inventory,
    history,
    subnets,
    forwarded,
    problems,
    repairs,
    dns,
    kubernetes,
    groupProbes,
    pairKeys,
    policies,
    durations,
    droppedLogLines,
  } = parts;
  return new LiveReadModel({
    facts: {
      version: VERSION,
      name: config.node.name,
      pid: process.pid,
      clusterName: config.cluster.name,
      sealed,
      gossipPort: config.underlay.gossipPort,
      encapsulation: {
        ...config.encapsulation,
        ...(tunnelKey && { publicKey: Buffer.from(tunnelKey).toString('base64') }),
      },
      uptimeSeconds: () => process.uptime(),
    },
    members: {
      id: membership.id,
      members: () => membership.members(),
      name: (id) => membership.member(id)?.name,
      problems,
      counters: () => membership.counters(),
      on: (event, listener) => {
        membership.on('removed', listener);
        return membership.on(event, listener);
      },
    },
    admission: { mode: () => admission.rules.mode, standing: (id) => admission.standing(id) },
    leases,
    peers,
    dataPlane,
    own: { subnets, addresses: () => subnets().map(nodeAddress) },
    forwarded,
    pods,
    inventory,
    ranges: config.cluster.podCidrs,
    claims: () =>
      membership
        .members()
        .flatMap(({ id, name, status, lease }) =>
          lease === undefined ? [] : [{ id, name, status, ...lease }],
        ),
    history,
    repairs,
    dns,
    ...(kubernetes && { kubernetes }),
    groupProbes,
    ...(pairKeys && { pairKeys }),
    policies,
    durations,
    droppedLogLines,
  });
}
