/** The port between the agent and the host's packet filter. On Linux it is nftables; a test may have none. */
import type { Config } from '../../config/config.ts';
import type { Family } from '../../ip/address.ts';
import type { IsolatedGroup } from './network-isolation.ts';
import type { RenderedState } from './nft-difference.ts';

/** A connection that somebody wanted, and how often packets of it came. */
export interface DeniedConnection {
  readonly source: string;
  readonly destination: string;
  readonly family: Family;
  /** `tcp`, `icmp`, or the number of one that has no name. */
  readonly protocol: string;
  /** 0 where there are none. */
  readonly port: number;
  readonly packets: number;
  /** Since the last one. */
  readonly ageSeconds: number;
}

/** A rule as the kernel has it. */
export interface CountedRule {
  readonly comment: string;
  readonly packets: number;
}

/** Rules of network policies. */
export interface PolicyRules {
  /** Makes it what the kernel has, in one transaction; nothing is left of none. Throws why it cannot. */
  apply(state: RenderedState): Promise<void>;
  /** The addresses in sets, as an earlier run has left them; by the sets' names. */
  left(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Packets by the counters' names without what all begin with. Asks the kernel, which takes microseconds. */
  counts(): ReadonlyMap<string, number>;
  /** `denied`, or `trial`: what staged policies would. */
  denied(which: 'denied' | 'trial'): Promise<readonly DeniedConnection[]>;
  /** Of one attachment in one direction, `in` or `out`. */
  rulesOf(interfaceName: string, short: 'in' | 'out'): Promise<readonly CountedRule[]>;
}

export interface HostRules {
  /** Makes the rules what `egress` asks for, and takes away what it does not. Throws why it cannot. */
  apply(egress: Config['egress']): Promise<void>;
  /** Networks reach what their groups say, and nothing else. Throws why they are not kept apart so. */
  isolate(groups: readonly IsolatedGroup[]): Promise<void>;
  /** Whom groups could reach when an earlier run ended, by their keys: addresses as text. */
  isolated(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** What policies need of the packet filter. Absent: there can be none. */
  policies?(): Promise<PolicyRules>;
  /**
   * Puts back what others removed or changed; resolves to how many things that were. To be asked after `apply` has
   * worked once; before that there is nothing to put back.
   */
  repair(): Promise<number>;
  /** Calls `onDamage` when something is not as it should be, until it is stopped. */
  watch(onDamage: () => void): { stop(): void };
  /** What a person should look at, one sentence each. */
  problems(): string[];
}
