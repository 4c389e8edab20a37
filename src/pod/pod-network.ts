/**
 * A pod's piece of the network, made with iproute2 and the same however often it is made:
 *
 *     pod's namespace                      node's namespace
 *     eth0  10.42.3.2/32          veth     wp4f1d…  fe80::1/64
 *           fd42:0:0:3::2/128  ─────────
 *     default via 10.42.3.1 (on-link)      10.42.3.2/32      dev wp4f1d… src 10.42.3.1
 *     default via fe80::1                  fd42:0:0:3::2/128 dev wp4f1d…
 *
 * 10.42.3.1 is the node's own overlay address on the TUN device; Linux answers ARP for it on every link.
 */
import { createHash } from 'node:crypto';
import { WarrenError } from '../errors.ts';
import type { InNetns } from '../host/command.ts';
import { findLink, ipBatch, isMissing, listAddresses, viewNetwork } from '../host/ip.ts';
import { readSysctl, type SysctlName, setSysctls } from '../host/sysctl.ts';
import { ROUTE_PROTOCOL, refuseRouterAdvertisements } from '../host/tun-network.ts';
import { addressBits, formatAddress, type IpAddress, parseAddress } from '../ip/address.ts';
import { formatPrefix, hostPrefix } from '../ip/prefix.ts';

export const POD_INTERFACE = 'eth0';
/** The host end's address on each pod's link, and so its IPv6 gateway. */
const LINK_GATEWAY = 'fe80::1';

export interface PodNetwork {
  readonly podName: string;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  readonly hostInterface: string;
  readonly addresses: readonly IpAddress[];
  /** The node's own overlay address; needed if the pod has an IPv4 address. */
  readonly ipv4Gateway: IpAddress | undefined;
  /** Bytes; the overlay's MTU. */
  readonly mtu: number;
  /** Of a superpacket that leaves the pod (`gso_max_segs` of its end; the host's end may hand in longer ones). */
  readonly gsoMaxSegments: number;
}

/** The host end's name: stable for a pod of a node, and short enough for a kernel interface. */
export function hostInterfaceName(nodeId: string, podName: string): string {
  const digest = createHash('sha256').update(`${nodeId}/${podName}`).digest('hex');
  return `wp${digest.slice(0, 12)}`;
}

/**
 * Makes the pod's interfaces, addresses and routes, or what is missing of them: an interface pair that is
 * there is kept, so that connections survive. `host` is the node's own network namespace, where the IPv4
 * gateway's address must exist already.
 * Throws POD_INTERFACE_EXISTS if the namespace has an eth0 that is not this pod's.
 */
export async function ensurePodNetwork(network: PodNetwork, host: InNetns): Promise<void> {
  const pod = { netns: network.netns };
  await ensurePair(network, host, pod);
  await configureHostEnd(network, host);
  await configurePodEnd(network, pod);
  await ipBatch(
    network.addresses.map((address) => [
      ...['route', 'replace', formatPrefix(hostPrefix(address)), 'dev', network.hostInterface],
      // The host end has no IPv4 address: the node would speak to its pod from the underlay's.
      ...(address.family === 4 ? ['src', formatAddress(network.ipv4Gateway!)] : []),
      ...['proto', ROUTE_PROTOCOL],
    ]),
    host,
  );
}

/** What a pod needs on the node's side. */
export type PodHostSide = Pick<PodNetwork, 'hostInterface' | 'addresses' | 'mtu'>;

/** Those of `pods` whose interface is gone, down or of another MTU on the node's side, or that lack a route. */
export async function findDamagedPods<T extends PodHostSide>(
  pods: readonly T[],
  host: InNetns,
): Promise<T[]> {
  if (pods.length === 0) return [];
  const view = await viewNetwork(ROUTE_PROTOCOL, host);
  const links = new Map(view.links.map((link) => [link.ifname, link]));
  const routes = new Set<string>();
  for (const { dst, dev } of view.routes) {
    if (dst !== 'default') routes.add(`${formatAddress(parseAddress(dst.split('/')[0]!))} ${dev}`);
  }
  return pods.filter(({ hostInterface, addresses, mtu }) => {
    const link = links.get(hostInterface);
    return (
      link?.mtu !== mtu ||
      !link.flags.includes('UP') ||
      !addresses.every((address) => routes.has(`${formatAddress(address)} ${hostInterface}`))
    );
  });
}

/** Removes the pair and with it all addresses and routes; nothing happens if it is gone. */
export async function removePodNetwork(hostInterface: string, host: InNetns): Promise<void> {
  try {
    await ipBatch([['link', 'delete', 'dev', hostInterface]], host);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

async function ensurePair(network: PodNetwork, host: InNetns, pod: InNetns): Promise<void> {
  const { hostInterface, mtu } = network;
  const [outside, inside] = await Promise.all([findLink(hostInterface, host), findLink(POD_INTERFACE, pod)]);
  const isPair =
    outside?.link_index !== undefined &&
    outside.link_index === inside?.ifindex &&
    inside.link_index === outside.ifindex;
  if (isPair) return;
  if (inside !== undefined) {
    throw new WarrenError(
      'POD_INTERFACE_EXISTS',
      `the network namespace ${network.netns} of pod ${network.podName} already has an interface eth0 ` +
        'that warren did not make',
      { hint: 'Use a namespace without an eth0, or remove that interface.' },
    );
  }
  if (outside !== undefined) await removePodNetwork(hostInterface, host);
  const size = ['mtu', String(mtu)];
  await ipBatch(
    [
      [
        ...['link', 'add', 'name', hostInterface, ...size, 'type', 'veth'],
        ...['peer', 'name', POD_INTERFACE, ...size, 'netns', network.netns],
      ],
    ],
    host,
  );
}

async function configureHostEnd(network: PodNetwork, host: InNetns): Promise<void> {
  const { hostInterface: name } = network;
  const ipv6 = network.addresses.some((address) => address.family === 6);
  // Before the interface is up; rp_filter 1 drops IPv4 packets whose source is not this pod's.
  await refuseRouterAdvertisements(name, host);
  await setSysctls([`net/ipv4/conf/${name}/rp_filter`], '1', host);
  if (ipv6) await setSysctls([`net/ipv6/conf/${name}/disable_ipv6`], '0', host);
  await ipBatch(
    [
      ['link', 'set', 'dev', name, 'mtu', String(network.mtu)],
      ...(ipv6
        ? [
            ['link', 'set', 'dev', name, 'addrgenmode', 'none'],
            ['address', 'replace', `${LINK_GATEWAY}/64`, 'dev', name, 'nodad'],
          ]
        : []),
      ['link', 'set', 'dev', name, 'up'],
    ],
    host,
  );
}

async function configurePodEnd(network: PodNetwork, pod: InNetns): Promise<void> {
  const conf = `net/ipv6/conf/${POD_INTERFACE}` as const;
  if ((await readSysctl(`${conf}/accept_ra`, pod)) !== undefined) {
    const settings: SysctlName[] = [`${conf}/accept_ra`, `${conf}/disable_ipv6`];
    // Nobody else is on this link: duplicate address detection would only make a new pod wait.
    await setSysctls([...settings, `${conf}/accept_dad`], '0', pod);
  }
  const [link] = await listAddresses({ ...pod, name: POD_INTERFACE });
  const wanted = new Set(network.addresses.map(formatAddress));
  const stale = (link?.addresses ?? []).filter(
    (info) => info.scope === 'global' && !wanted.has(formatAddress(parseAddress(info.local))),
  );
  const device = ['dev', POD_INTERFACE];
  await ipBatch(
    [
      ['link', 'set', 'dev', 'lo', 'up'],
      ['link', 'set', ...device, 'mtu', String(network.mtu)],
      ['link', 'set', ...device, 'gso_max_segs', String(network.gsoMaxSegments), 'up'],
      ...network.addresses.map((address) => [
        ...['address', 'replace', `${formatAddress(address)}/${addressBits(address.family)}`, ...device],
        ...(address.family === 6 ? ['nodad'] : []),
      ]),
      ...stale.map((info) => ['address', 'delete', `${info.local}/${info.prefixlen}`, ...device]),
      ...network.addresses.map(({ family }) => {
        const gateway =
          family === 4
            ? [formatAddress(network.ipv4Gateway!), ...device, 'onlink']
            : [LINK_GATEWAY, ...device];
        return ['route', 'replace', family === 4 ? '0.0.0.0/0' : '::/0', 'via', ...gateway];
      }),
    ],
    pod,
  );
}
