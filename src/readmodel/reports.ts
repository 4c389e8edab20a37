/**
 * What the control socket answers, and so what `--json` prints. Field names are a promise to scripts: add,
 * never rename. Addresses, prefixes and endpoints are text; counters are numbers since the agent's start.
 */

import type { AdmissionMode } from '../admission/admission.ts';
import type { ChangedNodesReport, ListedNode, NodeChange, NodeList } from '../admission/node-commands.ts';
import type { HistogramReport } from '../histogram.ts';
import type { ClusterLink } from '../history/cluster-links.ts';
import type { ClusterEvent } from '../history/event-log.ts';
import type { Samples } from '../history/ring.ts';
import type { KeyList, ListedKey } from '../keys/key-commands.ts';
import type { LeaseStatus } from '../lease/lease-source.ts';
import type { MemberStatus } from '../membership/types.ts';
import type { KnownPeer } from '../peers/peer-view.ts';
import type { NodeTargets, UnreachableNode } from '../rpc/targets.ts';

export type { ChangedNodesReport, LeaseStatus, ListedNode, MemberStatus, NodeChange };

export interface StatusReport {
  readonly version: string;
  readonly node: {
    readonly name: string;
    readonly id: string;
    readonly pid: number;
    readonly uptimeSeconds: number;
  };
  readonly cluster: {
    readonly name: string;
    readonly sealed: boolean;
    readonly members: Readonly<Record<MemberStatus, number>>;
    /** Who takes part in forwarding, and how many of the members that are there have been approved, or revoked, or neither. */
    readonly admission: {
      readonly mode: AdmissionMode;
      readonly approved: number;
      readonly pending: number;
      readonly revoked: number;
    };
    /** Why a seed or peer could not be joined, newest last; empty when all is well. */
    readonly problems: readonly string[];
  };
  readonly underlay: {
    readonly address: string;
    readonly interface: string;
    readonly mtu: number;
    readonly gossipPort: number;
  };
  readonly encapsulation: {
    readonly type: string;
    readonly port: number;
    /** Of vxlan-gpe. */
    readonly vni?: number;
    readonly overheadBytes: number;
    /** Whether what goes between nodes is sealed. */
    readonly encrypted: boolean;
    /** What is sent to and taken from nodes without keys, beside that. */
    readonly accept?: string;
    /** What seals it; absent before packets flow. */
    readonly cipher?: string;
    /** Why that is not the fastest. */
    readonly cipherFallback?: string;
    /** This node's own, as `wg` shows keys. */
    readonly publicKey?: string;
    /** Of wireguard: `mode` as it is configured; what makes the keys, absent before there are any; how many came out how. */
    readonly postQuantum?: {
      readonly mode: 'on' | 'off' | 'require';
      readonly library?: string;
      readonly keys: Readonly<Record<string, number>>;
    };
  };
  readonly tun: { readonly name: string; readonly mtu: number; readonly addresses: readonly string[] };
  readonly lease: { readonly status: LeaseStatus; readonly subnets: readonly string[] };
  readonly pods: number;
  readonly dns: DnsReport;
  /** Absent: this node is in no Kubernetes cluster, as far as its configuration says. */
  readonly kubernetes?: KubernetesReport;
  readonly datapath: DatapathReport;
  readonly gossip: Readonly<Record<string, number>>;
  /** What others removed or changed on this host and the agent put back, by kind; every kind is listed. */
  readonly repairs: Readonly<Record<string, number>>;
  /**
   * How long things took, in seconds: answers to probes, handshakes that this node began, attaching a pod. Absent where there
   * is no such thing.
   */
  readonly durations: Readonly<Partial<Record<'probe' | 'handshake' | 'attach', HistogramReport>>>;
  /** Absent: there are none. */
  readonly policies?: PolicyReport;
  /** `dropped`: lines that the reader of the agent's log did not take in time. */
  readonly log: { readonly dropped: number };
}

/** What is known of the Kubernetes cluster that this node is in. */
export interface KubernetesReport {
  /** Where its API is. */
  readonly server: string;
  /** Of the configuration. */
  readonly ipam: 'warren' | 'kubernetes';
  /** This node's own Node. */
  readonly node: string;
  /** What that has; empty: nothing is known. */
  readonly podCidrs: readonly string[];
  /** asked: it has not answered yet. away: it does not answer as it should, and what it said last counts. */
  readonly api: 'asked' | 'connected' | 'away';
  /** For how long it has been away. */
  readonly awaySeconds: number;
  /** How many Nodes it has. */
  readonly nodes: number;
}

export interface PolicyReport {
  readonly policies: number;
  /** Of them, those that are counted and not in force. */
  readonly staged: number;
  /** Since the agent's start, by policies that have denied something. */
  readonly denied: readonly {
    readonly policy: string;
    readonly direction: 'ingress' | 'egress';
    readonly packets: number;
    /** It would be denied if the policy were in force. */
    readonly isStaged: boolean;
  }[];
}

export interface DnsReport {
  /** By the configuration. */
  readonly enabled: boolean;
  /** Where names are answered: the node's own overlay addresses. */
  readonly addresses: readonly string[];
  /** How questions ended; every result is listed. */
  readonly queries: Readonly<Record<string, number>>;
  /** To the host's resolvers, over `udp` and `tcp`, and what came of them. */
  readonly forwards: Readonly<Record<string, number>>;
  /** `hits` and `misses` among the questions that are passed on; `entries` and `bytes` of what is kept now. */
  readonly cache: {
    readonly hits: number;
    readonly misses: number;
    readonly entries: number;
    readonly bytes: number;
  };
}

export interface DatapathReport {
  /** Which data plane moves the packets. */
  readonly type: 'userspace' | 'kernel';
  /** Whether packets flow: the node has its subnet in use, and nothing the packets need is missing or stuck. */
  readonly active: boolean;
  readonly workers: number;
  /** Of those, the ones that do not answer any more. */
  readonly stuckWorkers: number;
  /** What is in use of the kernel's offloads: off by configuration, by an old kernel, or by failing at run time. */
  readonly offloads: Readonly<Record<string, boolean>>;
  readonly outbound: DirectionReport;
  readonly inbound: DirectionReport;
  /** Drop reason -> packets. Every reason is listed, also at 0. */
  readonly drops: Readonly<Record<string, number>>;
  /**
   * How often it was looked whether groups of datagrams (`udpSegment`) arrive whole at a peer, by what came out: `whole`,
   * `broken`, `unclear`, `unanswered`, `unsupported`. Empty before the first time.
   */
  readonly groupProbes: Readonly<Record<string, number>>;
}

export interface DirectionReport {
  readonly packets: number;
  readonly bytes: number;
}

export interface PeerReport {
  readonly name: string;
  readonly id: string;
  readonly kind: KnownPeer['kind'];
  readonly status: KnownPeer['status'];
  /** Where it was heard from last, else where it says that it is; empty: neither is known. */
  readonly endpoint: string;
  readonly subnets: readonly string[];
  /** Whether inner checksums are left partial towards it: both nodes want that. Else they are computed. */
  readonly partialChecksums: boolean;
  /** Bytes of an inner packet that the path to it carries, as far as is known; absent: nothing is. */
  readonly mtu?: number;
  /** For how long the keys in use have been; absent if there are none. */
  readonly sessionAgeSeconds?: number;
  /** Since both had new keys the last time, whether they are still in use or not; absent: they never had any. */
  readonly handshakeAgeSeconds?: number;
  /**
   * Whether sessions with it take a post-quantum key: `agreed`, there is one; `offered`, both make one when the first packet
   * goes; `failed`, it cannot be made, and there is no session; `none`, the other has none. Absent: this node wants none.
   */
  readonly postQuantum?: 'agreed' | 'offered' | 'failed' | 'none';
  /** Present if groups of datagrams do not arrive there whole, so that it is sent single ones. */
  readonly sentSingly?: true;
  /** Why nothing can be sent to it although it is there; absent: all is well. */
  readonly unreachable?: string;
  readonly outbound: DirectionReport;
  readonly inbound: DirectionReport;
}

/** An ordinary WireGuard device that this node is the home of. */
export interface WireguardPeerReport {
  readonly name: string;
  readonly addresses: readonly string[];
  /** As `wg` writes it. */
  readonly publicKey: string;
  /** Whether there is one. */
  readonly presharedKey: boolean;
  /** Where it was heard from last; empty: it was not heard from yet. */
  readonly endpoint: string;
  readonly dns: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Since the last handshake; absent: there was none since the agent's start. */
  readonly handshakeAgeSeconds?: number;
  readonly outbound: DirectionReport;
  readonly inbound: DirectionReport;
}

export interface WireguardPeerFile extends WireguardPeerReport {
  /** Its configuration, as wg-quick takes it. */
  readonly file: string;
  /** The file has its private key: it was made just now, and is shown this once. */
  readonly isComplete: boolean;
}

export interface RouteReport {
  readonly prefix: string;
  /** `local` for this node's own subnets. */
  readonly via: string;
  readonly endpoint: string;
}

export interface PodReport {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly netns: string;
  readonly hostInterface: string;
  /** `missing`: its network namespace is gone; the addresses stay reserved until `pod rm`. */
  readonly status: 'ready' | 'missing';
  readonly static: boolean;
  /** Absent if it has none. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** An attachment of any node, as that node last told. */
export interface InventoryReport {
  readonly node: string;
  /** Of the node: what one that is dead had attached stays known. */
  readonly status: MemberStatus;
  readonly name: string;
  readonly addresses: readonly string[];
  /** Absent if it is of none. */
  readonly network?: string;
  /** Absent if it has none. */
  readonly labels?: Readonly<Record<string, string>>;
}

export type { NodeTargets, UnreachableNode };

/** The targets of every node that can be asked. */
export interface AllTargets {
  /** This node first. */
  readonly targets: readonly NodeTargets[];
  readonly unreachable: readonly UnreachableNode[];
}

/** Who says to have which subnets of the pod ranges. */
export interface LeasesReport {
  readonly ranges: readonly { readonly range: string; readonly nodePrefixLength: number }[];
  /** By node; only those that have any, or claim some. */
  readonly leases: readonly NodeLeaseReport[];
}

export interface NodeLeaseReport {
  readonly node: string;
  readonly id: string;
  readonly status: MemberStatus;
  readonly state: 'claiming' | 'active';
  readonly subnets: readonly string[];
  /** Where each of `subnets` is: the how-manieth of which range, from 0; null: in none. */
  readonly slots: readonly ({ readonly range: number; readonly index: number } | null)[];
  /** Since 1970, by the node's clock. */
  readonly sinceSeconds: number;
  /** Whether pods run in it. */
  readonly inUse: boolean;
  /** Names of others that say to have one of them too. */
  readonly conflicts: readonly string[];
}

/** What happened, newest first. */
export type EventReport = ClusterEvent;

/** Rates per second since a sample, oldest first. */
export interface HistoryReport {
  readonly sequence: number;
  readonly intervalSeconds: number;
  /** Milliseconds since 1970. */
  readonly times: readonly number[];
  readonly totals: Samples['totals'];
  /** Packets per second. */
  readonly drops: Samples['drops'];
  /** Of those with the most traffic. */
  readonly peers: readonly {
    readonly name: string;
    /** As in PeerReport; of static peers empty. */
    readonly id: string;
    readonly outboundBytes: readonly number[];
    readonly inboundBytes: readonly number[];
  }[];
}

/** What one node sends another, as the one that sends says. */
export type LinkReport = ClusterLink;

/** Where this agent's web page is. */
export interface PageReport {
  /** With a slash at its end; null: it is nowhere, for `reason`. */
  readonly url: string | null;
  readonly reason?: string;
  /** What shows names there, until the agent ends. */
  readonly token?: string;
}

export interface ForgetReport {
  readonly name: string;
  readonly id: string;
  /** What is free again. */
  readonly subnets: readonly string[];
}

export interface LeaveReport {
  readonly name: string;
  /** What is free again. */
  readonly subnets: readonly string[];
}

export interface ReloadReport {
  /** Keys of the configuration whose new value counts from now on. */
  readonly changed: readonly string[];
  /** Keys whose new value counts after a restart of the agent. */
  readonly needsRestart: readonly string[];
}

export type { KeyList as KeyListReport, ListedKey as KeyReport, NodeList as NodeListReport };

export interface KeyChange {
  readonly action: 'add' | 'use' | 'remove';
  /** `add`: the key, base64. */
  readonly key?: string | undefined;
  /** `use`, `remove`. */
  readonly fingerprint?: string | undefined;
  /** Do it although some node is not ready for it. */
  readonly force?: boolean | undefined;
}

export interface ErrorReport {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

/** One file of a sysdump. */
export interface DumpFile {
  /** Lower-case letters, digits, `.` and `-`. */
  readonly name: string;
  readonly text: string;
}

export interface NodeDump {
  readonly node: string;
  /** Empty for the node that was asked. */
  readonly id: string;
  readonly files: readonly DumpFile[];
}

export interface SysdumpReport {
  /** The node that was asked comes first. */
  readonly nodes: readonly NodeDump[];
  readonly unreachable: readonly UnreachableNode[];
}
