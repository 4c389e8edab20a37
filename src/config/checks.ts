/** What must hold between the values of a configuration. Each check stands alone, so that all report at once. */
import { type Family, formatAddress, type IpAddress, parseAddress, sameAddress } from '../ip/address.ts';
import {
  formatPrefix,
  type Prefix,
  parsePrefix,
  prefixContains,
  prefixCovers,
  prefixesOverlap,
} from '../ip/prefix.ts';
import { VXLAN_GPE_PORT } from '../wire/vxlan-gpe.ts';
import type { Config, PodRange } from './config.ts';
import type { Parsed } from './schema.ts';
import type { KeyPath } from './source.ts';

export type Report = (path: KeyPath, message: string) => void;

const DEFAULT_NODE_PREFIX_LENGTH = { 4: 24, 6: 64 } as const;
/** The node and one pod need an address each, next to IPv4's network and broadcast addresses. */
const MAX_NODE_PREFIX_LENGTH = { 4: 30, 6: 126 } as const;

/** Ranges that no route may lead to a tunnel, with why. */
const RESERVED: readonly (readonly [Prefix, string])[] = [
  [parsePrefix('0.0.0.0/8'), 'the "this network" addresses'],
  [parsePrefix('127.0.0.0/8'), 'the loopback addresses'],
  [parsePrefix('169.254.0.0/16'), 'the link-local addresses'],
  [parsePrefix('224.0.0.0/4'), 'the multicast addresses'],
  [parsePrefix('240.0.0.0/4'), 'reserved addresses'],
  [parsePrefix('::/8'), 'reserved addresses (loopback and IPv4-mapped)'],
  [parsePrefix('fe80::/10'), 'the link-local addresses'],
  [parsePrefix('ff00::/8'), 'the multicast addresses'],
];

/** `cluster.podCidrs` and `cluster.nodePrefixLengths` as ranges; undefined if they do not fit each other. */
export function checkPodRanges(cluster: Parsed['cluster'], report: Report): PodRange[] | undefined {
  if (cluster === undefined) return undefined;
  const { podCidrs, nodePrefixLengths: lengths } = cluster;
  const path = ['cluster', 'podCidrs'];
  let ok = true;
  const wrong: Report = (...problem) => {
    ok = false;
    report(...problem);
  };
  if (podCidrs.length === 0) wrong(path, 'must name at least one range, such as 10.42.0.0/16');
  if (lengths !== undefined && lengths.length !== podCidrs.length) {
    wrong(
      ['cluster', 'nodePrefixLengths'],
      `has ${lengths.length} entries and cluster.podCidrs has ${podCidrs.length} (give one length for each range)`,
    );
  }
  const seen = new Map<Family, Prefix>();
  const ranges = podCidrs.map((range, i): PodRange => {
    const { family } = range;
    const earlier = seen.get(family);
    if (earlier !== undefined) {
      wrong(
        [...path, i],
        `is a second IPv${family} range beside ${formatPrefix(earlier)} (keep one of them)`,
      );
    }
    seen.set(family, range);
    checkReserved(range, [...path, i], wrong);
    const nodePrefixLength = lengths?.[i] ?? DEFAULT_NODE_PREFIX_LENGTH[family];
    const least = range.length;
    const most = MAX_NODE_PREFIX_LENGTH[family];
    if (nodePrefixLength < least || nodePrefixLength > most) {
      const given = lengths?.[i] !== undefined;
      wrong(
        given ? ['cluster', 'nodePrefixLengths', i] : [...path, i],
        least > most
          ? `${formatPrefix(range)} is too small to hold a node and a pod (use /${most} or shorter)`
          : `a node's subnet of /${nodePrefixLength}${given ? '' : ' (the default)'} does not fit ` +
              `${formatPrefix(range)} (set cluster.nodePrefixLengths to ${least} to ${most} for it)`,
      );
    }
    return { range, nodePrefixLength };
  });
  return ok ? ranges : undefined;
}

export const DEFAULT_PORTS = { wireguard: 51_820, 'vxlan-gpe': VXLAN_GPE_PORT } as const;

/** The encapsulation, sealed where there is a key to know other nodes by. */
export function encapsulationOf({ encapsulation, cluster }: Parsed): Config['encapsulation'] {
  const type = encapsulation?.type ?? (cluster?.keyFile === undefined ? 'vxlan-gpe' : 'wireguard');
  const accept = type === 'wireguard' ? encapsulation?.accept : undefined;
  // Nodes without keys know one port.
  const port = encapsulation?.port ?? DEFAULT_PORTS[accept ?? type];
  const dscp = encapsulation?.dscp;
  const postQuantum = type === 'wireguard' ? (encapsulation?.postQuantum ?? 'on') : undefined;
  return {
    ...{ type, ...(accept && { accept }), port, vni: encapsulation?.vni ?? 0 },
    ...(dscp !== undefined && { dscp }),
    ...(postQuantum && { postQuantum }),
  };
}

/** Ports, and who cannot take part in a sealed tunnel. */
export function checkEncapsulation(parsed: Parsed, report: Report): void {
  if (parsed.encapsulation === undefined) return;
  const { type, port } = encapsulationOf(parsed);
  if (port === parsed.underlay?.gossipPort) {
    report(['encapsulation', 'port'], `is underlay.gossipPort too; both are UDP ports (change one of them)`);
  }
  if (type === 'vxlan-gpe' && parsed.encapsulation.accept !== undefined) {
    report(['encapsulation', 'accept'], 'is of wireguard: set encapsulation.type to that, or remove it');
  }
  const { accept, postQuantum } = parsed.encapsulation;
  if (type === 'vxlan-gpe' && postQuantum !== undefined) {
    report(['encapsulation', 'postQuantum'], 'is of wireguard: set encapsulation.type to that, or remove it');
  }
  if (type === 'wireguard' && accept !== undefined && postQuantum === 'require') {
    report(['encapsulation', 'postQuantum'], 'cannot be required where clear text is accepted (remove one)');
  }
  const why = parsed.encapsulation.type === undefined ? `${type}, the default ${WHERE_DEFAULT[type]}` : type;
  parsed.staticPeers?.forEach((peer, i) => {
    const path = ['staticPeers', i];
    if (type === 'wireguard' && peer.publicKey === undefined) {
      report(
        [...path, 'publicKey'],
        `is missing, and the encapsulation is ${why} (give the peer's key, or set encapsulation.type)`,
      );
    }
    if (type === 'wireguard') return;
    for (const key of ['publicKey', 'presharedKey', 'persistentKeepalive'] as const) {
      if (peer[key] !== undefined)
        report(
          [...path, key],
          `is of wireguard, and the encapsulation is ${why} (remove it, or set encapsulation.type)`,
        );
    }
  });
}

const WHERE_DEFAULT = { wireguard: 'with a cluster key', 'vxlan-gpe': 'without a cluster key' } as const;

/** Names, endpoints and subnets of the static peers, among themselves and against the rest. */
export function checkStaticPeers(parsed: Parsed, report: Report): void {
  const peers = parsed.staticPeers ?? [];
  const isSealed = parsed.encapsulation !== undefined && encapsulationOf(parsed).type === 'wireguard';
  const subnets: { subnet: Prefix; path: KeyPath; owner: string }[] = [];
  peers.forEach((peer, i) => {
    const path = ['staticPeers', i];
    if (peer.name === parsed.node?.name) report([...path, 'name'], `is this node's own name`);
    const earlier = peers.slice(0, i);
    if (earlier.some((other) => other.name === peer.name)) {
      report([...path, 'name'], `${peer.name} is the name of another static peer (rename one of them)`);
    }
    if (isSealed) checkSameKey(peer, earlier, path, report);
    else checkSameAddress(peer, earlier, path, report);
    if (peer.subnets.length === 0) report([...path, 'subnets'], 'must name at least one subnet');
    peer.subnets.forEach((subnet, j) => {
      const at = [...path, 'subnets', j];
      checkReserved(subnet, at, report);
      const other = subnets.find((entry) => prefixesOverlap(entry.subnet, subnet));
      if (other !== undefined) {
        report(at, `${formatPrefix(subnet)} overlaps ${formatPrefix(other.subnet)} of ${other.owner}`);
      }
      const range = parsed.cluster?.podCidrs.find((podCidr) => prefixCovers(subnet, podCidr));
      if (range !== undefined) {
        report(
          at,
          `covers all of ${formatPrefix(range)} in cluster.podCidrs, so no node could have a subnet`,
        );
      }
      subnets.push({ subnet, path: at, owner: peer.name });
    });
  });
}

type ParsedPeer = NonNullable<Parsed['staticPeers']>[number];

/** Who sends is told by the key: peers may share an address, or have none that is known. */
function checkSameKey(
  { publicKey }: ParsedPeer,
  earlier: readonly ParsedPeer[],
  path: KeyPath,
  report: Report,
): void {
  const holder = earlier.find(
    (other) => publicKey && other.publicKey && Buffer.compare(other.publicKey, publicKey) === 0,
  );
  if (holder === undefined) return;
  report(
    [...path, 'publicKey'],
    `is ${holder.name}'s key too; packets are told apart by it (merge the two peers, or give each a key of its own)`,
  );
}

function checkSameAddress(
  { endpoint }: ParsedPeer,
  earlier: readonly ParsedPeer[],
  path: KeyPath,
  report: Report,
): void {
  if (endpoint === undefined) {
    report(
      [...path, 'endpoint'],
      'is missing (only a peer of wireguard, which is known by its key, may be anywhere)',
    );
    return;
  }
  const { address } = endpoint;
  const duplicate = earlier.find((other) => other.endpoint && sameAddress(other.endpoint.address, address));
  if (duplicate === undefined) return;
  report(
    [...path, 'endpoint'],
    `${formatAddress(address)} is ${duplicate.name}'s address too; packets are told apart by it (merge the two peers)`,
  );
}

/** No underlay address may lie in the overlay, all must be of the family that the underlay speaks, seeds be heard. */
export function checkUnderlay(parsed: Parsed, report: Report): void {
  const own = parsed.underlay?.address;
  const named: { path: KeyPath; address: IpAddress }[] = [];
  if (own !== undefined && own !== 'auto') named.push({ path: ['underlay', 'address'], address: own });
  parsed.staticPeers?.forEach((peer, i) => {
    if (peer.endpoint) named.push({ path: ['staticPeers', i, 'endpoint'], address: peer.endpoint.address });
  });
  parsed.cluster?.seeds.forEach((seed, i) => {
    if (/^[\d.]+$|:/.test(seed.host)) {
      named.push({ path: ['cluster', 'seeds', i], address: parseAddress(seed.host) });
    }
  });
  const overlay = [
    ...(parsed.cluster?.podCidrs ?? []).map((subnet) => ({ subnet, what: 'cluster.podCidrs' })),
    ...(parsed.staticPeers ?? []).flatMap((peer) =>
      peer.subnets.map((subnet) => ({ subnet, what: `${peer.name}'s subnets` })),
    ),
  ];
  const first = named[0];
  for (const { path, address } of named) {
    if (first !== undefined && address.family !== first.address.family) {
      report(
        path,
        `is IPv${address.family}, but ${formatAddress(first.address)} of the same underlay is IPv${first.address.family} (use one family)`,
      );
    }
    const allowed = path[0] === 'cluster' ? parsed.underlay?.allowFrom : undefined;
    if (allowed && !allowed.some((range) => prefixContains(range, address))) {
      report(
        path,
        `${formatAddress(address)} is in no range of underlay.allowFrom: this node would not hear it`,
      );
    }
    const inside = overlay.find(({ subnet }) => prefixContains(subnet, address));
    if (inside !== undefined) {
      report(
        path,
        `${formatAddress(address)} lies in ${formatPrefix(inside.subnet)} of ${inside.what}; the tunnel would carry itself`,
      );
    }
  }
}

export function checkStaticPods(parsed: Parsed, report: Report): void {
  parsed.staticPods?.forEach((name, i, all) => {
    if (all.indexOf(name) !== i) report(['staticPods', i], `${name} is listed twice (remove one of them)`);
  });
}

function checkReserved(prefix: Prefix, path: KeyPath, report: Report): void {
  const reserved = RESERVED.find(([range]) => prefixesOverlap(range, prefix));
  if (reserved !== undefined) {
    report(path, `${formatPrefix(prefix)} takes in ${reserved[1]}, ${formatPrefix(reserved[0])}`);
  }
}

/** The read-only socket is another one, and a group needs something to open. */
export function checkApi(parsed: Parsed, report: Report): void {
  const { readOnlySocket, readOnlyGroup } = parsed.api ?? {};
  if (readOnlySocket !== undefined && readOnlySocket === parsed.node?.socket) {
    report(['api', 'readOnlySocket'], 'is node.socket too (give it another path)');
  }
  if (readOnlyGroup !== undefined && readOnlySocket === undefined) {
    report(['api', 'readOnlyGroup'], 'has nothing to open without api.readOnlySocket (set that too)');
  }
}

/** Without an approver nobody could ever be let in, this node included. */
export function checkAdmission({ cluster }: Parsed, report: Report): void {
  if (cluster?.admission === 'allowlist' && cluster.approvers.length === 0) {
    report(
      ['cluster', 'admission'],
      'nobody could approve a node: name one or more, by id, in cluster.approvers (`warren status` shows the id)',
    );
  }
}
