/** All that an agent has of the world outside. */
import type { Commands } from '../api/commands.ts';
import type { AttachmentNetwork } from '../attachment/link.ts';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/config.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import type { OwnTunnelKey } from '../dataplane/tunnel-keys.ts';
import type { Host } from '../host/host.ts';
import type { MachineGeneration } from '../host/machine-generation.ts';
import type { HostRules } from '../host/rules/host-rules.ts';
import type { Underlay } from '../host/underlay-route.ts';
import type { Endpoint } from '../ip/endpoint.ts';
import type { LeaseSource, LeaseSourceOptions } from '../lease/lease-source.ts';
import type { Transport } from '../link/transport.ts';
import type { Logger } from '../log/logger.ts';
import type { Boot } from '../membership/downtime.ts';
import type { Random } from '../membership/random.ts';
import type { MembershipTiming } from '../membership/timing.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import type { DumpFile } from '../readmodel/reports.ts';
import type { CaptureParts } from './capture.ts';
import type { ResponderParts } from './check.ts';
import type { LoadLinks } from './cluster-links.ts';
import type { CniParts } from './cni.ts';
import type { DockerParts } from './docker.ts';
import type { LoadGroupProbes } from './group-probing.ts';
import type { OpenKubernetes } from './kubernetes.ts';
import type { LoadNameParts } from './names.ts';
import type { LoadPairKeys } from './pair-keying.ts';
import type { PolicyParts } from './policies.ts';
import type { AgentState } from './state.ts';
import type { LoadSysdumps } from './sysdump.ts';
import type { TraceParts } from './trace.ts';

export interface AgentParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly host: Host;
  readonly state: AgentState;
  /** Opens devices and sockets. Throws what is missing. */
  readonly openDataPlane: (options: DataPlaneOptions) => DataPlane;
  /** Of gossip and requests; bound when it is opened. */
  readonly transport: (bind: Endpoint, timing: MembershipTiming) => Transport;
  /** `problems`: what does not work as it should here, one sentence each. */
  readonly attachmentNetwork: AttachmentNetwork & { problems?(): string[] };
  /** The host's packet filter; absent: the agent leaves it alone. */
  readonly hostRules?: HostRules;
  /** Serves model and commands; absent: nobody can ask this agent. */
  readonly serve?: (model: ReadModel, commands: Commands) => Promise<{ close(): Promise<void> }>;
  /** Where this node's own subnet comes from; absent: it is settled over gossip. */
  readonly leaseSource?: (options: LeaseSourceOptions) => LeaseSource;
  /** Find out whether groups of datagrams arrive whole at peers; absent: that is taken for granted. */
  readonly groupProbes?: LoadGroupProbes;
  /** Post-quantum keys; absent: sessions are made without, and the node's record offers none. */
  readonly pairKeys?: LoadPairKeys;
  /** What the CNI plugin needs of this node; absent: it is not served. */
  readonly cni?: CniParts;
  /** Sockets and files of names; absent: this agent answers none. */
  readonly names?: LoadNameParts;
  /** The way to the API of a Kubernetes cluster; absent: this agent is in none, whatever its configuration says. */
  readonly kubernetes?: OpenKubernetes;
  /** What the Docker driver needs of this node; absent: there is none. */
  readonly docker?: DockerParts;
  /** What network policies need of this node; absent: there are none. */
  readonly policies?: PolicyParts;
  /** Starts what answers the connections of a check; absent: nothing does. */
  readonly responders?: ResponderParts;
  /** Absent: this agent captures nothing. */
  readonly captures?: CaptureParts;
  /** Absent: this agent traces nothing. */
  readonly traces?: TraceParts;
  /** Absent: there are no sysdumps of this agent. */
  readonly sysdumps?: LoadSysdumps;
  /** Of the whole cluster; default: loaded when somebody asks. */
  readonly links?: LoadLinks;
  /** What the host says of itself for a sysdump. */
  readonly hostFacts?: () => Promise<readonly DumpFile[]>;
  /** The latest lines of the log. */
  readonly recentLog?: () => string;
  readonly random?: Random;
  /** Log lines that nobody took; absent: none ever. */
  readonly droppedLogLines?: () => number;
  /** Reads the configuration again. Throws CONFIG_UNREADABLE or CONFIG_INVALID. Absent: there is none to read. */
  readonly readConfig?: () => Config;
  /** Absent: time that passes while the agent does not run is not known (membership/downtime.ts). */
  readonly boot?: Boot;
  /** Absent: this machine never goes on from an earlier state. */
  readonly generation?: MachineGeneration;
}

export interface DataPlaneOptions {
  readonly config: Config;
  readonly underlay: Underlay;
  /** Where the tunnel has keys. */
  readonly tunnelKey: OwnTunnelKey | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  /** It cannot go on. */
  readonly onFailure: (error: Error) => void;
  /** A device that it needs was deleted: `repair` makes it anew. */
  readonly onDeviceLost: () => void;
  /** Its report says otherwise than before whether packets flow. */
  readonly onHealthChange: () => void;
  /** The path to a peer carries another size than before. */
  readonly onPathChange: () => void;
  /** Something waits for keys of a peer that needs some (`DataPlane.setPairKeys`), by its key. */
  readonly onPairKeyWanted: (key: string) => void;
}
