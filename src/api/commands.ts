/** What can be asked of the agent that is more than reading what it knows: changes, and questions to other nodes. */
import type { CniCommands } from '../cni/messages.ts';
import type {
  AllTargets,
  ChangedNodesReport,
  ForgetReport,
  KeyChange,
  KeyListReport,
  LeaveReport,
  LinkReport,
  NodeChange,
  NodeListReport,
  PodReport,
  ReloadReport,
  SysdumpReport,
} from '../readmodel/reports.ts';

export interface AddPodOptions {
  /** Path of a network namespace that exists; default: the pod gets its own. */
  readonly netns?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface Commands {
  addPod(name: string, options: AddPodOptions): Promise<PodReport>;
  removePod(name: string): Promise<PodReport>;
  /** What every node that can be asked has to be reached, this one first. */
  allTargets(): Promise<AllTargets>;
  /** Forgets a dead node, by name or id, on the whole cluster. */
  forget(node: string): ForgetReport;
  /** Gives the subnets back, and has the agent end once this is answered. Refused while there are pods, unless forced. */
  leave(options: { readonly force: boolean }): Promise<LeaveReport>;
  /** Reads the configuration again. Throws CONFIG_INVALID or CONFIG_UNREADABLE, and nothing has changed then. */
  reload(): Promise<ReloadReport>;
  /** What goes between any two nodes, as those say that answer. */
  links(): Promise<readonly LinkReport[]>;
  /** This node's state for a bug report, without keys, or that of every node that answers. */
  sysdump(options: { readonly all: boolean }): Promise<SysdumpReport>;
  /** What the CNI plugin asks. */
  cni(): Promise<CniCommands>;
  listKeys(): Promise<KeyListReport>;
  /** Who takes part in forwarding. */
  listNodes(): NodeListReport;
  /** Approves or revokes nodes, on a node of cluster.approvers; those that it did. */
  changeNodes(change: NodeChange): ChangedNodesReport;
  /** The fingerprint of the key. */
  changeKeys(change: KeyChange): Promise<{ readonly fingerprint: string }>;
}
