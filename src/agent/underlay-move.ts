/** A move of this node to another underlay address, or to another MTU of its link: all of it moves, or nothing. */
import type { Config } from '../config/config.ts';
import type { DataPlane } from '../dataplane/dataplane.ts';
import { WarrenError } from '../errors.ts';
import type { Host } from '../host/host.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { formatAddress, sameAddress } from '../ip/address.ts';
import { formatPrefix, prefixContains } from '../ip/prefix.ts';
import type { MovableTransport } from '../link/movable-transport.ts';

/**
 * Moves the gossip and the data plane to `next`. The new sockets of both are bound before an old one is let go; where
 * one of them cannot be, everything is as it was, and it throws. Whoever announces this node's address does so after.
 */
export async function moveUnderlay(
  config: Config,
  next: Underlay,
  dataPlane: DataPlane,
  transport: MovableTransport,
): Promise<void> {
  refuseUnderlayInOverlay(config, next);
  const isElsewhere = !sameAddress(next.address, dataPlane.underlay.address);
  const bind = { address: next.address, port: config.underlay.gossipPort };
  const prepared = isElsewhere ? await transport.prepareMove(bind) : undefined;
  try {
    await dataPlane.moveTo(next);
  } catch (error) {
    await prepared?.abort();
    throw error;
  }
  await prepared?.commit();
}

/** Where the node can go on when its underlay address is gone. Throws as long as there is nothing. */
export async function findUnderlay(config: Config, host: Host, now: Underlay): Promise<Underlay> {
  const next = await host.resolveUnderlay(config);
  const { family } = now.address;
  if (next.address.family === family) return next;
  throw new WarrenError(
    'UNDERLAY_FAMILY',
    `the underlay's IPv${family} address is gone, and this host has only ${formatAddress(next.address)}`,
    { hint: 'All nodes share one underlay family; with all of them on the other one, restart the agent.' },
  );
}

/** Such an underlay would send the outer datagrams into the tunnel again. */
export function refuseUnderlayInOverlay(config: Config, { address }: Underlay): void {
  const range = config.cluster.podCidrs.find((one) => prefixContains(one.range, address))?.range;
  if (!range) return;
  throw new WarrenError(
    'UNDERLAY_IN_OVERLAY',
    `the underlay address ${formatAddress(address)} lies in the pod range ${formatPrefix(range)}`,
    { hint: 'Choose cluster.podCidrs that overlap no network the nodes use.' },
  );
}
