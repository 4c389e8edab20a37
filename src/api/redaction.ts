/**
 * The read model for those who may not see names: nodes, pods, networks and clusters have pseudonyms, which are the same in
 * all reports while the agent runs, and say nothing. Labels, paths and sentences, which hold names, are left out. Addresses
 * stay: whoever is on the host sees its routes anyway.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { ChangeListener } from '../readmodel/change-feed.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type {
  EventReport,
  HistoryReport,
  InventoryReport,
  LeasesReport,
  PeerReport,
  PodReport,
  StatusReport,
} from '../readmodel/reports.ts';
import type { Topic } from '../readmodel/topics.ts';

const HIDDEN = 'hidden without a token';

type Pseudonym = (kind: 'node' | 'pod' | 'net' | 'cluster', name: string) => string;

/** Pseudonyms under a key that nobody has. */
function pseudonyms(key = randomBytes(32)): Pseudonym {
  return (kind, name) =>
    `${kind}-${createHmac('sha256', key).update(`${kind} ${name}`).digest('hex').slice(0, 8)}`;
}

export function redacted(model: ReadModel): ReadModel {
  const rename = pseudonyms();
  const node = (name: string) => rename('node', name);
  return {
    get version() {
      return model.version;
    },
    subscribe: (topics: readonly Topic[], listener: ChangeListener) => model.subscribe(topics, listener),
    status: () => redactedStatus(model.status(), rename),
    peers: () => model.peers().map((peer) => redactedPeer(peer, rename)),
    pods: () => model.pods().map((pod) => redactedPod(pod, rename)),
    inventory: () => model.inventory().map((pod) => redactedAttachment(pod, rename)),
    leases: (): LeasesReport => {
      const { ranges, leases } = model.leases();
      return {
        ranges,
        leases: leases.map((lease) => ({
          ...lease,
          node: node(lease.node),
          conflicts: lease.conflicts.map(node),
        })),
      };
    },
    events: (): readonly EventReport[] =>
      model.events().map((event) => ({ ...event, node: node(event.node) })),
    // Not for those who look from outside at all.
    routes: () => [],
    targets: () => ({ node: node(model.status().node.name), addresses: [], pods: [] }),
    history: (after: number): HistoryReport => {
      const history = model.history(after);
      return { ...history, peers: history.peers.map((peer) => ({ ...peer, name: node(peer.name) })) };
    },
  };
}

function redactedStatus(status: StatusReport, rename: Pseudonym): StatusReport {
  const { cluster, kubernetes } = status;
  return {
    ...status,
    ...(kubernetes && {
      kubernetes: { ...kubernetes, node: rename('node', kubernetes.node), server: HIDDEN },
    }),
    node: { ...status.node, name: rename('node', status.node.name) },
    cluster: {
      ...cluster,
      name: rename('cluster', cluster.name),
      problems: cluster.problems.map(() => HIDDEN),
    },
  };
}

function redactedPeer(peer: PeerReport, rename: Pseudonym): PeerReport {
  return {
    ...peer,
    name: rename('node', peer.name),
    ...(peer.unreachable !== undefined && { unreachable: HIDDEN }),
  };
}

function redactedPod({ labels: _, ...pod }: PodReport, rename: Pseudonym): PodReport {
  return { ...pod, name: rename('pod', pod.name), netns: HIDDEN };
}

function redactedAttachment({ labels: _, ...pod }: InventoryReport, rename: Pseudonym): InventoryReport {
  return {
    ...pod,
    node: rename('node', pod.node),
    name: rename('pod', pod.name),
    ...(pod.network !== undefined && { network: rename('net', pod.network) }),
  };
}
