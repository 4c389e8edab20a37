/**
 * Reads what tcpdump wrote (the classic pcap format), and the overlay's packets in it. Every length, version and
 * checksum on the way is checked: a capture is evidence, not input to be forgiving with.
 */
import { onesSum } from './transport-packets.ts';

/** Frames of a capture on an Ethernet device, whole. Throws on any other capture, and on one that is cut short. */
export function readPcap(file: Buffer): Buffer[] {
  const FILE_HEADER_BYTES = 24;
  const RECORD_HEADER_BYTES = 16;
  const LINKTYPE_ETHERNET = 1;
  // Microseconds or nanoseconds; in this machine's byte order, little-endian.
  if (![0xa1b2c3d4, 0xa1b23c4d].includes(file.readUInt32LE(0))) throw new Error('no pcap file');
  if (file.readUInt32LE(20) !== LINKTYPE_ETHERNET) throw new Error('not captured on an Ethernet device');
  const frames: Buffer[] = [];
  for (let at = FILE_HEADER_BYTES; at < file.length; ) {
    const [capturedBytes, wireBytes] = [file.readUInt32LE(at + 8), file.readUInt32LE(at + 12)];
    const end = at + RECORD_HEADER_BYTES + capturedBytes;
    if (capturedBytes !== wireBytes || end > file.length) throw new Error('a frame was not captured whole');
    frames.push(file.subarray(at + RECORD_HEADER_BYTES, end));
    at = end;
  }
  return frames;
}

export interface IpPacket {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** The header as hexadecimal digits, without lengths, checksum and source: what two senders have in common. */
  readonly commonHeader: string;
  /** IPv4. */
  readonly id: number;
  readonly payload: Buffer;
}

/** An IPv4 packet without options or fragments, or an IPv6 one without extension headers; throws on anything else. */
export function readIp(packet: Buffer): IpPacket {
  const header = Buffer.from(packet);
  if (packet[0] === 0x45) {
    if (onesSum(packet.subarray(0, 20)) !== 0xffff) throw new Error('a bad IPv4 header checksum');
    if (packet.readUInt16BE(2) !== packet.length) throw new Error('not as long as the IPv4 header says');
    if ((packet.readUInt16BE(6) & 0xbfff) !== 0) throw new Error('a fragment');
    for (const [from, to] of [
      [2, 6],
      [10, 16],
    ] as const)
      header.fill(0, from, to);
    return {
      source: packet.toString('hex', 12, 16),
      destination: packet.toString('hex', 16, 20),
      protocol: packet[9]!,
      commonHeader: header.toString('hex', 0, 20),
      id: packet.readUInt16BE(4),
      payload: packet.subarray(20),
    };
  }
  if (packet[0]! >> 4 !== 6) throw new Error('neither IPv6 nor IPv4 without options');
  if (packet.readUInt16BE(4) !== packet.length - 40) throw new Error('not as long as the IPv6 header says');
  // The kernel makes flow labels from the addresses.
  header[1]! &= 0xf0;
  header.fill(0, 2, 6);
  header.fill(0, 8, 24);
  return {
    source: packet.toString('hex', 8, 24),
    destination: packet.toString('hex', 24, 40),
    protocol: packet[6]!,
    commonHeader: header.toString('hex', 0, 40),
    id: 0,
    payload: packet.subarray(40),
  };
}

/** Throws unless the TCP or UDP checksum in `ip` is complete and right. */
export function checkTransport(ip: IpPacket): void {
  if (ip.protocol === 17 && ip.payload.readUInt16BE(6) === 0) throw new Error('UDP without a checksum');
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(ip.payload.length, 0);
  tail.writeUInt32BE(ip.protocol, 4);
  const pseudoHeader = Buffer.concat([Buffer.from(ip.source + ip.destination, 'hex'), tail]);
  if (onesSum(Buffer.concat([pseudoHeader, ip.payload])) !== 0xffff)
    throw new Error('a bad transport checksum');
}

/** The inner packets of VXLAN-GPE frames; throws where an outer header or its checksum is wrong. */
export function readTunnel(frames: readonly Buffer[], vni: number): Buffer[] {
  return frames.map((frame) => {
    const type = frame.readUInt16BE(12);
    if (type !== 0x0800 && type !== 0x86dd) throw new Error(`Ethernet type ${type.toString(16)}`);
    const outer = readIp(frame.subarray(14));
    if (outer.protocol !== 17) throw new Error('the outer packet is not UDP');
    if (outer.payload.readUInt16BE(4) !== outer.payload.length) throw new Error('a bad outer UDP length');
    checkTransport(outer);
    const inner = outer.payload.subarray(16);
    const nextProtocol = inner[0]! >> 4 === 4 ? 1 : 2;
    // No flag but I and P: in particular none for a partial checksum.
    const expected = Buffer.from([0x0c, 0, 0, nextProtocol, 0, 0, 0, 0]);
    expected.writeUInt32BE(vni << 8, 4);
    if (!outer.payload.subarray(8, 16).equals(expected)) throw new Error('an unexpected VXLAN-GPE header');
    return inner;
  });
}
