/** Attachments on a host and a disk in memory. */
import type { AttachmentLimits } from '../../src/attachment/attachment-maker.ts';
import { Attachments } from '../../src/attachment/attachments.ts';
import { parsePrefix } from '../../src/ip/prefix.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { MemoryAttachmentNetwork } from './memory-attachment-network.ts';
import { MemoryAttachmentStore } from './memory-attachment-store.ts';

export const LIMITS: AttachmentLimits = { mtu: 1400, gsoMaxSegments: 44 };
export const SUBNETS = ['10.42.3.0/24', 'fd42:0:0:3::/64'];

/** The host and the disk, which outlive the agent. */
export class MemoryHost {
  readonly network: MemoryAttachmentNetwork;
  readonly store: MemoryAttachmentStore;

  /** `step` is called before and after each change of either, see there. */
  constructor(step?: (what: string) => Promise<void>) {
    const options = step === undefined ? {} : { step };
    this.network = new MemoryAttachmentNetwork(options);
    this.store = new MemoryAttachmentStore(options);
  }

  get violations(): string[] {
    return [...this.network.violations, ...this.store.violations];
  }

  /** A new run of the agent. */
  start(
    options: { readonly subnets?: readonly string[]; readonly limits?: AttachmentLimits } = {},
  ): Attachments {
    return new Attachments({
      nodeId: 'node-a',
      store: this.store,
      network: this.network,
      subnets: (options.subnets ?? SUBNETS).map(parsePrefix),
      limits: options.limits ?? LIMITS,
      log: silentLogger,
    });
  }
}
