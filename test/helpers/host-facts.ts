/** Facts of a host where nothing stands in an agent's way, for tests to change one thing of. */

import type { Config } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { LinkAddresses } from '../../src/host/ip.ts';
import { type HostFacts, MODULES, PROGRAMS } from '../../src/host-check/facts.ts';
import { parseAddress } from '../../src/ip/address.ts';

export const RANGES = 'cluster: {podCidrs: [10.42.0.0/16, "fd42::/48"]}\n';

export function hostConfig(text = RANGES): Config {
  return parseConfig(text, 'test.yaml', 'node-a');
}

export function hostLink(ifname: string, address: string, kind?: string): LinkAddresses {
  const [local = '', length] = address.split('/');
  return {
    ...{ ifname, ifindex: 2, mtu: 1500, flags: ['UP'], link_type: 'ether' },
    ...(kind === undefined ? {} : { linkinfo: { info_kind: kind } }),
    addresses: [
      { family: local.includes(':') ? 'inet6' : 'inet', local, prefixlen: Number(length), scope: 'global' },
    ],
  };
}

export function hostFacts(changed: Partial<HostFacts> = {}): HostFacts {
  return {
    machine: {
      kernel: '6.12.9-amd64',
      cLibrary: 'glibc 2.36',
      koffiProblem: undefined,
      isRoot: true,
      isClockSynchronised: true,
      programs: allOf(PROGRAMS, true),
      modules: allOf(MODULES, 'there'),
      hasTunFile: true,
    },
    sysctls: {
      missingForwarding: [],
      hasIpv6: true,
      rpFilter: '0',
      arpIgnore: '0',
      bridgeCallsIptables: undefined,
      conntrackMax: 262_144,
      conntrackCount: 100,
    },
    firewall: { forward: [], hasFirewalld: false, droppingChains: [] },
    network: {
      links: [hostLink('lo', '127.0.0.1/8'), hostLink('eth0', '192.0.2.7/24')],
      routes: [{ dst: 'default', gateway: '192.0.2.1', dev: 'eth0' }],
    },
    underlay: { address: parseAddress('192.0.2.7'), interfaceName: 'eth0', mtu: 1500 },
    sockets: [],
    cniConfigurations: [],
    managers: { networkManager: 'absent', networkd: 'absent' },
    agentRuns: false,
    ...changed,
  };
}

function allOf<K extends string, V>(keys: readonly K[], value: V): Record<K, V> {
  return Object.fromEntries(keys.map((key) => [key, value])) as Record<K, V>;
}
