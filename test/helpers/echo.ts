/** Echo requests and replies (ping) as whole IP packets. */
import { addressBytes, parseAddress } from '../../src/ip/address.ts';
import { checksum, checksumAdd, checksumFinish, pseudoHeaderSum6 } from '../../src/wire/checksum.ts';
import { ipv4Packet, ipv6Packet } from './packets.ts';

const REQUEST = { 4: 8, 6: 128 } as const;
const REPLY = { 4: 0, 6: 129 } as const;
const ECHO_PROTOCOL = { 4: 1, 6: 58 } as const;

/** A request of `bytes` bytes in all; `sequence` tells it from others. */
export function echoRequest(source: string, destination: string, sequence: number, bytes = 84): Buffer {
  const isIpv4 = parseAddress(source).family === 4;
  const packet = Buffer.from(
    isIpv4 ? ipv4Packet(source, destination, { bytes }) : ipv6Packet(source, destination, { bytes }),
  );
  const at = isIpv4 ? 20 : 40;
  packet[isIpv4 ? 9 : 6] = ECHO_PROTOCOL[isIpv4 ? 4 : 6];
  packet.writeUInt32BE(0, at);
  packet[at] = REQUEST[isIpv4 ? 4 : 6];
  packet.writeUInt16BE(0x7761, at + 4);
  packet.writeUInt16BE(sequence, at + 6);
  return summed(packet);
}

/** The sequence number of a reply without an error in it; undefined: it is none. */
export function echoReplySequence(packet: Buffer): number | undefined {
  const family = packet[0]! >> 4 === 4 ? 4 : 6;
  const at = family === 4 ? 20 : 40;
  if (packet[family === 4 ? 9 : 6] !== ECHO_PROTOCOL[family] || packet[at] !== REPLY[family])
    return undefined;
  if (!summed(Buffer.from(packet)).equals(packet)) return undefined;
  return packet.readUInt16BE(at + 6);
}

/** What answers a request; undefined: it is none. */
export function echoAnswer(request: Buffer): Buffer | undefined {
  const family = request[0]! >> 4 === 4 ? 4 : 6;
  const at = family === 4 ? 20 : 40;
  if (request[family === 4 ? 9 : 6] !== ECHO_PROTOCOL[family] || request[at] !== REQUEST[family])
    return undefined;
  const answer = Buffer.from(request);
  const [from, bytes] = family === 4 ? [12, 4] : [8, 16];
  request.copy(answer, from, from + bytes, from + 2 * bytes);
  request.copy(answer, from + bytes, from, from + bytes);
  answer[at] = REPLY[family];
  return summed(answer);
}

/** Without what was added behind the packet. */
export function trimmed(packet: Buffer): Buffer {
  const bytes = packet[0]! >> 4 === 4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4);
  return packet.subarray(0, bytes);
}

/** Sets both checksums. */
function summed(packet: Buffer): Buffer {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const isIpv4 = packet[0]! >> 4 === 4;
  const at = isIpv4 ? 20 : 40;
  view.setUint16(at + 2, 0);
  if (isIpv4) {
    view.setUint16(10, 0);
    view.setUint16(10, checksum(view, 0, 20));
    view.setUint16(at + 2, checksum(view, at, packet.length - at));
  } else {
    const bytes = packet.length - at;
    const sum = checksumAdd(pseudoHeaderSum6(view, 0, ECHO_PROTOCOL[6]) + bytes, view, at, bytes);
    view.setUint16(at + 2, checksumFinish(sum));
  }
  return packet;
}

/** Address and port as bytes. */
export function endpointBytes(address: string, port: number): Buffer {
  return Buffer.concat([addressBytes(parseAddress(address)), Buffer.of(port >> 8, port & 0xff)]);
}
