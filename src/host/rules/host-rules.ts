/** The port between the agent and the host's packet filter. On Linux it is nftables; a test may have none. */
import type { Config } from '../../config/config.ts';
import type { IsolatedGroup } from './network-isolation.ts';

export interface HostRules {
  /** Makes the rules what `egress` asks for, and takes away what it does not. Throws why it cannot. */
  apply(egress: Config['egress']): Promise<void>;
  /** Networks reach what their groups say, and nothing else. Throws why they are not kept apart so. */
  isolate(groups: readonly IsolatedGroup[]): Promise<void>;
  /** Whom groups could reach when an earlier run ended, by their keys: addresses as text. */
  isolated(): Promise<ReadonlyMap<string, readonly string[]>>;
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
