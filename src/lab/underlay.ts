/**
 * The network between a lab's nodes: a bridge in a namespace of its own, and one veth pair to each node's
 * namespace, where it is eth0. Nothing of it is in the machine's own namespace but names in /run/netns, and
 * the documentation prefixes of RFC 5737 and RFC 3849 clash with nothing outside.
 */
import { ipBatch } from '../host/ip.ts';
import { namedNetnsPath } from '../host/netns.ts';
import { readSysctl, setSysctls } from '../host/sysctl.ts';
import { bridgeNamespace } from './names.ts';

/** eth0's addresses in one namespace. */
export interface UnderlayAddresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

export interface Attachment {
  readonly lab: string;
  /** The namespace to make and attach. */
  readonly namespace: string;
  /** 1 to 254: the last part of its addresses, and the number of its bridge port. */
  readonly number: number;
  readonly mtuBytes: number;
  /** Whether eth0 has no IPv4 address. */
  readonly ipv6Only: boolean;
}

const IPV4_PREFIX_LENGTH = 24;
const IPV6_PREFIX_LENGTH = 64;

const BRIDGE_FILTERS = [
  'net/bridge/bridge-nf-call-iptables',
  'net/bridge/bridge-nf-call-ip6tables',
  'net/bridge/bridge-nf-call-arptables',
] as const;

export function underlayAddresses(number: number): UnderlayAddresses {
  return { ipv4: `192.0.2.${number}`, ipv6: `2001:db8:0:1::${number.toString(16)}` };
}

/** Makes the lab's bridge and its namespace. */
export async function createBridge(lab: string): Promise<void> {
  const where = inBridge(lab);
  await ipBatch([['netns', 'add', bridgeNamespace(lab)]]);
  // The bridge only forwards: without addresses it sends no router solicitations either.
  await setSysctls(['net/ipv6/conf/default/disable_ipv6'], '1', where);
  // Where the machine runs Docker, bridged frames would pass iptables and be reassembled on the way.
  if ((await readSysctl(BRIDGE_FILTERS[0], where)) !== undefined)
    await setSysctls(BRIDGE_FILTERS, '0', where);
  // No snooping: without a querier on the link it would lose neighbour solicitations.
  const options = ['forward_delay', '0', 'mcast_snooping', '0'];
  await ipBatch(
    [
      ['link', 'add', 'br0', 'type', 'bridge', ...options],
      ['link', 'set', 'br0', 'up'],
    ],
    where,
  );
}

/** Makes a namespace with eth0 on the lab's bridge; its addresses are usable when this returns. */
export async function attach(attachment: Attachment): Promise<void> {
  const { lab, namespace, number, mtuBytes, ipv6Only } = attachment;
  const where = { netns: namedNetnsPath(namespace) };
  const port = `port${number}`;
  const mtu = String(mtuBytes);
  const { ipv4, ipv6 } = underlayAddresses(number);
  await ipBatch([['netns', 'add', namespace]]);
  // Before eth0 exists, which takes these over: no router advertisements, no duplicate address detection.
  await setSysctls(['net/ipv6/conf/default/accept_ra', 'net/ipv6/conf/default/accept_dad'], '0', where);
  const peer = ['peer', 'name', port, 'netns', bridgeNamespace(lab)];
  await ipBatch(
    [
      ['link', 'set', 'lo', 'up'],
      ['link', 'add', 'eth0', 'mtu', mtu, 'type', 'veth', ...peer],
      ...(ipv6Only ? [] : [['addr', 'add', `${ipv4}/${IPV4_PREFIX_LENGTH}`, 'dev', 'eth0']]),
      ['addr', 'add', `${ipv6}/${IPV6_PREFIX_LENGTH}`, 'dev', 'eth0', 'nodad'],
      ['link', 'set', 'eth0', 'up'],
    ],
    where,
  );
  await ipBatch([['link', 'set', port, 'mtu', mtu, 'master', 'br0', 'up']], inBridge(lab));
}

/**
 * Takes a namespace's port off the bridge, or puts it back. eth0 keeps its carrier: to the node it looks as
 * if all others had fallen silent.
 */
export async function setAttached(lab: string, number: number, attached: boolean): Promise<void> {
  const master = attached ? ['master', 'br0'] : ['nomaster'];
  await ipBatch([['link', 'set', `port${number}`, ...master]], inBridge(lab));
}

function inBridge(lab: string): { netns: string } {
  return { netns: namedNetnsPath(bridgeNamespace(lab)) };
}
