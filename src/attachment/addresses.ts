/**
 * Which addresses of a node's subnet go to whom:
 *
 *     10.42.3.0     the network          fd42:0:0:3::     the subnet-router anycast (RFC 4291, 2.6.1)
 *     10.42.3.1     the node             fd42:0:0:3::1    the node
 *     10.42.3.2 …   pods                 fd42:0:0:3::2 …  pods
 *     10.42.3.255   broadcast
 */
import { addressBits, type IpAddress } from '../ip/address.ts';
import { addressCount, nthAddress, type Prefix, prefixContains } from '../ip/prefix.ts';

const NODE_INDEX = 1n;
const FIRST_POD_INDEX = 2n;

/** The node's own overlay address in its subnet: the one on the TUN device, and its pods' gateway. */
export function nodeAddress(subnet: Prefix): IpAddress {
  return nthAddress(subnet, NODE_INDEX);
}

/** How many pods `subnet` has addresses for. */
export function podCapacity(subnet: Prefix): bigint {
  const count = lastPodIndex(subnet) - FIRST_POD_INDEX + 1n;
  return count > 0n ? count : 0n;
}

/**
 * The next free pod address of `subnet` after `last` (the one given out before; undefined at first), going
 * round at the end, so that an address rests as long as possible before it is given to another pod.
 * Undefined if all are in `used`. Looks at no more than `used.size + 1` addresses.
 */
export function nextPodAddress(
  subnet: Prefix,
  used: Pick<ReadonlySet<bigint>, 'has' | 'size'>,
  last: bigint | undefined,
): IpAddress | undefined {
  const capacity = podCapacity(subnet);
  const start = subnet.value + FIRST_POD_INDEX;
  const isInside = last !== undefined && last >= start && last < start + capacity;
  let offset = isInside ? last - start + 1n : 0n;
  for (let tries = 0; tries <= used.size && BigInt(tries) < capacity; tries++, offset++) {
    const value = start + (offset % capacity);
    if (!used.has(value)) return { family: subnet.family, value };
  }
  return undefined;
}

/** True for an address that may be a pod's: in `subnet`, and neither the network's, the node's nor the broadcast one. */
export function isPodAddress(subnet: Prefix, address: IpAddress): boolean {
  const index = address.value - subnet.value;
  return (
    prefixContains(subnet, address) &&
    index >= FIRST_POD_INDEX &&
    index < FIRST_POD_INDEX + podCapacity(subnet)
  );
}

function lastPodIndex(subnet: Prefix): bigint {
  const size = addressCount(subnet);
  // IPv6 has no broadcast address.
  return addressBits(subnet.family) === 32 ? size - 2n : size - 1n;
}
