/** What `warren policy` asks of the agent, and what it is told. */
import type { NetworkPolicy } from './schema.ts';

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

export interface PolicyCommands {
  change(change: PolicyChange): Promise<PolicyChangeReport>;
  list(): Promise<PolicyListReport>;
}
