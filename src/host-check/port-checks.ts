/** Ports that an agent takes, and who has them already. */
import { formatAddress, type IpAddress, parseAddress, sameAddress } from '../ip/address.ts';
import type { CheckedConfig, HostFacts, SocketFacts } from './facts.ts';
import type { Finding } from './finding.ts';

export interface WantedPort {
  readonly check: string;
  readonly key: string;
  readonly protocol: 'udp' | 'tcp';
  readonly port: number;
  /** Other nodes send to it. */
  readonly isForNodes: boolean;
}

/** Of the responder for names (src/dns). */
export const NAMES_PORT = 53;

export function wantedPorts({ underlay, encapsulation, api }: CheckedConfig): WantedPort[] {
  const gossip = {
    check: 'port.gossip',
    key: 'underlay.gossipPort',
    port: underlay.gossipPort,
    isForNodes: true,
  };
  const tunnel = {
    check: 'port.tunnel',
    key: 'encapsulation.port',
    port: encapsulation.port,
    isForNodes: true,
  };
  return [
    { ...gossip, protocol: 'udp' },
    { ...gossip, protocol: 'tcp' },
    { ...tunnel, protocol: 'udp' },
    // Auto does without where it is taken.
    ...(api.listen === undefined || api.listen === 'auto'
      ? []
      : [
          {
            check: 'port.api',
            key: 'api.listen',
            protocol: 'tcp',
            port: api.listen.port,
            isForNodes: false,
          } as const,
        ]),
  ];
}

export function checkPorts(facts: HostFacts, config: CheckedConfig): Finding[] {
  return [...takenPorts(facts, config), ...namesPort(facts, config)];
}

function takenPorts(facts: HostFacts, config: CheckedConfig): Finding[] {
  return wantedPorts(config).flatMap((wanted): Finding[] => {
    const holder = facts.sockets.find(
      (socket) =>
        socket.protocol === wanted.protocol &&
        socket.port === wanted.port &&
        meets(parseAddress(socket.address), ownAddress(wanted, facts, config)) &&
        // This host's own agent, which runs.
        !(facts.agentRuns && socket.process !== undefined && /warren/.test(socket.process.command)),
    );
    if (holder === undefined) return [];
    const { protocol, port, key } = wanted;
    return [
      {
        check: wanted.check,
        severity: 'error',
        problem: `${protocol.toUpperCase()} port ${port} (${key}) is taken by ${who(holder, facts)}: stop that, or set ${key} to another port`,
        commands: [`ss -${protocol === 'udp' ? 'lunp' : 'ltnp'} 'sport = :${port}'`],
      },
    ];
  });
}

/** The agent does without, and answers on overlay addresses alone: only who listens on all addresses is in the way. */
function namesPort(facts: HostFacts, { dns }: CheckedConfig): Finding[] {
  const holder = facts.sockets.find(
    ({ port, address, process }) =>
      port === NAMES_PORT &&
      parseAddress(address).value === 0n &&
      !(facts.agentRuns && process !== undefined && /warren/.test(process.command)),
  );
  if (!dns.enabled || holder === undefined) return [];
  return [
    {
      check: 'port.names',
      severity: 'warning',
      problem: `port ${NAMES_PORT} of all addresses is taken by ${who(holder, facts)}, so that the agent cannot answer names: tell that to listen on its own addresses alone, or set dns.enabled to false`,
      commands: [`ss -lntup 'sport = :${NAMES_PORT}'`],
    },
  ];
}

/** Undefined: not known, so that any address may be it. */
function ownAddress(
  wanted: WantedPort,
  { underlay }: HostFacts,
  { api }: CheckedConfig,
): IpAddress | undefined {
  if (wanted.isForNodes) return underlay && 'address' in underlay ? underlay.address : undefined;
  const host = api.listen === 'auto' ? undefined : api.listen?.host;
  return host !== undefined && /^[\d.]+$|:/.test(host) ? parseAddress(host) : undefined;
}

/** Whether a socket at `taken` keeps another from being bound to `own`. */
function meets(taken: IpAddress, own: IpAddress | undefined): boolean {
  if (own === undefined) return taken.value !== 1n && !formatAddress(taken).startsWith('127.');
  // `::` takes IPv4 as well, unless it was told otherwise, which is not to be seen.
  if (taken.value === 0n) return taken.family === 6 || own.family === 4;
  return own.value === 0n ? own.family === taken.family : sameAddress(taken, own);
}

function who({ process, address }: SocketFacts, { network, machine }: HostFacts): string {
  if (process !== undefined) {
    const { name, pid, command } = process;
    const program = `${name} (process ${pid}${command === '' ? '' : `: ${command.slice(0, 80)}`})`;
    if (name === 'dockerd') return `${program}, Docker Swarm`;
    if (name === 'speaker') return `${program}, MetalLB`;
    if (/warren/.test(command)) return `${program}, another agent, which does not answer on node.socket`;
    return program;
  }
  const tunnels = network?.links.filter(({ linkinfo }) =>
    ['vxlan', 'wireguard', 'geneve'].includes(linkinfo?.info_kind ?? ''),
  );
  if (tunnels !== undefined && tunnels.length > 0) {
    const names = tunnels.map(({ ifname, linkinfo }) => `${ifname} (${linkinfo?.info_kind})`).join(', ');
    return `the kernel itself at ${address}; this host has the tunnel ${names}`;
  }
  return machine.isRoot
    ? `the kernel itself at ${address}`
    : `a process that only root can see, at ${address}`;
}
