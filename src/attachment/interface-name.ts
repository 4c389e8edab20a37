/** What the two ends of an attachment's interface pair are called, and their hardware addresses. */
import { createHash } from 'node:crypto';

/** The end inside of the namespace, where the caller does not choose. */
export const DEFAULT_INTERFACE = 'eth0';

/** IFNAMSIZ is 16 with the closing zero (`linux/if.h`); the kernel refuses slashes, colons and white space. */
const INTERFACE_NAME = /^[^\s/:]{1,15}$/;

export function isInterfaceName(name: string): boolean {
  return INTERFACE_NAME.test(name) && name !== '.' && name !== '..' && Buffer.byteLength(name) <= 15;
}

/** The host end's name: stable for an attachment of a node, and short enough for a kernel interface. */
export function hostInterfaceName(nodeId: string, id: string): string {
  const digest = createHash('sha256').update(`${nodeId}/${id}`).digest('hex');
  return `wp${digest.slice(0, 12)}`;
}

/**
 * The hardware address of one end, which is the same whenever the pair is made. Locally administered (IEEE 802, the
 * second bit of the first byte); nobody but the other end ever sees it.
 */
export function hardwareAddress(hostInterface: string, end: 'host' | 'inner'): string {
  const digest = createHash('sha256').update(`${end}/${hostInterface}`).digest('hex');
  return ['02', ...(digest.slice(0, 10).match(/../g) ?? [])].join(':');
}
