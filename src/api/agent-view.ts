/** What the control API needs of the agent: everything it shows, and the few things it changes. */
import type {
  ForgetReport,
  KeyChange,
  KeyListReport,
  LeaveReport,
  NodeTargets,
  PeerReport,
  PodReport,
  RouteReport,
  StatusReport,
} from '../readmodel/reports.ts';

export interface AgentView {
  status(): StatusReport;
  peers(): readonly PeerReport[];
  routes(): readonly RouteReport[];
  readonly pods: PodsView;
  /** This node's addresses and its pods. */
  targets(): NodeTargets;
  /** The same of every node that can be asked, this one first. */
  allTargets(): Promise<AllTargets>;
  /** Forgets a dead node, by name or id, on the whole cluster. */
  forget(node: string): ForgetReport;
  /** Gives the subnets back, and has the agent end once this is answered. Refused while there are pods, unless forced. */
  leave(options: { readonly force: boolean }): Promise<LeaveReport>;
  listKeys(): Promise<KeyListReport>;
  /** The fingerprint of the key. */
  changeKeys(change: KeyChange): Promise<{ readonly fingerprint: string }>;
}

export interface PodsView {
  list(): readonly PodReport[];
  add(name: string, options: { netns?: string | undefined }): Promise<PodReport>;
  remove(name: string): Promise<PodReport>;
}

export interface AllTargets {
  readonly targets: readonly NodeTargets[];
  readonly unreachable: readonly { readonly node: string; readonly reason: string }[];
}
