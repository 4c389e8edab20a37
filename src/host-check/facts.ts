/** All that the checks know of a host, as it was at one moment. They ask nothing themselves, so that tests can feed them. */
import type { Config } from '../config/config.ts';
import type { WantedSysctl } from '../host/forwarding.ts';
import type { LinkAddresses, Route } from '../host/ip.ts';
import type { ForwardPolicy } from '../host/rules/forward-policy.ts';
import type { Underlay } from '../host/underlay-route.ts';

/** The parts of a configuration that a host can stand in the way of. */
export type CheckedConfig = Pick<
  Config,
  'api' | 'cluster' | 'dns' | 'egress' | 'encapsulation' | 'node' | 'tun' | 'underlay'
>;

export const MODULES = ['tun', 'veth', 'nf_tables', 'vxlan', 'br_netfilter'] as const;
export type ModuleName = (typeof MODULES)[number];

/** `there`: loaded or built in. `unknown`: the kernel's modules cannot be listed from here, as in a container. */
export type ModuleState = 'there' | 'loadable' | 'missing' | 'unknown';

/** Programs that the agent calls, or that Docker's and firewalld's rules are changed with. */
export const PROGRAMS = [
  'ip',
  'nft',
  'nsenter',
  'unshare',
  'tee',
  'ping',
  'iptables',
  'ip6tables',
  'firewall-cmd',
] as const;
export type ProgramName = (typeof PROGRAMS)[number];

export interface MachineFacts {
  /** `uname -r`. */
  readonly kernel: string;
  /** Such as `glibc 2.36`; `musl` where there is no glibc. */
  readonly cLibrary: string;
  /** Why koffi cannot be loaded; undefined if it can. */
  readonly koffiProblem: string | undefined;
  readonly isRoot: boolean;
  /** Something keeps the clock right; undefined: that cannot be told. */
  readonly isClockSynchronised: boolean | undefined;
  readonly programs: Readonly<Record<ProgramName, boolean>>;
  readonly modules: Readonly<Record<ModuleName, ModuleState>>;
  /** /dev/net/tun is there. */
  readonly hasTunFile: boolean;
}

export interface SysctlFacts {
  /** What forwarding lacks, in the order to set it. */
  readonly missingForwarding: readonly WantedSysctl[];
  readonly hasIpv6: boolean;
  /** `net.ipv4.conf.all.rp_filter`. */
  readonly rpFilter: string | undefined;
  readonly arpIgnore: string | undefined;
  readonly bridgeCallsIptables: string | undefined;
  /** Undefined where connections are not tracked. */
  readonly conntrackMax: number | undefined;
  readonly conntrackCount: number | undefined;
}

/** A base chain of nftables that drops, or rejects, what none of its rules accepts. */
export interface DroppingChain {
  /** Its policy is drop, or a rule without a condition does it, as hosts that come with `-j REJECT` have it. */
  readonly by: 'policy' | 'rule';
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly hook: string;
  /** Its rules name the TUN device and the attachments' interfaces, or lead to the agent's own. */
  readonly namesInterfaces: boolean;
}

export interface FirewallFacts {
  /** By iptables, of both kinds where both have rules. */
  readonly forward: readonly ForwardPolicy[];
  readonly hasFirewalld: boolean;
  readonly droppingChains: readonly DroppingChain[];
}

export interface NetworkFacts {
  readonly links: readonly LinkAddresses[];
  readonly routes: readonly Route[];
}

/** A socket that listens, or a UDP socket that is bound. */
export interface SocketFacts {
  readonly protocol: 'udp' | 'tcp';
  /** As text, without a zone; `0.0.0.0` and `::` are all addresses. */
  readonly address: string;
  readonly port: number;
  /** Undefined: the kernel's own, or of a process that this one may not look at. */
  readonly process: { readonly pid: number; readonly name: string; readonly command: string } | undefined;
}

/** A program that manages interfaces: not there, told to leave ours alone, or not told. */
export type ManagerState = 'absent' | 'told' | 'untold';

export interface HostFacts {
  readonly machine: MachineFacts;
  readonly sysctls: SysctlFacts;
  readonly firewall: FirewallFacts;
  /** Undefined where `ip` cannot tell. */
  readonly network: NetworkFacts | undefined;
  /** Or why there is none. */
  readonly underlay: Underlay | { readonly problem: string; readonly hint: string | undefined } | undefined;
  readonly sockets: readonly SocketFacts[];
  /** Files in /etc/cni/net.d, in the order that runtimes read them. */
  readonly cniConfigurations: readonly string[];
  readonly managers: { readonly networkManager: ManagerState; readonly networkd: ManagerState };
  /** An agent answers on `node.socket`. */
  readonly agentRuns: boolean;
}
