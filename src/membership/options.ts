/** What membership is built from, and what it tells of. */
import type { Admission } from '../admission/admission.ts';
import type { Clock } from '../clock.ts';
import type { WarrenError } from '../errors.ts';
import type { Identity } from '../identity.ts';
import type { HostPort } from '../ip/endpoint.ts';
import type { Prefix } from '../ip/prefix.ts';
import type { ClusterKeys } from '../link/cluster-keys.ts';
import type { Transport } from '../link/transport.ts';
import type { Logger } from '../log/logger.ts';
import type { decodeMessage } from './codec.ts';
import type { Boot } from './downtime.ts';
import type { SeedSource } from './join.ts';
import type { MemberTable } from './member-table.ts';
import type { Random } from './random.ts';
import type { RecordReader } from './record-reader.ts';
import type { Resolve } from './resolve.ts';
import type { SelfDescription } from './self.ts';
import type { MembershipStore } from './store.ts';
import type { MembershipTiming } from './timing.ts';
import type { Member } from './types.ts';

export interface MembershipOptions {
  readonly identity: Identity;
  readonly clusterName: string;
  /** Absent: gossip is clear text, and sealed gossip is refused. */
  readonly keyRing: ClusterKeys | undefined;
  /** What approvers say spreads with the rest; absent: it is passed over. */
  readonly admission?: Admission | undefined;
  readonly self: Omit<SelfDescription, 'lease'>;
  readonly seeds: readonly HostPort[];
  readonly discovery?: SeedSource | undefined;
  readonly transport: Transport;
  /** Gossip from elsewhere is not looked at; absent: all is. */
  readonly allowFrom?: readonly Prefix[] | undefined;
  readonly store: MembershipStore;
  readonly logger: Logger;
  readonly timing?: MembershipTiming;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly resolve?: Resolve;
  /** The first one of this run (link/sessions.ts); the simulator's are decided by its seed. */
  readonly session?: string;
  /** Of the kernel; absent: time that passes while the agent does not run is not known. */
  readonly boot?: Boot | undefined;
  /** Changes when this machine goes on from an earlier state (host/machine-generation.ts). */
  readonly generation?: (() => string) | undefined;
  /** These two are shared by nodes that the simulator runs in one process. */
  readonly records?: RecordReader;
  readonly decode?: typeof decodeMessage;
  /** Members that are known from the start. */
  readonly table?: MemberTable;
  /** Something was thrown where what others sent was handled; it is logged unless tests want it otherwise. */
  readonly onBug?: (error: unknown) => void;
}

export interface MembershipEvents {
  /**
   * A member is new (`previous` undefined), or its status or record is another. This node included. `teller`: the
   * member that sent the record, where that is known.
   */
  change: [member: Member, previous: Member | undefined, teller?: string];
  /** A member has been dead or gone for so long that it is forgotten. */
  removed: [member: Member];
  /** This node was forgotten, and with it its lease: whatever it wants to have it must claim anew. */
  forgotten: [];
  /** Another agent has this node's key, and has had it for longer: this one is to end. */
  twin: [error: WarrenError];
  /** How joining came out; `joined` may follow `alone`. */
  outcome: [outcome: 'joined' | 'alone'];
}
