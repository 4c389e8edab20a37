/** Packets for tests. */
import { addressBytes, parseAddress } from '../../src/ip/address.ts';
import { checksum } from '../../src/wire/checksum.ts';

/** An IPv4 UDP-numbered packet of `bytes` bytes in all with a good header checksum and a counting payload. */
export function ipv4Packet(
  source: string,
  destination: string,
  options: { bytes?: number; dontFragment?: boolean } = {},
): Uint8Array {
  const packet = payload(options.bytes ?? 60);
  const view = new DataView(packet.buffer);
  view.setUint32(0, 0x4500_0000 | packet.length);
  view.setUint32(4, (options.dontFragment ?? true) ? 0x0001_4000 : 0x0001_0000);
  view.setUint32(8, 0x4011_0000);
  packet.set(addressBytes(parseAddress(source)), 12);
  packet.set(addressBytes(parseAddress(destination)), 16);
  view.setUint16(10, checksum(view, 0, 20));
  return packet;
}

/** An IPv6 UDP-numbered packet of `bytes` bytes in all. */
export function ipv6Packet(
  source: string,
  destination: string,
  options: { bytes?: number } = {},
): Uint8Array {
  const packet = payload(options.bytes ?? 80);
  const view = new DataView(packet.buffer);
  view.setUint32(0, 0x6000_0000);
  view.setUint32(4, ((packet.length - 40) << 16) | 0x1140);
  packet.set(addressBytes(parseAddress(source)), 8);
  packet.set(addressBytes(parseAddress(destination)), 24);
  return packet;
}

/** `inner` behind a VXLAN-GPE header; the defaults are what a good peer sends. */
export function vxlanGpe(
  inner: Uint8Array,
  options: { flags?: number; reserved?: number; nextProtocol?: number; vni?: number; lastByte?: number } = {},
): Uint8Array {
  const version = (inner[0] ?? 0) >> 4;
  const header = new DataView(new ArrayBuffer(8));
  header.setUint8(0, options.flags ?? 0x0c);
  header.setUint16(1, options.reserved ?? 0);
  header.setUint8(3, options.nextProtocol ?? (version === 6 ? 2 : 1));
  header.setUint32(4, (((options.vni ?? 42) << 8) | (options.lastByte ?? 0)) >>> 0);
  return Uint8Array.from([...new Uint8Array(header.buffer), ...inner]);
}

function payload(bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, i) => i & 0xff);
}
