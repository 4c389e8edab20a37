/** Superpackets as a TUN hands them over, for tests of both directions. */
import fc from 'fast-check';
import { ACK, baseSegment, buildPacket, CWR, ECE, FIN, PSH, type Segment } from './transport-packets.ts';
import { type Frame, GSO_ECN, TCPV4, TCPV6, UDP_L4, type VirtioHeader } from './tun-frame.ts';

/** Knuth's multiplicative hash of the position. */
const PATTERN = Uint8Array.from({ length: 1 << 18 }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24);

/** `count` bytes that do not repeat themselves; `seed`: 0 to 255. */
export function bytesOf(count: number, seed = 1): Uint8Array {
  return PATTERN.slice(seed, seed + count);
}

/** The same segment over IPv6: 10.42.1.2 becomes fd42:0:0:1::2. */
export function overIpv6(segment: Segment): Segment {
  const address = (text: string) => text.replace(/^10\.42\.(\d+)\.(\d+)$/, 'fd42:0:0:$1::$2');
  return {
    ...segment,
    source: address(segment.source),
    destination: address(segment.destination),
    id: 0,
    dontFragment: true,
  };
}

/** The virtio header of a packet with a partial checksum; `gsoBytes` 0: it is no superpacket. */
export function virtioOf(segment: Segment, gsoBytes: number): VirtioHeader {
  const isIpv4 = segment.source.includes('.');
  const isUdp = segment.protocol === 'udp';
  const ecn = (segment.flags & CWR) !== 0 ? GSO_ECN : 0;
  return {
    needsChecksum: true,
    gsoType: gsoBytes === 0 ? 0 : isUdp ? UDP_L4 : (isIpv4 ? TCPV4 : TCPV6) | ecn,
    headerBytes: gsoBytes === 0 ? 0 : buildPacket({ ...segment, payload: new Uint8Array(0) }).length,
    gsoBytes,
    checksumStart: isIpv4 ? 20 : 40,
    checksumOffset: isUdp ? 6 : 16,
  };
}

/** What the TUN hands over for `segment`, cut or not. */
export function superpacket(segment: Segment, gsoBytes: number): Frame {
  return { packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, gsoBytes) };
}

/** TCP or UDP, either family, any flags that a superpacket can have, options or none. */
export const superpacketSegments: fc.Arbitrary<Segment> = fc
  .record({
    isIpv6: fc.boolean(),
    isUdp: fc.boolean(),
    payloadBytes: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 60_000 })),
    seed: fc.nat(255),
    id: fc.nat(0xffff),
    dontFragment: fc.boolean(),
    ttl: fc.integer({ min: 1, max: 255 }),
    trafficClass: fc.nat(255),
    flowLabel: fc.nat(0xfffff),
    sequence: fc.nat(0xffffffff),
    acknowledgment: fc.nat(0xffffffff),
    flags: fc.constantFrom(
      ...[ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN],
      ...[ACK | ECE, ACK | CWR, ACK | CWR | PSH, ACK | CWR | ECE | FIN],
    ),
    window: fc.nat(0xffff),
    options: fc.constantFrom(0, 12, 20, 40),
  })
  .map(({ isIpv6, isUdp, payloadBytes, seed, options, ...fields }) => {
    const isTcp = !isUdp;
    const segment: Segment = {
      ...baseSegment,
      ...fields,
      protocol: isUdp ? 'udp' : 'tcp',
      payload: bytesOf(payloadBytes, seed),
      flowLabel: isIpv6 ? fields.flowLabel : 0,
      sequence: isTcp ? fields.sequence : 0,
      acknowledgment: isTcp ? fields.acknowledgment : 0,
      flags: isTcp ? fields.flags : 0,
      window: isTcp ? fields.window : 0,
      options: isTcp ? bytesOf(options, seed) : new Uint8Array(0),
    };
    return isIpv6 ? overIpv6(segment) : segment;
  });
