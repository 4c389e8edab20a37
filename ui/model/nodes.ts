/** The cluster as things to be drawn and listed: nodes with their pods, and the links of this node. */
import type { InventoryReport, PeerReport, StatusReport } from '../../src/readmodel/reports.ts';
import { peerKey, type Rate, type State } from './state.ts';

export type Health = 'well' | 'suspect' | 'dead' | 'left' | 'cut' | 'static';
/** `sealed`: there are keys in use. `idle`: what will be sent will be sealed. */
export type Sealing = 'sealed' | 'idle' | 'clear';

export interface NodeView {
  readonly key: string;
  readonly name: string;
  readonly isSelf: boolean;
  readonly health: Health;
  /** As text, for who cannot see colours. */
  readonly healthText: string;
  readonly subnets: readonly string[];
  readonly endpoint: string;
  readonly pods: readonly InventoryReport[];
  /** Undefined for this node itself. */
  readonly peer: PeerReport | undefined;
  readonly sealing: Sealing | undefined;
  readonly rate: Rate;
}

const NO_RATE: Rate = { outbound: 0, inbound: 0 };
const HEALTH: Readonly<Record<PeerReport['status'], Health>> = {
  alive: 'well',
  suspect: 'suspect',
  dead: 'dead',
  left: 'left',
  static: 'static',
  wireguard: 'static',
};

/** This node first, then the others as the agent has sorted them. */
export function nodesOf({ status, peers, inventory, rates }: State): NodeView[] {
  if (status === undefined) return [];
  const pods = new Map<string, InventoryReport[]>();
  for (const pod of inventory) {
    const list = pods.get(pod.node);
    if (list) list.push(pod);
    else pods.set(pod.node, [pod]);
  }
  const own: NodeView = {
    key: status.node.id,
    name: status.node.name,
    isSelf: true,
    health: status.datapath.active ? 'well' : 'suspect',
    healthText: status.datapath.active ? 'this node' : `this node, lease ${status.lease.status}`,
    subnets: status.lease.subnets,
    endpoint: `${status.underlay.address}:${status.encapsulation.port}`,
    pods: pods.get(status.node.name) ?? [],
    peer: undefined,
    sealing: undefined,
    rate: sum(rates.values()),
  };
  return [own, ...peers.map((peer) => nodeOf(peer, status, pods.get(peer.name) ?? [], rates))];
}

function nodeOf(
  peer: PeerReport,
  status: StatusReport,
  pods: readonly InventoryReport[],
  rates: ReadonlyMap<string, Rate>,
): NodeView {
  const key = peerKey(peer);
  const isCut = peer.unreachable !== undefined && (peer.status === 'alive' || peer.status === 'suspect');
  return {
    key,
    name: peer.name,
    isSelf: false,
    health: isCut ? 'cut' : HEALTH[peer.status],
    healthText: isCut ? `${peer.status}, nothing can be sent to it` : peer.status,
    subnets: peer.subnets,
    endpoint: peer.endpoint,
    pods: peer.kind === 'gossip' ? pods : [],
    peer,
    sealing: sealingOf(peer, status),
    rate: rates.get(key) ?? NO_RATE,
  };
}

function sealingOf({ sessionAgeSeconds }: PeerReport, { encapsulation }: StatusReport): Sealing {
  if (sessionAgeSeconds !== undefined) return 'sealed';
  return encapsulation.encrypted ? 'idle' : 'clear';
}

export const SEALING_TEXT: Readonly<Record<Sealing, string>> = {
  sealed: 'encrypted',
  idle: 'encrypted, idle',
  clear: 'clear text',
};

function sum(rates: Iterable<Rate>): Rate {
  let [outbound, inbound] = [0, 0];
  for (const rate of rates) {
    outbound += rate.outbound;
    inbound += rate.inbound;
  }
  return { outbound, inbound };
}
