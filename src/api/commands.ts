/** What can be asked of the agent that is more than reading what it knows: changes, and questions to other nodes. */
import type { RunningCapture } from '../capture/captures.ts';
import type { CaptureRequest } from '../capture/request.ts';
import type { CniCommands } from '../cni/messages.ts';
import type { DockerCommands } from '../docker/commands.ts';
import type { PolicyCommands } from '../policy/commands.ts';
import type { RespondersReport } from '../readmodel/check-reports.ts';
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
  WireguardPeerFile,
  WireguardPeerReport,
} from '../readmodel/reports.ts';
import type { TraceRequest } from '../trace/messages.ts';
import type { TraceReport } from '../trace/model.ts';

export interface AddPodOptions {
  /** Path of a network namespace that exists; default: the pod gets its own. */
  readonly netns?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface AddWireguardPeer {
  readonly name: string;
  /** As `wg pubkey` writes it; default: keys are made, and the file has them this once. */
  readonly publicKey?: string | undefined;
  /** Where the device always is; default: it comes from anywhere. */
  readonly endpoint?: string | undefined;
  /** Where the device reaches this node; default: the underlay's address and the tunnel's port. */
  readonly nodeEndpoint?: string | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface Commands {
  addPod(name: string, options: AddPodOptions): Promise<PodReport>;
  removePod(name: string): Promise<PodReport>;
  /** Ordinary WireGuard devices of this node. */
  listWireguardPeers(): readonly WireguardPeerReport[];
  /** With its file, which has no private key. */
  showWireguardPeer(name: string): WireguardPeerFile;
  addWireguardPeer(request: AddWireguardPeer): Promise<WireguardPeerFile>;
  removeWireguardPeer(name: string): Promise<WireguardPeerReport>;
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
  /** Has this node and all others answer the connections of a check for so long. */
  respond(seconds: number): Promise<RespondersReport>;
  /** Packets as they come, until a limit is met or `signal` is aborted. */
  capture(request: CaptureRequest, signal: AbortSignal): Promise<RunningCapture>;
  /** Follows a packet between two ends; a flow of real ones until `signal` is aborted. */
  trace(request: TraceRequest, signal: AbortSignal): Promise<TraceReport>;
  /** What the CNI plugin asks. */
  cni(): Promise<CniCommands>;
  /** What `warren docker` asks. */
  docker(): Promise<DockerCommands>;
  /** What `warren policy` asks. */
  policies(): Promise<PolicyCommands>;
  listKeys(): Promise<KeyListReport>;
  /** Who takes part in forwarding. */
  listNodes(): NodeListReport;
  /** Approves or revokes nodes, on a node of cluster.approvers; those that it did. */
  changeNodes(change: NodeChange): ChangedNodesReport;
  /** The fingerprint of the key. */
  changeKeys(change: KeyChange): Promise<{ readonly fingerprint: string }>;
}
