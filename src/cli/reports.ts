/** The agent's reports as a person reads them. */
import type {
  DirectionReport,
  InventoryReport,
  LeaseStatus,
  PeerReport,
  PodReport,
  RouteReport,
  StatusReport,
  WireguardPeerReport,
} from '../readmodel/reports.ts';
import { type Cell, type Colour, type Paint, renderFields, renderTable } from '../terminal/table.ts';

const LEASE_COLOURS: Readonly<Record<LeaseStatus, Colour>> = {
  joining: 'yellow',
  claiming: 'yellow',
  active: 'green',
  lost: 'red',
  exhausted: 'red',
  released: 'dim',
  pending: 'yellow',
};

const PEER_COLOURS: Readonly<Record<PeerReport['status'], Colour>> = {
  alive: 'green',
  suspect: 'yellow',
  dead: 'red',
  left: 'dim',
  static: 'green',
  wireguard: 'green',
};

export function renderStatus(status: StatusReport, paint: Paint): string {
  const { node, cluster, underlay, encapsulation, tun, lease, datapath } = status;
  const members = (['alive', 'suspect', 'dead', 'left'] as const)
    .filter((name) => name === 'alive' || cluster.members[name] > 0)
    .map((name) => paint(`${cluster.members[name]} ${name}`, PEER_COLOURS[name]));
  const drops = Object.entries(datapath.drops).filter(([, count]) => count > 0);
  const repairs = Object.entries(status.repairs).flatMap(([kind, count]) =>
    count > 0 ? `${kind} ${count}` : [],
  );
  const uptime = durationText(node.uptimeSeconds);
  return renderFields(
    [
      ['node', `${node.name} (${node.id}), pid ${node.pid}, up ${uptime}, warren ${status.version}`],
      ['lease', [paint(lease.status, LEASE_COLOURS[lease.status]), ...lease.subnets].join('  ')],
      [
        'cluster',
        `${cluster.name}: ${members.join(', ')}; gossip ${cluster.sealed ? 'sealed' : paint('not sealed', 'yellow')}`,
      ],
      ['admits', admissionText(cluster.admission)],
      ...cluster.problems.map((problem) => ['problem', paint(problem, 'yellow')] as const),
      [
        'underlay',
        `${underlay.address} on ${underlay.interface}, MTU ${underlay.mtu}, gossip port ${underlay.gossipPort}`,
      ],
      ['tunnel', tunnelText(encapsulation, paint)],
      ['overlay', [`${tun.name}, MTU ${tun.mtu}`, ...tun.addresses].join('  ')],
      ['offloads', offloadText(datapath.offloads, paint)],
      ['pods', String(status.pods)],
      ['names', namesText(status.dns)],
      ...(status.kubernetes ? [['kubernetes', kubernetesText(status.kubernetes, paint)] as const] : []),
      ...(repairs.length === 0 ? [] : [['repairs', repairs.join(', ')] as const]),
      ['outbound', directionText(datapath.outbound)],
      ['inbound', directionText(datapath.inbound)],
      [
        'drops',
        drops.length === 0
          ? 'none'
          : drops.map(([reason, count]) => `${reason} ${paint(String(count), 'yellow')}`).join(', '),
      ],
    ],
    paint,
  );
}

function namesText({ enabled, addresses }: StatusReport['dns']): string {
  if (!enabled) return 'not answered (dns.enabled)';
  return addresses.length === 0 ? 'not answered yet' : `answered on ${addresses.join(', ')}`;
}

function kubernetesText(
  { api, awaySeconds, server, nodes, node, podCidrs, ipam }: NonNullable<StatusReport['kubernetes']>,
  paint: Paint,
): string {
  const state = api === 'away' ? paint(`API away for ${durationText(awaySeconds)}`, 'yellow') : `API ${api}`;
  const subnets = podCidrs.length === 0 ? '' : `, podCIDRs ${podCidrs.join(' ')}`;
  return `${state} (${server}), ${nodes} nodes; Node ${node}${subnets}, ipam ${ipam}`;
}

export function renderPeers(peers: readonly PeerReport[], paint: Paint): string {
  if (peers.length === 0) return 'No peers.\n';
  // For most clusters it would say nothing.
  const hasSingly = peers.some(({ sentSingly }) => sentSingly);
  // Where the tunnel has keys.
  const hasKeys = peers.some(
    ({ kind, handshakeAgeSeconds }) => kind === 'wireguard' || handshakeAgeSeconds !== undefined,
  );
  const sending = ({ sentSingly }: PeerReport): Cell =>
    sentSingly ? { text: 'singly', colour: 'yellow' } : { text: 'in groups' };
  const hasPostQuantum = peers.some(({ postQuantum }) => postQuantum !== undefined);
  return renderTable(
    [
      'NAME',
      'STATUS',
      ...(hasPostQuantum ? ['POST-QUANTUM'] : []),
      ...(hasSingly ? ['SENT'] : []),
      'ENDPOINT',
      'SUBNETS',
      right('MTU'),
      ...(hasKeys ? [right('HANDSHAKE')] : []),
      right('OUTBOUND'),
      right('INBOUND'),
    ],
    peers.map((peer) => [
      peer.name,
      { text: peer.status, colour: PEER_COLOURS[peer.status] },
      ...(hasPostQuantum ? [postQuantumCell(peer)] : []),
      ...(hasSingly ? [sending(peer)] : []),
      peer.endpoint || '-',
      peer.subnets.join(' ') || '-',
      right(peer.mtu === undefined ? '-' : String(peer.mtu)),
      ...(hasKeys ? [handshakeCell(peer)] : []),
      right(sizeText(peer.outbound.bytes)),
      right(sizeText(peer.inbound.bytes)),
    ]),
    paint,
  );
}

export function renderWireguardPeers(peers: readonly WireguardPeerReport[], paint: Paint): string {
  if (peers.length === 0) return 'No WireGuard peers.\n';
  return renderTable(
    ['NAME', 'ADDRESSES', 'ENDPOINT', right('HANDSHAKE'), right('OUTBOUND'), right('INBOUND'), 'PUBLIC KEY'],
    peers.map((peer) => [
      peer.name,
      peer.addresses.join(' '),
      peer.endpoint || '-',
      handshakeCell(peer),
      right(sizeText(peer.outbound.bytes)),
      right(sizeText(peer.inbound.bytes)),
      peer.publicKey,
    ]),
    paint,
  );
}

function handshakeCell({ handshakeAgeSeconds: seconds }: Pick<PeerReport, 'handshakeAgeSeconds'>): Cell {
  return right(seconds === undefined ? '-' : `${durationText(seconds)} ago`);
}

function postQuantumCell({ postQuantum }: PeerReport): Cell {
  if (postQuantum === undefined) return '-';
  const colours = { agreed: 'green', offered: 'dim', failed: 'red', none: 'yellow' } as const;
  return { text: postQuantum, colour: colours[postQuantum] };
}

export function renderRoutes(routes: readonly RouteReport[], paint: Paint): string {
  if (routes.length === 0) return 'No routes.\n';
  return renderTable(
    ['PREFIX', 'VIA', 'ENDPOINT'],
    routes.map((route) => [route.prefix, route.via, route.endpoint || '-']),
    paint,
  );
}

export function renderPods(pods: readonly PodReport[], paint: Paint): string {
  if (pods.length === 0) return 'No pods.\n';
  return renderTable(
    ['NAME', 'STATUS', 'ADDRESSES', 'INTERFACE', 'KIND', 'NETNS'],
    pods.map((pod) => [
      pod.name,
      { text: pod.status, colour: pod.status === 'ready' ? 'green' : 'red' },
      pod.addresses.join(' '),
      pod.hostInterface,
      pod.static ? 'static' : 'added',
      pod.netns,
    ]),
    paint,
  );
}

export function renderInventory(pods: readonly InventoryReport[], paint: Paint): string {
  if (pods.length === 0) return 'No pods.\n';
  return renderTable(
    ['NODE', 'STATUS', 'POD', 'ADDRESSES', 'LABELS'],
    pods.map(({ node, status, name, addresses, labels = {} }) => [
      node,
      { text: status, colour: PEER_COLOURS[status] },
      name,
      addresses.join(' '),
      Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(' ') || '-',
    ]),
    paint,
  );
}

function right(text: string): Cell {
  return { text, right: true };
}

function tunnelText(
  { type, accept, port, vni, overheadBytes, encrypted, ...sealing }: StatusReport['encapsulation'],
  paint: Paint,
): string {
  const { cipher, cipherFallback, postQuantum } = sealing;
  const clear = accept === undefined ? 'not encrypted' : `and ${accept}, which is not encrypted`;
  const slower = cipherFallback === undefined ? '' : paint(` (slower: ${cipherFallback})`, 'yellow');
  return [
    encrypted ? type : `${type} (${paint(clear, 'yellow')})`,
    `UDP port ${port}`,
    ...(vni === undefined ? [] : [`VNI ${vni}`]),
    ...(cipher === undefined ? [] : [`${cipher}${slower}`]),
    ...(postQuantum === undefined ? [] : [`post-quantum ${postQuantum.mode}`]),
    `${overheadBytes} bytes a packet`,
  ].join(', ');
}

/** Those in use, and those that are not: by configuration, by an old kernel or by failing. */
function offloadText(offloads: Readonly<Record<string, boolean>>, paint: Paint): string {
  const names = (isOn: boolean) => Object.keys(offloads).filter((name) => offloads[name] === isOn);
  const off = names(false);
  const on = names(true).join(', ') || 'none';
  return off.length === 0 ? on : `${on}; off: ${paint(off.join(', '), 'yellow')}`;
}

function directionText({ packets, bytes }: DirectionReport): string {
  return `${packets} packets, ${sizeText(bytes)}`;
}

/** `1.5 MB`: decimal units, as network tools count. */
export function sizeText(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** `1d 2h`, `3m 4s`: the two largest units. */
export function durationText(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join(' ');
}

/** `open` is said in full: who has not chosen it should know. */
function admissionText({ mode, approved, pending, revoked }: StatusReport['cluster']['admission']): string {
  const revokedText = revoked > 0 ? `, ${revoked} revoked` : '';
  if (mode === 'open') return `everyone who has the cluster key${revokedText} (cluster.admission: open)`;
  return `approved nodes: ${approved}, ${pending} pending${revokedText}`;
}
