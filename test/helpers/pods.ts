/** Pods of a node on real network namespaces, as its agent makes them. */
import type { AttachmentLimits } from '../../src/attachment/attachment-maker.ts';
import { fileAttachmentStore } from '../../src/attachment/attachment-store.ts';
import { Attachments } from '../../src/attachment/attachments.ts';
import { LinuxAttachmentNetwork } from '../../src/host/attachment/linux-attachment-network.ts';
import type { Prefix } from '../../src/ip/prefix.ts';
import { silentLogger } from '../../src/log/logger.ts';
import { PodManager } from '../../src/pod/pod-manager.ts';

export interface RealPodsOptions {
  /** Its name, and its id. */
  readonly node: string;
  readonly stateDir: string;
  readonly subnets: readonly Prefix[];
  readonly limits?: AttachmentLimits;
  readonly staticPods?: readonly string[];
  /** Path of the network namespace that the node lives in; default: this process's own. */
  readonly netns?: string;
}

export interface RealPods {
  readonly attachments: Attachments;
  readonly pods: PodManager;
  /** Ends the thread that works on the host; what it made stays. */
  close(): Promise<void>;
}

export function realPods(options: RealPodsOptions): RealPods {
  const { node, stateDir, subnets, netns, staticPods = [] } = options;
  const network = new LinuxAttachmentNetwork({ log: silentLogger, netns });
  const attachments = new Attachments({
    nodeId: node,
    store: fileAttachmentStore(stateDir, node),
    network,
    subnets,
    limits: options.limits ?? { mtu: 1400, gsoMaxSegments: 44 },
    log: silentLogger,
    nodeNetns: netns,
  });
  return {
    attachments,
    pods: new PodManager({ nodeName: node, attachments, staticPods, log: silentLogger }),
    close: async () => {
      await attachments.close();
      await network.close();
    },
  };
}
