/** What a node has attached, as every node knows it: the names, addresses and labels of its pods. */
import type { IpAddress } from '../ip/address.ts';
import type { MemberStatus } from '../membership/types.ts';

export interface InventoryEntry {
  /** Opaque, unique on its node (attachment/). */
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  /** Of what the caller calls a network (`docker network`, a CNI configuration); empty where there is only one. */
  readonly network: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** An attachment with the node that has it. */
export interface Holder {
  readonly nodeId: string;
  readonly status: MemberStatus;
  readonly entry: InventoryEntry;
}

export interface NodeInventory {
  readonly nodeId: string;
  readonly status: MemberStatus;
  /** Undefined: nothing of it has been pulled yet. */
  readonly version: number | undefined;
  /** Whether that is what the node announces now. */
  readonly isCurrent: boolean;
  readonly entries: readonly InventoryEntry[];
}

export interface InventoryChange {
  readonly nodeId: string;
  /** New, or other than before. */
  readonly set: readonly InventoryEntry[];
  readonly deleted: readonly string[];
}
