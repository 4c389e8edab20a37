/**
 * The host as the agent looks at it: where the others reach it, and when something changes. On Linux it is asked
 * with iproute2; tests have one in memory.
 */
import type { Config } from '../config/config.ts';
import type { IpAddress } from '../ip/address.ts';
import type { Logger } from '../log/logger.ts';
import type { InNetns } from './command.ts';
import { NetworkMonitor } from './network-monitor.ts';
import { resolveUnderlay, type Underlay, underlayAt } from './underlay-route.ts';

export interface Host {
  /** Which address to use. Throws UNDERLAY_ADDRESS_MISSING or UNDERLAY_ADDRESS_UNKNOWN. */
  resolveUnderlay(config: Config): Promise<Underlay>;
  /** The interface that has `address` now, with its MTU; undefined if none has. */
  underlayAt(address: IpAddress): Promise<Underlay | undefined>;
  /** Calls `onChange` when links, addresses or routes may have changed, until it is stopped. */
  watch(onChange: () => void, log: Logger): { stop(): void };
}

export function linuxHost(where: InNetns = {}): Host {
  return {
    resolveUnderlay: (config) => resolveUnderlay(config, where),
    underlayAt: (address) => underlayAt(address, where),
    watch: (onChange, log) => {
      const monitor = new NetworkMonitor({ ...where, onChange, log });
      monitor.start();
      return monitor;
    },
  };
}
