/**
 * The composition root: builds an agent out of its parts, starts it in order, stops it in reverse.
 *
 *     configuration, state                    nothing outside of the process has changed up to here
 *     underlay -> data plane                  what is missing on this host shows now
 *     control socket                          `warren status` works from here on
 *     lease, inventory -> membership          the node is found by others, and gets its subnet
 *     data plane active -> attachments        packets flow
 *
 * Everything that reaches outside (host, data plane, network, disk, clock) is handed to it, so that a test builds a
 * whole agent without root: `agent/linux-parts.ts` has the real ones. It is the one place where events of members,
 * leases, attachments and the host meet what follows them.
 */
import { agentCommands } from './agent/commands.ts';
import { HostGuard, type RepairKind } from './agent/host-guard.ts';
import { inventoryOfAttachments } from './agent/inventory-feed.ts';
import { Reconciler } from './agent/reconciler.ts';
import type { AgentState } from './agent/state.ts';
import { timingOf } from './agent/timing.ts';
import { moveUnderlay, refuseUnderlayInOverlay } from './agent/underlay-move.ts';
import type { Commands } from './api/commands.ts';
import { Attachments } from './attachment/attachments.ts';
import { nodeAddress } from './attachment/addresses.ts';
import type { AttachmentNetwork } from './attachment/link.ts';
import type { Clock } from './clock.ts';
import type { Config } from './config/config.ts';
import type { DataPlane } from './dataplane/dataplane.ts';
import { errorMessage, WarrenError } from './errors.ts';
import type { Host } from './host/host.ts';
import type { Underlay } from './host/underlay-route.ts';
import { Inventories } from './inventory/inventories.ts';
import { formatAddress } from './ip/address.ts';
import { type Endpoint, formatEndpoint } from './ip/endpoint.ts';
import { formatPrefix, type Prefix } from './ip/prefix.ts';
import { ClusterKeyCommands } from './keys/key-commands.ts';
import { LeaseManager } from './lease/lease-manager.ts';
import type { LeaseSource } from './lease/lease-source.ts';
import { MovableTransport } from './link/movable-transport.ts';
import type { Transport } from './link/transport.ts';
import type { Logger } from './log/logger.ts';
import { Membership } from './membership/membership.ts';
import type { Random } from './membership/random.ts';
import type { MembershipTiming } from './membership/timing.ts';
import { VERSION } from './package.ts';
import { GossipPeers } from './peers/gossip-peers.ts';
import { PeerView } from './peers/peer-view.ts';
import { StaticPeers } from './peers/static-peers.ts';
import { Pods } from './pod/pods.ts';
import { LiveReadModel, type ReadModel } from './readmodel/read-model.ts';

/** All that an agent has of the world outside. */
export interface AgentParts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly host: Host;
  readonly state: AgentState;
  /** Opens devices and sockets. Throws what is missing. */
  readonly openDataPlane: (options: DataPlaneOptions) => DataPlane;
  /** Of the gossip; bound when it is opened. */
  readonly transport: (bind: Endpoint, timing: MembershipTiming) => Transport;
  readonly attachmentNetwork: AttachmentNetwork & { problems?(): string[] };
  /** Serves model and commands; absent: nobody can ask this agent. */
  readonly serve?: (model: ReadModel, commands: Commands) => Promise<{ close(): Promise<void> }>;
  readonly random?: Random;
}

export interface DataPlaneOptions {
  readonly config: Config;
  readonly underlay: Underlay;
  readonly log: Logger;
  readonly onFailure: (error: Error) => void;
  readonly onDeviceLost: () => void;
}

export interface AgentEvents {
  /** The agent cannot go on; `stop` is the caller's to call. */
  readonly onFailure: (error: Error) => void;
  /** This node has left for good, and the answer to who asked for that is on its way. */
  readonly onLeave: () => void;
}

interface Started {
  readonly what: string;
  stop(): Promise<void> | void;
}

export class Agent {
  readonly #config: Config;
  readonly #parts: AgentParts;
  readonly #events: AgentEvents;
  /** What has been started, in order; stopped in reverse. */
  readonly #started: Started[] = [];
  #running: Running | undefined;

  /** Nothing is opened, read or changed before `start`. */
  constructor(config: Config, parts: AgentParts, events: AgentEvents) {
    this.#config = config;
    this.#parts = parts;
    this.#events = events;
  }
}
