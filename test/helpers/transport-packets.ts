/**
 * TCP and UDP packets for tests, built from fields the slow and obvious way, and the obvious segmentation: an
 * oracle that shares no code with the packet path.
 */
import { addressBytes, parseAddress } from '../../src/ip/address.ts';

export interface Segment {
  readonly source: string;
  readonly destination: string;
  readonly protocol: 'tcp' | 'udp';
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
  /** IPv4. */
  readonly id: number;
  readonly dontFragment: boolean;
  /** TTL or hop limit; type of service or traffic class; flow label (IPv6). */
  readonly ttl: number;
  readonly trafficClass: number;
  readonly flowLabel: number;
  /** TCP. */
  readonly sequence: number;
  readonly acknowledgment: number;
  readonly flags: number;
  readonly window: number;
  /** A multiple of four bytes, at most 40. */
  readonly options: Uint8Array;
}

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export const baseSegment: Segment = {
  source: '10.42.1.2',
  destination: '10.42.2.2',
  protocol: 'tcp',
  sourcePort: 1000,
  destinationPort: 2000,
  payload: new Uint8Array(0),
  id: 7,
  dontFragment: true,
  ttl: 64,
  trafficClass: 0,
  flowLabel: 0,
  sequence: 1,
  acknowledgment: 1,
  flags: ACK,
  window: 500,
  options: new Uint8Array(0),
};

/** The packet of a segment. `checksum`: complete, partial (the pseudo-header's folded sum), or wrong. */
export function buildPacket(segment: Segment, checksum: 'full' | 'partial' | 'bad' = 'full'): Buffer {
  const transport = segment.protocol === 'tcp' ? tcpBytes(segment) : udpBytes(segment);
  const isIpv4 = segment.source.includes('.');
  const number = segment.protocol === 'tcp' ? 6 : 17;
  const source = addressBytes(parseAddress(segment.source));
  const destination = addressBytes(parseAddress(segment.destination));
  const pseudo = Buffer.concat([
    source,
    destination,
    Buffer.from([0, number, transport.length >> 8, transport.length & 0xff]),
  ]);
  const field = segment.protocol === 'tcp' ? 16 : 6;
  if (checksum === 'partial') {
    transport.writeUInt16BE(onesSum(pseudo), field);
  } else {
    const sum = ~onesSum(Buffer.concat([pseudo, transport])) & 0xffff;
    const sent = segment.protocol === 'udp' && sum === 0 ? 0xffff : sum;
    transport.writeUInt16BE(checksum === 'bad' ? sent ^ 0x0101 : sent, field);
  }
  return Buffer.concat([
    isIpv4
      ? ipv4Header(segment, transport.length, number, source, destination)
      : ipv6Header(segment, transport.length, number, source, destination),
    transport,
  ]);
}

/** What a superpacket stands for: the segment cut into pieces of `segmentBytes` of payload. */
export function cut(segment: Segment, segmentBytes: number): Segment[] {
  const pieces: Segment[] = [];
  for (let at = 0; at < segment.payload.length; at += segmentBytes) {
    const isFirst = at === 0;
    const isLast = at + segmentBytes >= segment.payload.length;
    let flags = segment.flags;
    if (!isFirst) flags &= ~CWR;
    if (!isLast) flags &= ~(FIN | PSH);
    pieces.push({
      ...segment,
      payload: segment.payload.subarray(at, at + segmentBytes),
      id: (segment.id + pieces.length) & 0xffff,
      sequence: (segment.sequence + at) >>> 0,
      flags,
    });
  }
  return pieces;
}

/** Reads a packet that `buildPacket` could have built; throws on anything that does not add up. */
export function parsePacket(packet: Buffer): Segment {
  const isIpv4 = packet[0]! >> 4 === 4;
  const ipBytes = isIpv4 ? 20 : 40;
  const total = isIpv4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4);
  if (total !== packet.length) throw new Error(`the packet says ${total} bytes and has ${packet.length}`);
  if (isIpv4 && onesSum(packet.subarray(0, 20)) !== 0xffff) throw new Error('bad IPv4 header checksum');
  const number = isIpv4 ? packet[9] : packet[6];
  const transport = packet.subarray(ipBytes);
  const isTcp = number === 6;
  const headerBytes = isTcp ? (transport[12]! >> 4) * 4 : 8;
  if (!isTcp && transport.readUInt16BE(4) !== transport.length) throw new Error('bad UDP length');
  const address = (at: number, bytes: number) => addressText(packet.subarray(at, at + bytes));
  return {
    source: isIpv4 ? address(12, 4) : address(8, 16),
    destination: isIpv4 ? address(16, 4) : address(24, 16),
    protocol: isTcp ? 'tcp' : 'udp',
    sourcePort: transport.readUInt16BE(0),
    destinationPort: transport.readUInt16BE(2),
    payload: Uint8Array.from(transport.subarray(headerBytes)),
    id: isIpv4 ? packet.readUInt16BE(4) : 0,
    dontFragment: isIpv4 ? (packet[6]! & 0x40) !== 0 : true,
    ttl: isIpv4 ? packet[8]! : packet[7]!,
    trafficClass: isIpv4 ? packet[1]! : (packet.readUInt32BE(0) >>> 20) & 0xff,
    flowLabel: isIpv4 ? 0 : packet.readUInt32BE(0) & 0xfffff,
    sequence: isTcp ? transport.readUInt32BE(4) : 0,
    acknowledgment: isTcp ? transport.readUInt32BE(8) : 0,
    flags: isTcp ? transport[13]! : 0,
    window: isTcp ? transport.readUInt16BE(14) : 0,
    options: isTcp ? Uint8Array.from(transport.subarray(20, headerBytes)) : new Uint8Array(0),
  };
}

/** The folded one's complement sum; 0xffff over data that carries its checksum. */
export function onesSum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += (data[i]! << 8) | (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function tcpBytes(segment: Segment): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(segment.sourcePort, 0);
  header.writeUInt16BE(segment.destinationPort, 2);
  header.writeUInt32BE(segment.sequence, 4);
  header.writeUInt32BE(segment.acknowledgment, 8);
  header[12] = (5 + segment.options.length / 4) << 4;
  header[13] = segment.flags;
  header.writeUInt16BE(segment.window, 14);
  return Buffer.concat([header, segment.options, segment.payload]);
}

function udpBytes(segment: Segment): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(segment.sourcePort, 0);
  header.writeUInt16BE(segment.destinationPort, 2);
  header.writeUInt16BE(8 + segment.payload.length, 4);
  return Buffer.concat([header, segment.payload]);
}

function ipv4Header(
  segment: Segment,
  bytes: number,
  number: number,
  source: Uint8Array,
  destination: Uint8Array,
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header[1] = segment.trafficClass;
  header.writeUInt16BE(20 + bytes, 2);
  header.writeUInt16BE(segment.id, 4);
  header.writeUInt16BE(segment.dontFragment ? 0x4000 : 0, 6);
  header[8] = segment.ttl;
  header[9] = number;
  header.set(source, 12);
  header.set(destination, 16);
  header.writeUInt16BE(~onesSum(header) & 0xffff, 10);
  return header;
}

function ipv6Header(
  segment: Segment,
  bytes: number,
  number: number,
  source: Uint8Array,
  destination: Uint8Array,
): Buffer {
  const header = Buffer.alloc(40);
  header.writeUInt32BE(((0x6 << 28) | (segment.trafficClass << 20) | segment.flowLabel) >>> 0, 0);
  header.writeUInt16BE(bytes, 4);
  header[6] = number;
  header[7] = segment.ttl;
  header.set(source, 8);
  header.set(destination, 24);
  return header;
}

function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::');
}
