/**
 * What the read model reads. Each source is as small as the reports need it, so that a test is a few lines, and says
 * by `on('change')` that its answers may be others now. Nothing here is stored: sources are asked when a report is.
 */
import type { AdmissionMode, Standing } from '../admission/admission.ts';
import type { DataPlaneReport, ForwardingPeer, TrafficTotals } from '../dataplane/dataplane.ts';
import type { ClusterEvent } from '../history/event-log.ts';
import type { Samples } from '../history/ring.ts';
import type { Holder } from '../inventory/inventory.ts';
import type { IpAddress } from '../ip/address.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { LeaseSource } from '../lease/lease-source.ts';
import type { LeaseClaim, MemberStatus } from '../membership/types.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { DnsReport, KubernetesReport, PodReport, PolicyReport, StatusReport } from './reports.ts';

export interface ChangeSource {
  on(event: 'change', listener: () => void): unknown;
}

/** The cluster's nodes as this one sees them. */
export interface MemberSource extends ChangeSource {
  /** This node's id. */
  readonly id: string;
  /** This node included. */
  members(): readonly { readonly id: string; readonly status: MemberStatus }[];
  /** Of any node; undefined: it is not known. */
  name(id: string): string | undefined;
  /** What a person should look at, one sentence each. */
  problems(): readonly string[];
  counters(): Readonly<Record<string, number>>;
}

/** Of Admission (admission/admission.ts), what reports show. */
export interface AdmissionReader {
  mode(): AdmissionMode;
  standing(nodeId: string): Standing;
}

export type LeaseReader = Pick<LeaseSource, 'state' | 'problems' | 'on'>;

/** Everybody who is known, whatever told of them, with what they own. */
export interface PeerView extends ChangeSource {
  peers(): readonly KnownPeer[];
}

/** Of DataPlane (dataplane/dataplane.ts), what reports show. It says of no change itself: who drives it calls `LiveReadModel.changed`. */
export interface DataPlaneReader {
  readonly vtep: Endpoint;
  readonly underlay: { readonly address: IpAddress; readonly interfaceName: string; readonly mtu: number };
  readonly mtu: number;
  report(): DataPlaneReport;
  /** Zeros for a peer that it does not know. */
  traffic(key: string): TrafficTotals;
  /** Inner bytes that the path to a peer carries; undefined for a peer that it does not know. */
  pathMtu(key: string): number | undefined;
  /** Where a peer was heard from last, if that is not where it says; see DataPlane. */
  movedTo?(key: string): Endpoint | undefined;
  /** For how long the keys in use with a peer have been, milliseconds; undefined: there are none. */
  sessionAgeMs?(key: string): number | undefined;
  /** Since the last handshake with a peer, milliseconds; undefined: there was none. */
  handshakeAgeMs?(key: string): number | undefined;
}

/** What this node has in the overlay just now: nothing before the data plane is active. */
export interface OwnOverlay {
  subnets(): readonly Prefix[];
  /** The node's own address in each. */
  addresses(): readonly IpAddress[];
}

export interface PodSource extends ChangeSource {
  list(): readonly PodReport[];
}

/** Of Inventories (inventory/inventories.ts), what reports show. */
export interface InventoryReader extends ChangeSource {
  /** Of all nodes, this one included. */
  entries(): Iterable<Holder>;
}

/** Of PairKeying (agent/pair-keying.ts), what reports show. */
export interface PairKeyReader {
  /** What does the arithmetic; undefined before there was any. */
  readonly library: string | undefined;
  readonly counts: Readonly<Record<string, number>>;
  /** Of a peer, by its id. */
  state(id: string): 'agreed' | 'offered' | 'failed';
}

/** What does not change while the agent runs. */
export interface NodeFacts {
  readonly version: string;
  readonly name: string;
  readonly pid: number;
  readonly clusterName: string;
  /** Whether gossip is sealed under a cluster key. */
  readonly sealed: boolean;
  readonly gossipPort: number;
  readonly encapsulation: {
    readonly type: string;
    readonly accept?: string | undefined;
    readonly vni: number;
    readonly postQuantum?: 'on' | 'off' | 'require' | undefined;
    readonly publicKey?: string;
  };
  uptimeSeconds(): number;
}

/** What a node says of its subnets, with who it is. */
export interface Claim extends Pick<LeaseClaim, 'state' | 'prefixes' | 'sinceSeconds' | 'inUse'> {
  readonly id: string;
  readonly name: string;
  readonly status: MemberStatus;
}

/** Of History (history/history.ts), what reports show. */
export interface HistoryReader extends ChangeSource {
  samples(after: number): Samples;
  events(): readonly ClusterEvent[];
}

export interface ReadModelSources {
  readonly facts: NodeFacts;
  readonly members: MemberSource;
  readonly admission: AdmissionReader;
  readonly leases: LeaseReader;
  readonly peers: PeerView;
  readonly dataPlane: DataPlaneReader;
  readonly own: OwnOverlay;
  /** To whom packets go by now, and for which prefixes: what `peers` says gets there a moment later. */
  readonly forwarded: () => readonly Pick<ForwardingPeer, 'key' | 'name' | 'endpoint' | 'subnets'>[];
  readonly pods: PodSource;
  readonly inventory: InventoryReader;
  readonly ranges: readonly { readonly range: Prefix; readonly nodePrefixLength: number }[];
  /** Of all nodes that have subnets or claim some, this one included. */
  readonly claims: () => readonly Claim[];
  readonly history: HistoryReader;
  /** What was put back on this host, by kind. */
  readonly repairs: () => Readonly<Record<string, number>>;
  /** How names are answered. */
  readonly dns: () => DnsReport;
  /** Absent: this node is in no Kubernetes cluster. */
  readonly kubernetes?: () => KubernetesReport;
  /** How many group probes came out how; empty before there was any. */
  readonly groupProbes: () => Readonly<Record<string, number>>;
  /** Absent: sessions are made without post-quantum keys. */
  readonly pairKeys?: PairKeyReader;
  /** Undefined, or absent: there are no network policies. */
  readonly policies?: () => PolicyReport | undefined;
  /** How long things took: probes, attaching. */
  readonly durations: () => StatusReport['durations'];
  /** Log lines that nobody took. */
  readonly droppedLogLines: () => number;
}
