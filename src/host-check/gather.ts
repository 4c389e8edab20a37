/** Takes the facts of this host, each source by itself: one that cannot be read leaves its facts out, and ends nothing. */
import { agentIsRunning } from '../api/client.ts';
import type { Config } from '../config/config.ts';
import { WarrenError } from '../errors.ts';
import { missingForwarding } from '../host/forwarding.ts';
import { listAddresses, listRoutes } from '../host/ip.ts';
import { readSysctl, type SysctlName } from '../host/sysctl.ts';
import { resolveUnderlay } from '../host/underlay-route.ts';
import type { FirewallFacts, HostFacts, NetworkFacts, SysctlFacts } from './facts.ts';
import { gatherCniConfigurations, gatherMachine, gatherManagers } from './gather-machine.ts';
import { gatherSockets } from './gather-sockets.ts';
import { NAMES_PORT, wantedPorts } from './port-checks.ts';

const NO_FIREWALL: FirewallFacts = { forward: [], hasFirewalld: false, droppingChains: [] };

export async function gatherFacts(config: Config): Promise<HostFacts> {
  const root = '/';
  const machine = await gatherMachine(root);
  const tunName = config.tun.name;
  const underlay = await gatherUnderlay(config);
  return {
    machine,
    underlay,
    sysctls: await gatherSysctls(
      config,
      underlay && 'interfaceName' in underlay ? underlay.interfaceName : undefined,
    ),
    // What speaks to the kernel does so through koffi.
    firewall:
      machine.koffiProblem === undefined
        ? await (await import('./gather-firewall.ts')).gatherFirewall(tunName)
        : NO_FIREWALL,
    network: await gatherNetwork(),
    sockets: gatherSockets(new Set([...wantedPorts(config).map(({ port }) => port), NAMES_PORT])),
    cniConfigurations: gatherCniConfigurations(root),
    managers: gatherManagers(root, tunName),
    agentRuns: await agentIsRunning(config.node.socket),
  };
}

async function gatherUnderlay(config: Config): Promise<HostFacts['underlay']> {
  try {
    return await resolveUnderlay(config);
  } catch (error) {
    if (!(error instanceof WarrenError)) throw error;
    // That `ip` is missing is said once, elsewhere.
    if (error.code === 'TOOL_MISSING') return undefined;
    return { problem: error.message, hint: error.hint };
  }
}

async function gatherNetwork(): Promise<NetworkFacts | undefined> {
  try {
    const routes = [...(await listRoutes(4, [])), ...(await listRoutes(6, []))];
    return { links: await listAddresses(), routes };
  } catch (error) {
    if (error instanceof WarrenError) return undefined;
    throw error;
  }
}

async function gatherSysctls(config: Config, underlayInterface: string | undefined): Promise<SysctlFacts> {
  const read = async (name: SysctlName) => readSysctl(name).catch(() => undefined);
  const readNumber = async (name: SysctlName) => {
    const text = await read(name);
    return text === undefined ? undefined : Number(text);
  };
  // Without pod ranges, what most clusters have.
  const families = new Set(config.cluster.podCidrs.map(({ range }) => range.family));
  return {
    missingForwarding: await missingForwarding(
      families.size > 0 ? families : new Set([4]),
      underlayInterface,
    ),
    hasIpv6: (await read('net/ipv6/conf/all/forwarding')) !== undefined,
    rpFilter: await read('net/ipv4/conf/all/rp_filter'),
    arpIgnore: await read('net/ipv4/conf/all/arp_ignore'),
    bridgeCallsIptables: await read('net/bridge/bridge-nf-call-iptables'),
    conntrackMax: await readNumber('net/netfilter/nf_conntrack_max'),
    conntrackCount: await readNumber('net/netfilter/nf_conntrack_count'),
  };
}
