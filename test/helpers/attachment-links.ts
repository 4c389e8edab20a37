/** Attachments of a throwaway node for tests. */
import type { AttachmentLink } from '../../src/attachment/link.ts';
import { parseAddress } from '../../src/ip/address.ts';
import { type ThrowawayNetns, throwawayNetns } from './throwaway-netns.ts';

/** A namespace that is a node: it has overlay addresses of its own, 10.42.3.1 and fd42:0:0:3::1, and forwards. */
export function throwawayNode(): ThrowawayNetns {
  const node = throwawayNetns();
  node.run('ip', 'link', 'set', 'dev', 'lo', 'up');
  node.run('ip', 'address', 'add', '10.42.3.1/32', 'dev', 'lo');
  node.run('ip', 'address', 'add', 'fd42:0:0:3::1/128', 'dev', 'lo', 'nodad');
  for (const setting of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']) {
    node.run('sh', '-c', `echo 1 > /proc/sys/net/${setting}`);
  }
  return node;
}

/** The addresses of attachment number `n`, from 2 on. */
export function addressesOf(n: number): [ipv4: string, ipv6: string] {
  return [`10.42.3.${n}`, `fd42:0:0:3::${n.toString(16)}`];
}

export function linkOf(
  n: number,
  netns: string | undefined,
  more: Partial<AttachmentLink> = {},
): AttachmentLink {
  return {
    id: `test-${n}`,
    hostInterface: `wp${n}`,
    interfaceName: 'eth0',
    netns,
    addresses: addressesOf(n).map(parseAddress),
    gateways: ['10.42.3.1', 'fd42:0:0:3::1'].map(parseAddress),
    mtu: 1400,
    gsoMaxSegments: 44,
    ...more,
  };
}
