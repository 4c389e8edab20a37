/**
 * Which inner packets leave in groups also towards a VTEP that is sent single datagrams: those of this node's own that
 * find out whether groups arrive there again. Looked at for packets to such a VTEP alone, so it may cost a few loads.
 */
import { IPV4_PROTOCOL, ipVersion, ipv4HeaderBytes, ipv4Source } from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, IPV6_SOURCE } from '../wire/ipv6.ts';
import { PROTOCOL_UDP } from '../wire/udp.ts';
import type { ForwardingState } from './forwarding.ts';

export class GroupExemption {
  #port: number | undefined;
  #ownIpv4: number | undefined;
  #ownIpv6: Int32Array | undefined;

  load({ groupProbePort, ownIpv4, ownIpv6 }: ForwardingState): void {
    this.#port = groupProbePort;
    this.#ownIpv4 = ownIpv4;
    this.#ownIpv6 = ownIpv6;
  }

  /** `packet`: offset of an inner packet whose headers were found to be whole. */
  has(view: DataView, packet: number): boolean {
    if (this.#port === undefined) return false;
    return ipVersion(view, packet) === 4 ? this.#has4(view, packet) : this.#has6(view, packet);
  }

  #has4(view: DataView, packet: number): boolean {
    return (
      view.getUint8(packet + IPV4_PROTOCOL) === PROTOCOL_UDP &&
      ipv4Source(view, packet) === this.#ownIpv4 &&
      view.getUint16(packet + ipv4HeaderBytes(view, packet)) === this.#port
    );
  }

  #has6(view: DataView, packet: number): boolean {
    const own = this.#ownIpv6;
    if (own === undefined || view.getUint8(packet + IPV6_NEXT_HEADER) !== PROTOCOL_UDP) return false;
    for (let i = 0; i < 4; i++) {
      if (view.getInt32(packet + IPV6_SOURCE + 4 * i) !== own[i]) return false;
    }
    return view.getUint16(packet + IPV6_HEADER_BYTES) === this.#port;
  }
}
