/** What a node has attached, as every node knows it: the names, addresses and labels of its pods. */
import type { IpAddress } from '../ip/address.ts';

export interface InventoryEntry {
  /** Opaque, unique on its node (attachment/). */
  readonly id: string;
  readonly name: string;
  readonly addresses: readonly IpAddress[];
  /** Of what the caller calls a network (`docker network`, a CNI configuration); empty where there is only one. */
  readonly network: string;
  readonly labels: Readonly<Record<string, string>>;
}
