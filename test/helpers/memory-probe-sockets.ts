/** The sockets of group probes on a host in memory: superpackets into its TUN, and what comes for its own address. */
import type { ProbeReceiver, ProbeSender, ProbeSockets } from '../../src/group-probe/sockets.ts';
import { addressFromBytes, formatAddress, type IpAddress, sameAddress } from '../../src/ip/address.ts';
import type { Endpoint } from '../../src/ip/endpoint.ts';
import type { MemoryHost } from './memory-host.ts';
import { superpacket } from './superpackets.ts';
import { baseSegment } from './transport-packets.ts';
import { VIRTIO_BYTES, writeFrame } from './tun-frame.ts';

export interface Flow {
  readonly from: Endpoint;
  readonly to: Endpoint;
}

/** Datagrams of one size, but for a shorter last one, as one superpacket. */
export function sendGroup(host: MemoryHost, { from, to }: Flow, datagrams: readonly Uint8Array[]): void {
  const segment = {
    ...baseSegment,
    protocol: 'udp' as const,
    source: formatAddress(from.address),
    destination: formatAddress(to.address),
    sourcePort: from.port,
    destinationPort: to.port,
    payload: Buffer.concat(datagrams),
    flags: 0,
  };
  const { packet, virtio } = superpacket(segment, datagrams.length > 1 ? datagrams[0]!.length : 0);
  host.sendFrame(packet, writeFrame(new Uint8Array(), virtio).subarray(0, VIRTIO_BYTES));
}

/** UDP payload and sender of an IP packet; undefined: it is for another port. */
export function udpPayload(
  packet: Uint8Array,
  port: number,
): { bytes: Uint8Array; from: IpAddress } | undefined {
  const isV4 = packet[0]! >> 4 === 4;
  const headerBytes = isV4 ? 20 : 40;
  const view = new DataView(packet.buffer, packet.byteOffset);
  if (packet[isV4 ? 9 : 6] !== 17 || view.getUint16(headerBytes + 2) !== port) return undefined;
  const from = addressFromBytes(isV4 ? packet.subarray(12, 16) : packet.subarray(8, 24));
  return { bytes: packet.slice(headerBytes + 8), from };
}

export class MemoryProbeSockets implements ProbeSockets {
  readonly #host: MemoryHost;
  #nextPort = 40_000;

  constructor(host: MemoryHost) {
    this.#host = host;
  }

  openSender(from: IpAddress, port: number): ProbeSender {
    this.#mustHave(from);
    const own = port === 0 ? this.#nextPort++ : port;
    return {
      port: own,
      send: (to, datagrams) => {
        sendGroup(this.#host, { from: { address: from, port: own }, to }, datagrams);
        return true;
      },
      close: () => {},
    };
  }

  async openReceiver(
    at: IpAddress,
    onDatagram: (bytes: Uint8Array, from: IpAddress) => void,
  ): Promise<ProbeReceiver> {
    this.#mustHave(at);
    const port = this.#nextPort++;
    const listener = (packet: Uint8Array) => {
      const payload = udpPayload(packet, port);
      const isV4 = packet[0]! >> 4 === 4;
      const to = addressFromBytes(isV4 ? packet.subarray(16, 20) : packet.subarray(24, 40));
      if (payload && sameAddress(to, at)) onDatagram(payload.bytes, payload.from);
    };
    this.#host.listeners.add(listener);
    return { port, close: () => this.#host.listeners.delete(listener) };
  }

  #mustHave(address: IpAddress): void {
    if (!this.#host.hasOverlayAddress(address)) throw new Error(`${formatAddress(address)} is not here`);
  }
}
