/**
 * The datagrams of the tunnel among which that of the flow's packet is. In clear text it is looked into; a sealed one is known by
 * its length, and by whom it is for and its number, which stand in front of what is sealed.
 */
import { addressBytes, parseAddress } from '../ip/address.ts';
import { IPV4_PROTOCOL } from '../wire/ipv4.ts';
import { IPV6_NEXT_HEADER } from '../wire/ipv6.ts';
import { PROTOCOL_UDP, UDP_HEADER_BYTES } from '../wire/udp.ts';
import { VXLAN_GPE_BYTES } from '../wire/vxlan-gpe.ts';
import type { FlowMatch } from './flow-match.ts';
import type { Flow, Sighting } from './model.ts';

/** Of WireGuard: type, receiver, counter; and the tag behind what is sealed. */
const DATA_HEADER_BYTES = 16;
const SEALED_BYTES = 32;
const PADDING_BYTES = 16;
const TYPE_DATA = 4;
/** Initiation, response, cookie. */
const HANDSHAKE_BYTES: readonly number[] = [148, 92, 64];
const IP_BYTES = { 4: 20, 6: 40 } as const;

export interface Tunnel {
  /** The other node's end. */
  readonly address: string;
  readonly port: number;
  readonly ownPort: number;
  readonly isSealed: boolean;
}

/** How long such a datagram may be, its IP header included. Empty: of whatever length. */
export function outerLengths({ bytes }: Pick<Flow, 'bytes'>, { isSealed, address }: Tunnel): number[] {
  const outer = IP_BYTES[address.includes(':') ? 6 : 4] + UDP_HEADER_BYTES;
  if (bytes === 0) return [];
  if (!isSealed) return [outer + VXLAN_GPE_BYTES + bytes];
  const padded = Math.ceil(bytes / PADDING_BYTES) * PADDING_BYTES;
  const data = [...new Set([padded, bytes])].map((length) => outer + SEALED_BYTES + length);
  return [...data, ...HANDSHAKE_BYTES.map((length) => outer + length)];
}

/** What the IP packet in `bytes`, which may be cut off after 128 of them, is; `length`: how long it was. */
export function matchOuter(
  bytes: Uint8Array,
  length: number,
  { isSealed, address }: Tunnel,
  flow: Flow,
  inner: FlowMatch,
): Pick<Sighting, 'what' | 'answer' | 'error' | 'tag'> | undefined {
  const family = address.includes(':') ? 6 : 4;
  const ip = IP_BYTES[family];
  const payload = ip + UDP_HEADER_BYTES;
  if (bytes.length < payload + 8 || !isOfTunnel(bytes, { address })) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!isSealed) return inner.match(bytes.subarray(payload + VXLAN_GPE_BYTES));
  const type = view.getUint8(payload);
  if (type !== TYPE_DATA) return type >= 1 && type <= 3 ? { what: 'handshake' } : undefined;
  const expected = outerLengths(flow, { isSealed, address, port: 0, ownPort: 0 });
  if (flow.bytes !== 0 && !expected.includes(length)) return undefined;
  if (bytes.length < payload + DATA_HEADER_BYTES) return undefined;
  const tag = `${view.getUint32(payload + 4, true).toString(16)}:${view.getBigUint64(payload + 8, true)}`;
  return { what: 'packet', tag };
}

/** Whether the headers of an IP packet say that it is UDP from or to the other end. */
export function isOfTunnel(bytes: Uint8Array, { address }: Pick<Tunnel, 'address'>): boolean {
  const family = address.includes(':') ? 6 : 4;
  if (bytes.length < IP_BYTES[family] || bytes[0]! >> 4 !== family) return false;
  return (
    bytes[family === 4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER] === PROTOCOL_UDP && isPeer(bytes, family, address)
  );
}

function isPeer(bytes: Uint8Array, family: 4 | 6, address: string): boolean {
  const wanted = addressBytes(parseAddress(address));
  return (family === 4 ? [12, 16] : [8, 24]).some((at) => wanted.every((byte, i) => bytes[at + i] === byte));
}
