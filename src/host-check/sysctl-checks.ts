/** Kernel settings that pods' packets depend on. */

import type { WantedSysctl } from '../host/forwarding.ts';
import { dotted } from '../host/sysctl.ts';
import { formatPrefix } from '../ip/prefix.ts';
import type { CheckedConfig, HostFacts } from './facts.ts';
import type { Finding } from './finding.ts';

/** What the kernel gives a host of 1 GB; below it one busy pod fills the table. */
const LEAST_CONNTRACK = 65_536;
/** A table this full drops new connections soon. */
const FULL = 0.8;

export function checkSysctls(facts: HostFacts, config: CheckedConfig): Finding[] {
  return [
    ...forwarding(facts, config),
    ...reversePath(facts),
    ...arp(facts),
    ...conntrack(facts),
    ...bridges(facts),
  ];
}

function forwarding({ sysctls }: HostFacts, config: CheckedConfig): Finding[] {
  const ipv6Range = config.cluster.podCidrs.find(({ range }) => range.family === 6)?.range;
  const findings: Finding[] = [];
  const isFor = (family: 4 | 6) => (setting: WantedSysctl) => setting[0].startsWith(`net/ipv${family}/`);
  for (const family of [4, 6] as const) {
    const settings = sysctls.missingForwarding.filter(isFor(family));
    if (settings.length === 0 || (family === 6 && !sysctls.hasIpv6)) continue;
    findings.push({
      check: `sysctl.forwarding${family}`,
      severity: 'warning',
      problem: `this host does not forward IPv${family}, so pods reach nothing outside of it: the agent turns it on when it starts, and what turns it off again (a file in /etc/sysctl.d) cuts them off`,
      ...mend(settings),
    });
  }
  if (ipv6Range !== undefined && !sysctls.hasIpv6) {
    findings.push({
      check: 'sysctl.ipv6',
      severity: 'error',
      problem: `IPv6 is off in this kernel, and cluster.podCidrs has ${formatPrefix(ipv6Range)}: boot without ipv6.disable=1, or leave IPv6 out of cluster.podCidrs`,
      commands: [],
    });
  }
  return findings;
}

/** Strict is right for pods, whose ways there and back are one; the underlay of a host with several ways out may differ. */
function reversePath({ sysctls, network, underlay }: HostFacts): Finding[] {
  const uplinks = new Set(
    network?.routes.filter(({ dst }) => dst === 'default').flatMap(({ dev }) => dev ?? []),
  );
  if (sysctls.rpFilter !== '1' || uplinks.size < 2) return [];
  const via = underlay && 'interfaceName' in underlay ? ` (the underlay is ${underlay.interfaceName})` : '';
  return [
    {
      check: 'sysctl.rp_filter',
      severity: 'warning',
      problem: `rp_filter is strict, and default routes lead out of ${[...uplinks].join(' and ')}${via}: tunnel packets that come in by another interface than the answers leave by are dropped`,
      // Not by --fix: somebody may have made it strict on purpose.
      commands: ['sysctl -w net.ipv4.conf.all.rp_filter=2'],
    },
  ];
}

function arp({ sysctls }: HostFacts): Finding[] {
  if (sysctls.arpIgnore === undefined || sysctls.arpIgnore === '0') return [];
  return [
    {
      check: 'sysctl.arp_ignore',
      severity: 'error',
      problem: `net.ipv4.conf.all.arp_ignore is ${sysctls.arpIgnore}: the host does not answer when pods ask for their gateway, so they reach nothing over IPv4`,
      commands: ['sysctl -w net.ipv4.conf.all.arp_ignore=0'],
    },
  ];
}

function conntrack({ sysctls: { conntrackMax: max, conntrackCount: count = 0 } }: HostFacts): Finding[] {
  if (max === undefined || !(max > 0)) return [];
  const isFull = count > max * FULL;
  if (max >= LEAST_CONNTRACK && !isFull) return [];
  // Twice as much where it is full, in steps of the kernel's own default.
  const wanted = Math.max(LEAST_CONNTRACK, isFull ? max * 2 : 0);
  return [
    {
      check: 'sysctl.nf_conntrack_max',
      severity: 'warning',
      problem: `connection tracking has room for ${max} connections and holds ${count}: a full table drops the packets of new ones`,
      ...mend([['net/netfilter/nf_conntrack_max', String(wanted)]]),
    },
  ];
}

function bridges({ sysctls, firewall }: HostFacts): Finding[] {
  if (sysctls.bridgeCallsIptables !== '1' || !firewall.forward.some(({ drops }) => drops)) return [];
  return [
    {
      check: 'sysctl.bridge-nf-call-iptables',
      severity: 'note',
      problem:
        'br_netfilter sends frames of bridges through iptables, whose chain FORWARD drops by default: pods are on no bridge and not concerned, virtual machines on one of this host are',
      commands: [],
    },
  ];
}

function mend(settings: readonly WantedSysctl[]): Pick<Finding, 'commands' | 'fix'> {
  return {
    commands: settings.map(([name, value]) => `sysctl -w ${dotted(name)}=${value}`),
    fix: { type: 'sysctls', settings },
  };
}
