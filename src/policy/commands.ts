/** What `warren policy` asks of the agent, and what it is told. */
import type { NetworkPolicy } from './schema.ts';
import type { EndVerdict } from './verdict.ts';

export interface PolicyChange {
  /** Documents that take the place of those of the same names. */
  readonly apply?: readonly unknown[] | undefined;
  /** `namespace/name`, or `name` in the namespace `default`. */
  readonly delete?: readonly string[] | undefined;
  /** All other nodes are to have what this one has then. */
  readonly all?: boolean | undefined;
}

export interface PolicyEntry {
  /** `namespace/name`. */
  readonly name: string;
  /** Who has it, other than this node: `Kubernetes`. */
  readonly source?: string;
  readonly staged: boolean;
  /** Pods of this node that it selects. */
  readonly pods: number;
  /** Packets that it has denied here since the agent's start, or would have if it were in force. */
  readonly denied: number;
  readonly document: NetworkPolicy;
}

export interface PolicyListReport {
  readonly policies: readonly PolicyEntry[];
  /** Of them all; null: there are none. */
  readonly hash: string | null;
  /** Names of nodes that have others. */
  readonly differing: readonly string[];
}

export interface PolicyChangeReport {
  readonly applied: readonly string[];
  readonly deleted: readonly string[];
  /** Nodes that have the same now. */
  readonly sent: readonly string[];
  /** Nodes that could not be told. */
  readonly unreachable: readonly { readonly node: string; readonly reason: string }[];
  /** Names of nodes that have others, as far as is known, where nothing was sent. */
  readonly differing: readonly string[];
  /** Why the rules of this node are not what they should be; absent: they are in force. */
  readonly problem?: string;
}

export interface ExplainRequest {
  /** A pod, as `name` or `namespace/name`, or an address. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** 0 of ICMP. */
  readonly port: number;
}

export interface NamedEnd {
  readonly address: string;
  /** `namespace/name`; absent: it is no pod. */
  readonly pod?: string;
  /** Absent: of no node. */
  readonly node?: string;
  readonly isNode?: true;
}

export interface LatePackets {
  readonly packets: number;
  /** Since the last one. */
  readonly ageSeconds: number;
}

/** By the kernel's own counters, since the rules were made. */
export interface CountedPackets {
  /** Those that let something through, by what their comments say of where they come from. */
  readonly rules: readonly { readonly comment: string; readonly packets: number }[];
  /** Of just these packets, denied in the last 10 minutes. */
  readonly denied?: LatePackets | undefined;
  /** The same of what staged policies would have denied. */
  readonly trial?: LatePackets | undefined;
}

export interface ExplainedEnd extends EndVerdict {
  readonly node: string;
  readonly kernel?: CountedPackets;
  /** Why the kernel's counters are not known. */
  readonly unknown?: string;
}

export interface ExplainReport {
  readonly from: NamedEnd;
  readonly to: NamedEnd;
  readonly protocol: ExplainRequest['protocol'];
  readonly port: number;
  readonly verdict: 'allowed' | 'denied';
  /** Those that are pods: the one that sends, then the one that gets. */
  readonly ends: readonly ExplainedEnd[];
}

export interface PolicyCommands {
  explain(request: ExplainRequest): Promise<ExplainReport>;
  change(change: PolicyChange): Promise<PolicyChangeReport>;
  list(): Promise<PolicyListReport>;
}
