/** How long inner packets may be: what the underlay carries less the encapsulation, or less by configuration. */

import type { Config } from '../config/config.ts';
import { MAX_SEGMENTS_PER_SEND, MAX_SEND_BYTES } from '../datapath/send-queue.ts';
import { WarrenError } from '../errors.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { MAX_MTU } from '../ip/mtu.ts';
import type { Logger } from '../log/logger.ts';
import { IPV6_MIN_MTU } from '../wire/ipv6.ts';

/** Bytes of an inner packet. Throws MTU_TOO_SMALL where IPv6 pods would have less than IPv6 needs. */
export function overlayMtu(
  config: Pick<Config, 'cluster' | 'tun'>,
  underlay: Underlay,
  overheadBytes: number,
  log: Pick<Logger, 'warn'>,
): number {
  const fitting = underlay.mtu - overheadBytes;
  const mtu = config.tun.mtu === 'auto' ? fitting : config.tun.mtu;
  if (mtu > fitting) {
    const fields = { mtu, underlayMtu: underlay.mtu, fits: fitting };
    log.warn(fields, 'tun.mtu is more than the underlay carries; full-size packets will be refused');
  }
  if (mtu < IPV6_MIN_MTU && config.cluster.podCidrs.some(({ range }) => range.family === 6)) {
    throw new WarrenError(
      'MTU_TOO_SMALL',
      `the overlay's MTU would be ${mtu} bytes (${underlay.interfaceName} has ${underlay.mtu}), and IPv6 needs ${IPV6_MIN_MTU}`,
      { hint: 'Raise the MTU of the underlay, or take the IPv6 range out of cluster.podCidrs.' },
    );
  }
  return Math.min(mtu, MAX_MTU);
}

/**
 * Segments in a superpacket that just fills one send: what TCP of pods and node is told to make. A limit in bytes
 * (`gso_max_size`) would let a run of more but shorter UDP datagrams through whole, and would be wrong for TCP:
 * how many of its segments fill a send depends on their headers, which grow with the address family and options,
 * and the kernel takes a room for headers off such a limit that is not the same in every kernel. `addedBytes`: by the
 * encapsulation.
 */
export function segmentsPerSend(mtu: number, addedBytes: number): number {
  const segments = Math.floor(MAX_SEND_BYTES / (mtu + addedBytes));
  return Math.min(MAX_SEGMENTS_PER_SEND, Math.max(1, segments));
}
