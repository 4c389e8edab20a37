/** Whether a packet is the flow's own, an answer to it, or somebody's word that it did not get on. Pure. */
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from '../ip/address.ts';
import { ICMPV6_TOO_BIG } from '../wire/icmp.ts';
import { ICMP_ECHO_IDENTIFIER, ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from '../wire/icmp-echo.ts';
import {
  IPV4_FRAGMENT,
  IPV4_FRAGMENT_OFFSET_MASK,
  IPV4_PROTOCOL,
  ipv4HeaderBytes,
  PROTOCOL_ICMP,
} from '../wire/ipv4.ts';
import { IPV6_HEADER_BYTES, IPV6_NEXT_HEADER, PROTOCOL_ICMPV6 } from '../wire/ipv6.ts';
import { PROTOCOL_TCP, TCP_FLAGS, TCP_RST, TCP_SYN } from '../wire/tcp.ts';
import { PROTOCOL_UDP } from '../wire/udp.ts';
import type { Answer, Flow, IcmpError, Sighting } from './model.ts';

export type Matched = Pick<Sighting, 'what' | 'answer' | 'error'>;

const TCP_ACK = 0x10;
const ICMP_QUOTE = 8;
const ADDRESSES = {
  4: { source: 12, destination: 16, bytes: 4 },
  6: { source: 8, destination: 24, bytes: 16 },
} as const;

/** Number of a flow's protocol in IP headers. */
export function protocolNumber({ protocol, family }: Pick<Flow, 'protocol' | 'family'>): number {
  if (protocol === 'tcp') return PROTOCOL_TCP;
  if (protocol === 'udp') return PROTOCOL_UDP;
  return family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
}

export class FlowMatch {
  readonly #flow: Flow;
  readonly #source: Uint8Array;
  readonly #destination: Uint8Array;

  constructor(flow: Flow) {
    this.#flow = flow;
    this.#source = addressBytes(parseAddress(flow.source));
    this.#destination = addressBytes(parseAddress(flow.destination));
  }

  /** Of the IP packet in `bytes`, which may be cut off. Undefined: it has nothing to do with the flow. */
  match(bytes: Uint8Array): Matched | undefined {
    const head = headOf(bytes);
    if (head === undefined || head.family !== this.#flow.family) return undefined;
    if (this.#isPacket(bytes, head)) return { what: 'packet' };
    const isFromThere = this.#has(bytes, 'source', this.#destination);
    const answer = isFromThere ? this.#answer(bytes, head) : undefined;
    if (answer !== undefined) return { what: 'answer', answer };
    const error = this.#error(bytes, head);
    return error && { what: 'error', error };
  }

  /** A packet that has a mark is known by it, from whatever source it was sent. */
  #isPacket(bytes: Uint8Array, { transport, protocol }: Head): boolean {
    const { flow, view } = { flow: this.#flow, view: viewOf(bytes) };
    if (protocol !== protocolNumber(flow) || !this.#has(bytes, 'destination', this.#destination))
      return false;
    if (flow.mark === 0 && !this.#has(bytes, 'source', this.#source)) return false;
    if (bytes.length < transport + 8) return false;
    if (flow.protocol === 'icmp') {
      if (view.getUint8(transport) !== ICMP_ECHO_REQUEST[flow.family]) return false;
      return flow.mark === 0 || view.getUint16(transport + ICMP_ECHO_IDENTIFIER) === flow.mark;
    }
    const isMarked = flow.mark === 0 || view.getUint16(transport) === flow.mark;
    return isMarked && view.getUint16(transport + 2) === flow.port;
  }

  #answer(bytes: Uint8Array, { transport, protocol }: Head): Answer | undefined {
    const flow = this.#flow;
    const view = viewOf(bytes);
    if (protocol !== protocolNumber(flow) || bytes.length < transport + 8) return undefined;
    if (flow.mark === 0 && !this.#has(bytes, 'destination', this.#source)) return undefined;
    if (flow.protocol === 'icmp') {
      const isReply = view.getUint8(transport) === ICMP_ECHO_REPLY[flow.family];
      const isOurs = flow.mark === 0 || view.getUint16(transport + ICMP_ECHO_IDENTIFIER) === flow.mark;
      return isReply && isOurs ? 'echo-reply' : undefined;
    }
    if (view.getUint16(transport) !== flow.port) return undefined;
    if (flow.mark !== 0 && view.getUint16(transport + 2) !== flow.mark) return undefined;
    if (flow.protocol === 'udp') return 'data';
    if (bytes.length <= transport + TCP_FLAGS) return undefined;
    const flags = view.getUint8(transport + TCP_FLAGS);
    if ((flags & TCP_RST) !== 0) return 'reset';
    return (flags & (TCP_SYN | TCP_ACK)) === (TCP_SYN | TCP_ACK) ? 'syn-ack' : 'data';
  }

  #error(bytes: Uint8Array, { transport, protocol, family }: Head): IcmpError | undefined {
    if (
      protocol !== (family === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) ||
      bytes.length < transport + ICMP_QUOTE
    )
      return undefined;
    const view = viewOf(bytes);
    const [type, code] = [view.getUint8(transport), view.getUint8(transport + 1)];
    const kind = (family === 4 ? kindOf4 : kindOf6)(type, code);
    if (kind === undefined) return undefined;
    const quoted = bytes.subarray(transport + ICMP_QUOTE);
    const head = headOf(quoted);
    if (head === undefined || !this.#isPacket(quoted, head)) return undefined;
    const { source, bytes: length } = ADDRESSES[family];
    const from = formatAddress(addressFromBytes(bytes.slice(source, source + length)));
    if (kind !== 'too-big') return { from, kind };
    return { from, kind, mtu: family === 4 ? view.getUint16(transport + 6) : view.getUint32(transport + 4) };
  }

  #has(bytes: Uint8Array, end: 'source' | 'destination', address: Uint8Array): boolean {
    const at = ADDRESSES[this.#flow.family][end];
    return address.every((byte, i) => bytes[at + i] === byte);
  }
}

interface Head {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly transport: number;
}

/** Undefined: cut off, no IP, or a later fragment. Extension headers of IPv6 are not looked through. */
function headOf(bytes: Uint8Array): Head | undefined {
  if (bytes.length < 20) return undefined;
  const view = viewOf(bytes);
  const version = view.getUint8(0) >> 4;
  if (version === 6 && bytes.length >= IPV6_HEADER_BYTES) {
    return { family: 6, protocol: view.getUint8(IPV6_NEXT_HEADER), transport: IPV6_HEADER_BYTES };
  }
  if (version !== 4 || (view.getUint16(IPV4_FRAGMENT) & IPV4_FRAGMENT_OFFSET_MASK) !== 0) return undefined;
  return { family: 4, protocol: view.getUint8(IPV4_PROTOCOL), transport: ipv4HeaderBytes(view, 0) };
}

/** RFC 792, RFC 1812 (5.2.7.1). */
function kindOf4(type: number, code: number): IcmpError['kind'] | undefined {
  if (type === 11) return 'expired';
  if (type !== 3) return undefined;
  const kinds: readonly IcmpError['kind'][] = ['no-network', 'no-host', 'no-protocol', 'no-port', 'too-big'];
  return [9, 10, 13].includes(code) ? 'prohibited' : (kinds[code] ?? 'other');
}

/** RFC 4443, section 3. */
function kindOf6(type: number, code: number): IcmpError['kind'] | undefined {
  if (type === ICMPV6_TOO_BIG) return 'too-big';
  if (type === 3) return 'expired';
  if (type !== 1) return undefined;
  const kinds: readonly IcmpError['kind'][] = ['no-network', 'prohibited', 'other', 'no-host', 'no-port'];
  return kinds[code] ?? 'other';
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
