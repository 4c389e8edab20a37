import type { VirtualHost } from './virtual-network.ts';

/** Like SIGKILL or a pulled plug: nothing is said, heard or done any more. */
export async function silenceOf(node: {
  readonly host: VirtualHost;
  readonly membership: { stop(): Promise<void> };
}): Promise<void> {
  node.host.isDown = true;
  await node.membership.stop();
}
