/**
 * What the kernel's GRO makes of a burst of packets, written the slow and obvious way: a list of flows that are held,
 * and for each packet the questions of tcp_gro_receive, udp_gro_receive_segment, inet_gro_receive and
 * ipv6_gro_receive in words. It shares no code with src/datapath/coalesce.ts.
 *
 * Where warren means to differ from the kernel, so does this:
 *
 *   - a packet that cannot be held or merged is written after what its flow holds, never before; one of which the flow
 *     cannot be told (a fragment, another protocol) after what all flows hold
 *   - IPv6 packets of two flow labels are of one flow, and not merged
 *   - UDP packets with DF may have any identification (RFC 6864, section 4)
 *   - packets with a partial checksum and such with a complete one are not merged with each other
 *   - a TCP superpacket has at most 128 segments
 */

import { CWR, FIN, onesSum, PSH, RST, SYN, URG } from './transport-packets.ts';
import { type Frame, GSO_ECN, PLAIN, TCPV4, TCPV6, UDP_L4, type VirtioHeader } from './tun-frame.ts';

export type { Frame } from './tun-frame.ts';

export interface BurstPacket {
  readonly packet: Buffer;
  /** Its TCP or UDP checksum is the pseudo-header's sum alone. */
  readonly partial: boolean;
}

const MAX_UDP_SEGMENTS = 64;
const MAX_TCP_SEGMENTS = 128;
const MAX_BYTES = 65_535;

/** A TCP or UDP packet that is no fragment. */
interface Parsed extends BurstPacket {
  readonly isIpv4: boolean;
  readonly isTcp: boolean;
  readonly flow: string;
  readonly transport: number;
  readonly headerBytes: number;
  readonly payload: Buffer;
}

interface Held {
  readonly head: Parsed;
  readonly members: Parsed[];
}

/** The frames for one burst, in the order in which flows are ended; those of one flow are in order. */
export function groOracle(burst: readonly BurstPacket[]): Frame[] {
  const frames: Frame[] = [];
  const held = new Map<string, Held>();
  const end = (flow: string): void => {
    const ended = held.get(flow);
    if (ended !== undefined) frames.push(frameOf(ended));
    held.delete(flow);
  };
  for (const each of burst) {
    const packet = parse(each);
    if (packet === undefined) {
      for (const flow of [...held.keys()]) end(flow);
      frames.push({ packet: each.packet, virtio: aloneVirtio(each) });
      continue;
    }
    const open = held.get(packet.flow);
    if (open !== undefined && canJoin(packet, open)) {
      open.members.push(packet);
      if (endsSuperpacket(packet, open.head)) end(packet.flow);
      continue;
    }
    end(packet.flow);
    if (canLead(packet)) held.set(packet.flow, { head: packet, members: [packet] });
    else frames.push({ packet: each.packet, virtio: aloneVirtio(each) });
  }
  for (const flow of [...held.keys()]) end(flow);
  return frames;
}

/** Which flow a packet belongs to, as both ends of it would say; the packet itself where that cannot be told. */
export function flowOf(each: BurstPacket): string {
  return parse(each)?.flow ?? each.packet.toString('hex');
}

function parse(each: BurstPacket): Parsed | undefined {
  const { packet } = each;
  const isIpv4 = packet[0]! >> 4 === 4;
  // Options, fragments: not looked into.
  if (isIpv4 && (packet[0] !== 0x45 || (packet.readUInt16BE(6) & 0xbfff) !== 0)) return undefined;
  const transport = isIpv4 ? 20 : 40;
  const protocol = isIpv4 ? packet[9] : packet[6];
  const room = packet.length - transport;
  if (protocol !== 6 && protocol !== 17) return undefined;
  if (room < (protocol === 6 ? 20 : 8)) return undefined;
  const transportBytes = protocol === 6 ? (packet[transport + 12]! >> 4) * 4 : 8;
  if (transportBytes > room || (protocol === 6 && transportBytes < 20)) return undefined;
  const addresses = isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40);
  const ports = packet.subarray(transport, transport + 4);
  return {
    ...each,
    isIpv4,
    isTcp: protocol === 6,
    flow: `${protocol} ${addresses.toString('hex')} ${ports.toString('hex')}`,
    transport,
    headerBytes: transport + transportBytes,
    payload: packet.subarray(transport + transportBytes),
  };
}

function canLead(one: Parsed): boolean {
  if (!isWhole(one)) return false;
  // One that ends a superpacket, or that needs to be seen at once, is not held.
  return !one.isTcp || (flagsOf(one) & (FIN | PSH | SYN | RST | URG)) === 0;
}

function canJoin(one: Parsed, { head, members }: Held): boolean {
  if (!isWhole(one) || one.partial !== head.partial) return false;
  if (!hasGoodChecksum(one) || !hasGoodChecksum(head)) return false;
  if (one.payload.length > head.payload.length) return false;
  if (fixedHeaders(one) !== fixedHeaders(head)) return false;
  if (one.isIpv4 && !identificationFollows(one, members)) return false;
  const payloadBytes = members.reduce((sum, { payload }) => sum + payload.length, 0);
  if (head.headerBytes + payloadBytes + one.payload.length > MAX_BYTES) return false;
  if (!one.isTcp) return members.length < MAX_UDP_SEGMENTS;
  // CWR says that the sender has just reduced its window: it may begin a superpacket, never be inside of one.
  if ((flagsOf(one) & CWR) !== 0) return false;
  return sequenceOf(one) === (sequenceOf(head) + payloadBytes) >>> 0 && members.length < MAX_TCP_SEGMENTS;
}

function endsSuperpacket(one: Parsed, head: Parsed): boolean {
  if (one.payload.length < head.payload.length) return true;
  return one.isTcp && (flagsOf(one) & (FIN | PSH)) !== 0;
}

/** Has data, a good IP header, and is UDP with a checksum and a true length, or TCP. */
function isWhole(one: Parsed): boolean {
  const { packet, transport } = one;
  if (one.payload.length === 0) return false;
  if (one.isIpv4 && onesSum(packet.subarray(0, 20)) !== 0xffff) return false;
  if (one.isTcp) return true;
  return (
    packet.readUInt16BE(transport + 4) === packet.length - transport &&
    packet.readUInt16BE(transport + 6) !== 0
  );
}

function hasGoodChecksum(one: Parsed): boolean {
  if (one.partial) return true;
  return (
    onesSum(Buffer.concat([pseudoHeader(one, one.packet), one.packet.subarray(one.transport)])) === 0xffff
  );
}

/** The headers with nothing left in them but what must be the same in all packets of a superpacket. */
function fixedHeaders({ packet, headerBytes, transport, isIpv4, isTcp }: Parsed): string {
  const headers = Buffer.from(packet.subarray(0, headerBytes));
  if (isIpv4) {
    headers.fill(0, 2, 6); // total length, identification
    headers.fill(0, 10, 12); // header checksum
  } else {
    headers.fill(0, 4, 6); // payload length
  }
  if (isTcp) {
    headers.fill(0, transport + 4, transport + 8); // sequence number
    headers[transport + 13]! &= ~(FIN | PSH | CWR);
    headers.fill(0, transport + 16, transport + 20); // checksum, urgent pointer
  } else {
    headers.fill(0, transport + 4, transport + 8); // length, checksum
  }
  return headers.toString('hex');
}

function identificationFollows(one: Parsed, members: readonly Parsed[]): boolean {
  const idOf = ({ packet }: Parsed) => packet.readUInt16BE(4);
  const dontFragment = (one.packet.readUInt16BE(6) & 0x4000) !== 0;
  if (!one.isTcp && dontFragment) return true;
  const ids = [...members, one].map(idOf);
  const isCounting = ids.every((id, i) => id === ((ids[0]! + i) & 0xffff));
  const isFixed = ids.every((id) => id === ids[0]);
  return isCounting || (dontFragment && isFixed);
}

function flagsOf({ packet, transport }: Parsed): number {
  return packet[transport + 13]!;
}

function sequenceOf({ packet, transport }: Parsed): number {
  return packet.readUInt32BE(transport + 4);
}

/** RFC 9293, section 3.1, and RFC 8200, section 8.1: addresses, protocol and length of what `packet` carries. */
function pseudoHeader({ isIpv4, isTcp, transport }: Parsed, packet: Buffer): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(packet.length - transport, 0);
  tail.writeUInt32BE(isTcp ? 6 : 17, 4);
  return Buffer.concat([isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40), tail]);
}

/** One packet is written as it came; more become the head with all their payloads, and a partial checksum. */
function frameOf({ head, members }: Held): Frame {
  if (members.length === 1) return { packet: head.packet, virtio: aloneVirtio(head) };
  const { transport, headerBytes, isIpv4, isTcp } = head;
  const packet = Buffer.concat([
    head.packet.subarray(0, headerBytes),
    ...members.map(({ payload }) => payload),
  ]);
  if (isIpv4) {
    packet.writeUInt16BE(packet.length, 2);
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(~onesSum(packet.subarray(0, 20)) & 0xffff, 10);
  } else {
    packet.writeUInt16BE(packet.length - 40, 4);
  }
  if (isTcp) packet[transport + 13]! |= flagsOf(members.at(-1)!) & (FIN | PSH);
  else packet.writeUInt16BE(packet.length - transport, transport + 4);
  packet.writeUInt16BE(onesSum(pseudoHeader(head, packet)), transport + (isTcp ? 16 : 6));
  const ecn = isTcp && (flagsOf(head) & CWR) !== 0 ? GSO_ECN : 0;
  const virtio = {
    ...partialVirtio(head),
    gsoType: (isTcp ? (isIpv4 ? TCPV4 : TCPV6) : UDP_L4) | ecn,
    headerBytes,
    gsoBytes: head.payload.length,
  };
  return { packet, virtio };
}

function aloneVirtio(each: BurstPacket): VirtioHeader {
  if (!each.partial) return PLAIN;
  const isIpv4 = each.packet[0]! >> 4 === 4;
  const isTcp = (isIpv4 ? each.packet[9] : each.packet[6]) === 6;
  return partialVirtio({ transport: isIpv4 ? 20 : 40, isTcp });
}

function partialVirtio({ transport, isTcp }: { transport: number; isTcp: boolean }): VirtioHeader {
  return { ...PLAIN, needsChecksum: true, checksumStart: transport, checksumOffset: isTcp ? 16 : 6 };
}
