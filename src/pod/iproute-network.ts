/**
 * An attachment's piece of the network, made with iproute2 and the same however often it is made:
 *
 *     pod's namespace                      node's namespace
 *     eth0  10.42.3.2/32          veth     wp4f1d…  fe80::1/64
 *           fd42:0:0:3::2/128  ─────────
 *     default via 10.42.3.1 (on-link)      10.42.3.2/32      dev wp4f1d… src 10.42.3.1
 *     default via fe80::1                  fd42:0:0:3::2/128 dev wp4f1d…
 *
 * 10.42.3.1 is the node's own overlay address on the TUN device; Linux answers ARP for it on every link.
 */
import type { AttachmentLink, AttachmentNetwork } from '../attachment/link.ts';
import { WarrenError } from '../errors.ts';
import type { InNetns } from '../host/command.ts';
import { findLink, ipBatch, isMissing, listAddresses, viewNetwork } from '../host/ip.ts';
import { readSysctl, type SysctlName, setSysctls } from '../host/sysctl.ts';
import { ROUTE_PROTOCOL, refuseRouterAdvertisements } from '../host/tun-network.ts';
import { addressBits, formatAddress, parseAddress } from '../ip/address.ts';
import { formatPrefix, hostPrefix } from '../ip/prefix.ts';
import { addNamedNetns, netnsIdentity, removeNamedNetns } from './netns.ts';

/** The host end's address on each pod's link, and so its IPv6 gateway. */
const LINK_GATEWAY = 'fe80::1';

/**
 * The network of attachments by iproute2. One at a time: each takes about ten programs, and more of them at once would
 * only wait for each other. `host` is the node's own network namespace, where the IPv4 gateway's address must exist
 * before an attachment does.
 */
export function iprouteAttachmentNetwork(host: InNetns = {}): AttachmentNetwork {
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };
  return {
    ensure: (link) => inTurn(() => ensurePodNetwork(link, host)),
    remove: ({ hostInterface }) => inTurn(() => removePodNetwork(hostInterface, host)),
    findDamaged: (links) => inTurn(() => findDamagedPods(links, host)),
    addNamespace: (name) => inTurn(() => addNamedNetns(name)),
    removeNamespace: (name) => inTurn(() => removeNamedNetns(name)),
    identityOf: netnsIdentity,
    close: () => inTurn(async () => {}),
  };
}

async function ensurePodNetwork(link: AttachmentLink, host: InNetns): Promise<void> {
  await ensurePair(link, host);
  await configureHostEnd(link, host);
  // An end that waits in the node's own namespace gets its addresses from whoever moves it.
  if (link.netns !== undefined) await configurePodEnd(link, { netns: link.netns });
  await ipBatch(
    link.addresses.map((address) => [
      ...['route', 'replace', formatPrefix(hostPrefix(address)), 'dev', link.hostInterface],
      // The host end has no IPv4 address: the node would speak to its pod from the underlay's.
      ...(address.family === 4 ? ['src', gatewayOf(link)] : []),
      ...['proto', ROUTE_PROTOCOL],
    ]),
    host,
  );
}

/** Those of which the interface is gone, down or of another MTU on the node's side, or that lack a route. */
async function findDamagedPods(links: readonly AttachmentLink[], host: InNetns): Promise<AttachmentLink[]> {
  if (links.length === 0) return [];
  const view = await viewNetwork(ROUTE_PROTOCOL, host);
  const interfaces = new Map(view.links.map((link) => [link.ifname, link]));
  const routes = new Set<string>();
  for (const { dst, dev } of view.routes) {
    if (dst !== 'default') routes.add(`${formatAddress(parseAddress(dst.split('/')[0]!))} ${dev}`);
  }
  return links.filter(({ hostInterface, addresses, mtu }) => {
    const found = interfaces.get(hostInterface);
    return (
      found?.mtu !== mtu ||
      !found.flags.includes('UP') ||
      !addresses.every((address) => routes.has(`${formatAddress(address)} ${hostInterface}`))
    );
  });
}

/** Removes the pair and with it all addresses and routes; nothing happens if it is gone. */
async function removePodNetwork(hostInterface: string, host: InNetns): Promise<void> {
  try {
    await ipBatch([['link', 'delete', 'dev', hostInterface]], host);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

async function ensurePair(link: AttachmentLink, host: InNetns): Promise<void> {
  const { hostInterface, interfaceName, netns, mtu } = link;
  const [outside, inside] = await Promise.all([
    findLink(hostInterface, host),
    findLink(interfaceName, netns === undefined ? host : { netns }),
  ]);
  // The other end may have been moved anywhere by now.
  if (netns === undefined && outside !== undefined) return;
  const isPair =
    outside?.link_index !== undefined &&
    outside.link_index === inside?.ifindex &&
    inside.link_index === outside.ifindex;
  if (isPair) return;
  if (inside !== undefined) {
    throw new WarrenError(
      'POD_INTERFACE_EXISTS',
      `the network namespace ${netns ?? 'of this node'} of pod ${link.id} already has an interface ` +
        `${interfaceName} that warren did not make`,
      { hint: `Use a namespace without an ${interfaceName}, or remove that interface.` },
    );
  }
  if (outside !== undefined) await removePodNetwork(hostInterface, host);
  const size = ['mtu', String(mtu)];
  const place = netns === undefined ? [] : ['netns', netns];
  await ipBatch(
    [
      [
        ...['link', 'add', 'name', hostInterface, ...size, 'type', 'veth'],
        ...['peer', 'name', interfaceName, ...size, ...place],
      ],
    ],
    host,
  );
}

async function configureHostEnd(link: AttachmentLink, host: InNetns): Promise<void> {
  const { hostInterface: name } = link;
  const ipv6 = link.addresses.some((address) => address.family === 6);
  // Before the interface is up; rp_filter 1 drops IPv4 packets whose source is not this pod's.
  await refuseRouterAdvertisements(name, host);
  await setSysctls([`net/ipv4/conf/${name}/rp_filter`], '1', host);
  if (ipv6) await setSysctls([`net/ipv6/conf/${name}/disable_ipv6`], '0', host);
  await ipBatch(
    [
      ['link', 'set', 'dev', name, 'mtu', String(link.mtu)],
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

async function configurePodEnd(link: AttachmentLink, pod: InNetns): Promise<void> {
  const { interfaceName: name } = link;
  const conf = `net/ipv6/conf/${name}` as const;
  if ((await readSysctl(`${conf}/accept_ra`, pod)) !== undefined) {
    const settings: SysctlName[] = [`${conf}/accept_ra`, `${conf}/disable_ipv6`];
    // Nobody else is on this link: duplicate address detection would only make a new pod wait.
    await setSysctls([...settings, `${conf}/accept_dad`], '0', pod);
  }
  const [found] = await listAddresses({ ...pod, name });
  const wanted = new Set(link.addresses.map(formatAddress));
  const stale = (found?.addresses ?? []).filter(
    (info) => info.scope === 'global' && !wanted.has(formatAddress(parseAddress(info.local))),
  );
  const device = ['dev', name];
  await ipBatch(
    [
      ['link', 'set', 'dev', 'lo', 'up'],
      ['link', 'set', ...device, 'mtu', String(link.mtu)],
      ['link', 'set', ...device, 'gso_max_segs', String(link.gsoMaxSegments), 'up'],
      ...link.addresses.map((address) => [
        ...['address', 'replace', `${formatAddress(address)}/${addressBits(address.family)}`, ...device],
        ...(address.family === 6 ? ['nodad'] : []),
      ]),
      ...stale.map((info) => ['address', 'delete', `${info.local}/${info.prefixlen}`, ...device]),
      ...link.addresses.map(({ family }) => {
        const gateway = family === 4 ? [gatewayOf(link), ...device, 'onlink'] : [LINK_GATEWAY, ...device];
        return ['route', 'replace', family === 4 ? '0.0.0.0/0' : '::/0', 'via', ...gateway];
      }),
    ],
    pod,
  );
}

/** IPv4's: the node's own overlay address. */
function gatewayOf(link: AttachmentLink): string {
  return formatAddress(link.gateways.find(({ family }) => family === 4)!);
}
