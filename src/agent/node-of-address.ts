/** Which node an overlay address is of. */
import { nodeAddress } from '../attachment/addresses.ts';
import { type IpAddress, sameAddress } from '../ip/address.ts';
import { prefixContains } from '../ip/prefix.ts';
import type { Member } from '../membership/types.ts';

export interface NodeOfAddress {
  readonly id: string;
  readonly name: string;
  /** It is the node's own, and no pod's. */
  readonly isNode: boolean;
}

export function nodeOfAddress(
  members: Iterable<Pick<Member, 'id' | 'name' | 'lease'>>,
  address: IpAddress,
): NodeOfAddress | undefined {
  for (const { id, name, lease } of members) {
    const subnet = lease?.prefixes.find((prefix) => prefixContains(prefix, address));
    if (subnet) return { id, name, isNode: sameAddress(nodeAddress(subnet), address) };
  }
  return undefined;
}
