/** The UDP sockets of the tunnel at one underlay address, opened and closed as one. */
import type { Config } from '../config/config.ts';
import type { EncapsulationForm } from '../datapath/encapsulation.ts';
import type { Underlay } from '../host/underlay-route.ts';
import { addressWords } from '../ip/address.ts';
import { type Endpoint, formatEndpoint } from '../ip/endpoint.ts';
import type { UnderlayOffloads, UnderlaySockets } from '../underlay/underlay-socket.ts';
import type { UserspaceParts } from './userspace-parts.ts';

export interface TunnelSockets {
  readonly receivers: UnderlaySockets;
  /** With several workers each sends from a port of its own, if the encapsulation lets it. */
  readonly senders: UnderlaySockets;
}

/** This node's tunnel endpoint at `underlay`. */
export function vtepOn({ address }: Underlay, config: Config): Endpoint {
  return { address, port: config.encapsulation.port };
}

/** One per worker, all bound; none is left open if it throws. */
export function openTunnelSockets(
  config: Config,
  parts: UserspaceParts,
  underlay: Underlay,
  workers: number,
  { udpSegment, udpGro }: UnderlayOffloads,
  { sendsFromOnePort, hasHandshakes }: EncapsulationForm,
): TunnelSockets {
  const vtep = vtepOn(underlay, config);
  const options = {
    words: addressWords(underlay.address),
    displayName: formatEndpoint(vtep),
    wanted: { udpSegment, udpGro },
    count: workers,
    hasHandshakes,
    acceptsOthers: config.encapsulation.accept !== undefined,
  };
  const receivers = parts.openSockets({ ...options, port: vtep.port });
  if (workers === 1 || sendsFromOnePort) return { receivers, senders: receivers };
  try {
    const wanted = { udpSegment, udpGro: false };
    const senders = { ...options, port: 0, sendsOnly: true, wanted };
    return { receivers, senders: parts.openSockets(senders) };
  } catch (error) {
    parts.closeSockets(receivers);
    throw error;
  }
}

/** The same sockets with other offloads. */
export function switchTunnelSockets(
  { receivers, senders }: TunnelSockets,
  parts: UserspaceParts,
  { udpSegment, udpGro }: UnderlayOffloads,
): TunnelSockets {
  const switched = parts.switchSocketOffloads(receivers, { udpSegment, udpGro });
  if (senders === receivers) return { receivers: switched, senders: switched };
  return {
    receivers: switched,
    senders: parts.switchSocketOffloads(senders, { udpSegment, udpGro: false }),
  };
}

export function closeTunnelSockets({ receivers, senders }: TunnelSockets, parts: UserspaceParts): void {
  parts.closeSockets(receivers);
  if (senders !== receivers) parts.closeSockets(senders);
}
