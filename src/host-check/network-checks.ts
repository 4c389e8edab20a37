/** The host's own networks: whether pod ranges overlap them, whether packets fit, and who else makes overlays here. */
import { overheadBytes } from '../datapath/overhead.ts';
import { overlayMtu } from '../dataplane/mtu.ts';
import { formOf } from '../encapsulation/choose.ts';
import { WarrenError } from '../errors.ts';
import { ATTACHMENT_INTERFACES } from '../host/rules/docker-forwarding.ts';
import { ROUTE_PROTOCOL } from '../host/tun-network.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { addressBits, parseAddress } from '../ip/address.ts';
import {
  formatPrefix,
  type Prefix,
  prefixCovers,
  prefixesOverlap,
  prefixOf,
  samePrefix,
} from '../ip/prefix.ts';
import type { CheckedConfig, HostFacts, NetworkFacts } from './facts.ts';
import type { Finding } from './finding.ts';

/** Interfaces of others' overlays, by the names that their makers give them. */
const OVERLAYS: readonly (readonly [RegExp, string])[] = [
  [/^(flannel[.-]|flannel-wg)/, 'flannel'],
  [/^(cali[0-9a-f]{6,}|vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|tunl0$)/, 'Calico'],
  [/^(cilium_|lxc_health|lxc[0-9a-f]{6,})/, 'Cilium'],
  [/^(weave$|vethwe|datapath$)/, 'Weave Net'],
  [/^(antrea-)/, 'Antrea'],
  [/^(ovn-k8s-|genev_sys_)/, 'OVN'],
  [/^kube-router|^kube-bridge$/, 'kube-router'],
];
/** tunl0 is in every namespace where the module ipip is loaded; alone it says nothing. */
const SAYS_NOTHING = 'tunl0';

interface Taken {
  readonly prefix: Prefix;
  readonly device: string | undefined;
  readonly text: string;
}

export function checkUnderlayAddress({ underlay }: HostFacts, config: CheckedConfig): Finding[] {
  if (underlay === undefined || !('problem' in underlay)) return [];
  const { problem, hint } = underlay;
  return [
    {
      check: 'underlay',
      // Without a configuration there are neither seeds nor an address, which may tell.
      severity: config.cluster.podCidrs.length === 0 ? 'warning' : 'error',
      problem: hint === undefined ? problem : `${problem}. ${hint}`,
      commands: ['ip -brief address', 'ip route'],
    },
  ];
}

export function checkRanges({ network }: HostFacts, config: CheckedConfig): Finding[] {
  if (network === undefined) return [];
  const taken = takenPrefixes(network, config.tun.name);
  return config.cluster.podCidrs.flatMap(({ range }) => {
    // One sentence for each place: an address and the route that comes with it are one.
    const seen: Prefix[] = [];
    return taken.flatMap((one): Finding[] => {
      if (!prefixesOverlap(range, one.prefix) || seen.some((other) => samePrefix(other, one.prefix)))
        return [];
      seen.push(one.prefix);
      return [overlap(range, one)];
    });
  });
}

function overlap(range: Prefix, { prefix, device, text }: Taken): Finding {
  const name = formatPrefix(range);
  // The longer prefix wins: a network around the range loses the part that pods have.
  const isInside = prefixCovers(range, prefix);
  const isDocker = device !== undefined && /^(docker\d|br-[0-9a-f]{12}$|docker_gwbridge)/.test(device);
  const advice = isDocker
    ? 'give that Docker network another subnet (default-address-pools or bip in /etc/docker/daemon.json), or choose another range in cluster.podCidrs'
    : 'choose another range in cluster.podCidrs, or change that network';
  return {
    check: 'range.overlap',
    severity: isInside ? 'error' : 'warning',
    problem: isInside
      ? `the pod range ${name} overlaps ${text}: what this host sends to pods there goes astray; ${advice}`
      : `the pod range ${name} lies inside of ${text}: this host would no longer reach what really has those addresses; ${advice} unless nothing has them`,
    commands: isDocker
      ? ['docker network ls', `ip address show dev ${device}`]
      : device === undefined
        ? ['ip route']
        : [`ip address show dev ${device}`, `ip route show dev ${device}`],
  };
}

/** What the host's addresses and routes take, less the agent's own and default routes. */
function takenPrefixes({ links, routes }: NetworkFacts, tunName: string): Taken[] {
  const isOurs = (device: string | undefined) =>
    device === tunName || (device?.startsWith(ATTACHMENT_INTERFACES.slice(0, -1)) ?? false);
  const ofLinks = links
    .filter(({ ifname }) => !isOurs(ifname))
    .flatMap(({ ifname, addresses }) =>
      addresses.map(({ local, prefixlen }): Taken => {
        const prefix = prefixOf(parseAddress(local), prefixlen);
        return { prefix, device: ifname, text: `the network ${formatPrefix(prefix)} of ${ifname}` };
      }),
    );
  const ofRoutes = routes
    .filter(({ dev, dst, protocol }) => dst !== 'default' && protocol !== ROUTE_PROTOCOL && !isOurs(dev))
    .map(({ dst, dev, gateway }): Taken => {
      const [address = '', length] = dst.split('/');
      const parsed = parseAddress(address);
      const prefix = prefixOf(parsed, length === undefined ? addressBits(parsed.family) : Number(length));
      const by = [
        ...(gateway === undefined ? [] : [`via ${gateway}`]),
        ...(dev === undefined ? [] : [`dev ${dev}`]),
      ];
      return { prefix, device: dev, text: `the route ${[formatPrefix(prefix), ...by].join(' ')}` };
    });
  return [...ofLinks, ...ofRoutes];
}

export function checkMtu({ underlay }: HostFacts, config: CheckedConfig): Finding[] {
  if (underlay === undefined || 'problem' in underlay) return [];
  let exceeded: { readonly mtu: number; readonly fits: number } | undefined;
  try {
    const added = overheadBytes(underlay.address.family, formOf(config.encapsulation));
    overlayMtu(config, underlay, added, {
      warn: (fields: { mtu: number; fits: number }) => {
        exceeded = fields;
      },
    });
    return exceeded === undefined ? [] : [tooLong(underlay, exceeded)];
  } catch (error) {
    if (!(error instanceof WarrenError)) throw error;
    return [
      {
        check: 'mtu',
        severity: 'error',
        problem: `${error.message}. ${error.hint ?? ''}`.trim(),
        commands: [`ip link set dev ${underlay.interfaceName} mtu 1500`],
      },
    ];
  }
}

function tooLong(
  { interfaceName, mtu: has }: Underlay,
  { mtu, fits }: { mtu: number; fits: number },
): Finding {
  return {
    check: 'mtu',
    severity: 'warning',
    problem: `tun.mtu is ${mtu}, and ${fits} fit into the ${has} bytes of ${interfaceName}: full-size packets will be refused; set tun.mtu to auto, or raise the MTU of the underlay`,
    commands: [`ip link set dev ${interfaceName} mtu ${has + mtu - fits}`],
  };
}

export function checkOverlays({ network, cniConfigurations }: HostFacts): Finding[] {
  const found = new Map<string, string[]>();
  for (const { ifname } of network?.links ?? []) {
    const overlay = OVERLAYS.find(([pattern]) => pattern.test(ifname))?.[1];
    if (overlay !== undefined) found.set(overlay, [...(found.get(overlay) ?? []), ifname]);
  }
  const findings = [...found]
    .filter(([, names]) => names.some((name) => name !== SAYS_NOTHING))
    .map(
      ([overlay, names]): Finding => ({
        check: 'overlay',
        severity: 'warning',
        problem: `${overlay} is on this host (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}): both work beside each other if their pod ranges differ; if it was replaced, what it left should go`,
        commands: ['ip -brief link', 'ls /etc/cni/net.d'],
      }),
    );
  const others = cniConfigurations.filter((name) => !name.includes('warren'));
  if (others.length > 0) {
    findings.push({
      check: 'overlay.cni',
      severity: 'note',
      problem: `/etc/cni/net.d has ${others.join(', ')}: a runtime takes the first by name, here ${cniConfigurations[0]}`,
      commands: ['ls /etc/cni/net.d'],
    });
  }
  return findings;
}
