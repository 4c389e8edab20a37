/** What the inventory is built with: its ports to membership, calls, disk and clock. */
import type { Clock } from '../clock.ts';
import type { IpAddress } from '../ip/address.ts';
import type { Logger } from '../log/logger.ts';
import type { InventoryMark, Member } from '../membership/types.ts';
import type { Rpc } from '../rpc/rpc.ts';
import type { DecodeEntry } from './pull-messages.ts';
import type { InventoryTiming } from './timing.ts';
import type { VersionStore } from './version-store.ts';

/** What is needed of membership. */
export interface InventoryMembers {
  readonly id: string;
  members(): Member[];
  member(id: string): Member | undefined;
  updateSelf(changes: { readonly inventory: InventoryMark }): void;
  /** Tells every member directly what this node last said of itself, unless they are more than `atMost`. */
  repeatSelf(atMost: number): void;
  on(event: 'change', listener: MemberListener): unknown;
  on(event: 'removed', listener: (member: Member) => void): unknown;
  off(event: 'change', listener: MemberListener): unknown;
  off(event: 'removed', listener: (member: Member) => void): unknown;
}

/** `teller`: the member that told of the change, where that is known. */
export type MemberListener = (member: Member, previous: Member | undefined, teller?: string) => void;

export interface InventoriesOptions {
  readonly membership: InventoryMembers;
  readonly rpc: Rpc;
  readonly store: VersionStore;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** 0 to 1. */
  readonly random?: () => number;
  readonly timing?: InventoryTiming;
  /**
   * Whether a node may have attachments with this address: `holders` believes no node about another's. By default all
   * are believed.
   */
  readonly mayHave?: (nodeId: string, address: IpAddress) => boolean;
  /** Nodes that the simulator runs in one process share what they decode. */
  readonly decodeEntry?: DecodeEntry;
}
