/** Coalescing against the oracle, frame by frame: where superpackets begin and end, their headers, their payload. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoalescerHarness } from '../../helpers/coalescer-harness.ts';
import { type BurstPacket, type Frame, flowOf, groOracle } from '../../helpers/gro-oracle.ts';
import { bytesOf, overIpv6 } from '../../helpers/superpackets.ts';
import {
  ACK,
  baseSegment,
  buildPacket,
  CWR,
  cut,
  ECE,
  FIN,
  onesSum,
  PSH,
  RST,
  type Segment,
  SYN,
  URG,
} from '../../helpers/transport-packets.ts';
import { GSO_ECN, TCPV4, UDP_L4 } from '../../helpers/tun-frame.ts';

/** How one packet of a flow differs from what would simply go on. */
interface Step {
  readonly payloadBytes: number;
  readonly change: Partial<Segment>;
  readonly flags: number;
  readonly sequenceGap: number;
  readonly idGap: number;
  readonly damage: Damage;
}

type Damage = (typeof DAMAGES)[number];

const DAMAGES = [
  'none',
  'checksum',
  'ip checksum',
  'no udp checksum',
  'udp length',
  'fragment',
  'ip options',
  'urgent pointer',
  'reserved bits',
  'another protocol',
  'partial differs',
] as const;

/** As given, or once in a while something else. */
function mostly<T>(usual: T, others: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: fc.constant(usual), weight: 24 }, { arbitrary: others, weight: 1 });
}

const changes = fc.oneof(
  fc.record({ ttl: fc.nat(255) }),
  fc.record({ trafficClass: fc.nat(255) }),
  fc.record({ flowLabel: fc.nat(0xfffff) }),
  fc.record({ dontFragment: fc.boolean() }),
  fc.record({ acknowledgment: fc.nat(0xffffffff) }),
  fc.record({ window: fc.nat(0xffff) }),
  fc.record({ options: fc.constantFrom(0, 4, 12, 40).map((bytes) => bytesOf(bytes, 3)) }),
  fc.record({ sourcePort: fc.nat(3) }),
  fc.record({ destination: fc.constantFrom('10.42.1.2', '10.42.1.3') }),
);

const steps = (segmentBytes: number): fc.Arbitrary<Step> =>
  fc.record({
    payloadBytes: mostly(segmentBytes, fc.nat(segmentBytes + 1)),
    change: mostly<Partial<Segment>>({}, changes),
    flags: mostly(0, fc.constantFrom(PSH, FIN, PSH | FIN, SYN, RST, URG, ECE, CWR, CWR | PSH, ECE | CWR)),
    sequenceGap: mostly(0, fc.constantFrom(-1, 1, -1448, 2 ** 31)),
    idGap: mostly(0, fc.constantFrom(-1, 1, 7)),
    damage: mostly<Damage>('none', fc.constantFrom(...DAMAGES)),
  });

const flows = fc
  .record({
    number: fc.nat(3),
    isIpv6: fc.boolean(),
    isUdp: fc.boolean(),
    partial: fc.boolean(),
    dontFragment: fc.boolean(),
    countsIds: fc.boolean(),
    // Mostly of packets that may lead a superpacket.
    flags: fc.oneof(
      { arbitrary: fc.constant(ACK), weight: 4 },
      { arbitrary: fc.constantFrom(ACK | ECE, ACK | CWR, ACK | ECE | CWR, 0), weight: 2 },
      { arbitrary: fc.constantFrom(ACK | URG, ACK | RST, SYN, ACK | PSH, ACK | FIN), weight: 1 },
    ),
    options: fc.constantFrom(0, 12, 20, 40),
    sequence: fc.oneof(fc.nat(0xffffffff), fc.constant(0xffffff00)),
    id: fc.oneof(fc.nat(0xffff), fc.constant(0xfffe)),
    segmentBytes: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 1400 })),
  })
  .chain((shape) =>
    fc
      .array(steps(shape.segmentBytes), { minLength: 1, maxLength: 30 })
      .map((list) => packetsOf(shape, list)),
  );

type FlowShape = {
  readonly number: number;
  readonly isIpv6: boolean;
  readonly isUdp: boolean;
  readonly partial: boolean;
  readonly dontFragment: boolean;
  readonly countsIds: boolean;
  readonly flags: number;
  readonly options: number;
  readonly sequence: number;
  readonly id: number;
};

function packetsOf(shape: FlowShape, list: readonly Step[]): BurstPacket[] {
  const isTcp = !shape.isUdp;
  let sequence = shape.sequence;
  let id = shape.id;
  return list.map(({ payloadBytes, change, flags, sequenceGap, idGap, damage }, i) => {
    sequence = (sequence + sequenceGap) >>> 0;
    id = (id + idGap + (shape.countsIds ? 1 : 0)) & 0xffff;
    const segment: Segment = {
      ...baseSegment,
      source: '10.42.2.2',
      destination: '10.42.1.2',
      protocol: isTcp ? 'tcp' : 'udp',
      sourcePort: shape.number,
      payload: bytesOf(payloadBytes, i),
      dontFragment: shape.dontFragment,
      options: bytesOf(shape.options, 3),
      id,
      sequence,
      ...change,
      // Only the first packet of a flow can carry on CWR: cutting a superpacket puts it there.
      flags: (i === 0 ? shape.flags : shape.flags & ~CWR) | flags,
    };
    sequence = (sequence + payloadBytes) >>> 0;
    const family = shape.isIpv6 ? overIpv6(segment) : segment;
    const partial = damage === 'partial differs' ? !shape.partial : shape.partial;
    return damaged(
      { packet: buildPacket(family, partial ? 'partial' : damage === 'checksum' ? 'bad' : 'full'), partial },
      damage,
    );
  });
}

/** Changes bytes that `buildPacket` has no field for; where that would make no sense, nothing. */
function damaged({ packet, partial }: BurstPacket, damage: Damage): BurstPacket {
  const isIpv4 = packet[0]! >> 4 === 4;
  const transport = isIpv4 ? 20 : 40;
  const isTcp = (isIpv4 ? packet[9] : packet[6]) === 6;
  if (damage === 'ip checksum' && isIpv4) packet[10]! ^= 1;
  if (damage === 'no udp checksum' && !isTcp) packet.writeUInt16BE(0, transport + 6);
  if (damage === 'udp length' && !isTcp)
    packet.writeUInt16BE(packet.readUInt16BE(transport + 4) - 1, transport + 4);
  if (damage === 'urgent pointer' && isTcp && partial) packet.writeUInt16BE(77, transport + 18);
  if (damage === 'reserved bits' && isTcp && partial) packet[transport + 12]! |= 1;
  // A partial checksum is described for plain TCP and UDP alone.
  if (partial) return { packet, partial };
  if (damage === 'fragment' && isIpv4) packet.writeUInt16BE(0x2000, 6);
  if (damage === 'another protocol') packet[isIpv4 ? 9 : 6] = 132;
  if (damage === 'ip options' && isIpv4) packet[0] = 0x46;
  if (damage !== 'ip checksum' && isIpv4) {
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(~onesSum(packet.subarray(0, 4 * (packet[0]! & 15))) & 0xffff, 10);
  }
  return { packet, partial };
}

/** Merges the flows' packets into one burst, keeping the order within each. */
function interleave(all: readonly (readonly BurstPacket[])[], order: Iterator<number>): BurstPacket[] {
  const queues = all.map((packets) => [...packets]);
  const burst: BurstPacket[] = [];
  for (;;) {
    const open = queues.filter((queue) => queue.length > 0);
    if (open.length === 0) return burst;
    const queue = open[order.next().value % open.length]!;
    // Mostly a few of one flow come together.
    burst.push(...queue.splice(0, 1 + (order.next().value % 5)));
  }
}

/** By flow, for the order between flows means nothing; readable when two differ. */
function byFlow(frames: readonly Frame[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const { packet, virtio } of frames) {
    const flow = flowOf({ packet, partial: virtio.needsChecksum });
    found[flow] ??= [];
    found[flow].push(`${JSON.stringify(virtio)} ${packet.toString('hex')}`);
  }
  return found;
}

describe('a coalesced burst', () => {
  it("has exactly the frames that the kernel's GRO would make, byte by byte", () => {
    const harness = new CoalescerHarness();
    let packets = 0;
    let superpackets = 0;
    fc.assert(
      fc.property(
        fc.array(flows, { minLength: 1, maxLength: 5 }),
        fc.infiniteStream(fc.nat(1000)),
        (all, order) => {
          const burst = interleave(all, order);
          const expected = groOracle(burst);
          const before = harness.counters.totals();
          expect(byFlow(harness.burst(burst))).toEqual(byFlow(expected));
          const after = harness.counters.totals();
          expect(after.inboundPackets - before.inboundPackets).toBe(burst.length);
          expect(after.inboundBytes - before.inboundBytes).toBe(
            burst.reduce((sum, { packet }) => sum + packet.length, 0),
          );
          packets += burst.length;
          superpackets += expected.filter(({ virtio }) => virtio.gsoType !== 0).length;
        },
      ),
      { numRuns: 700 },
    );
    // Else the oracle would have been asked about nothing.
    expect(superpackets).toBeGreaterThan(packets / 20);
  });

  it('writes what cannot be told to be of a flow after everything that came before it', () => {
    const harness = new CoalescerHarness();
    const data = cut({ ...baseSegment, payload: bytesOf(3000, 1) }, 1000).map((piece) => buildPacket(piece));
    const other = buildPacket(baseSegment);
    other[9] = 1;
    const burst = [data[0]!, data[1]!, other, data[2]!].map((packet) => ({ packet, partial: false }));
    const frames = harness.burst(burst);
    expect(byFlow(frames)).toEqual(byFlow(groOracle(burst)));
    expect(frames.map(({ packet }) => packet.length)).toEqual([2040, 40, 1040]);
  });

  it.each([
    ['64 segments of UDP', 'udp', 100, [64, 64, 22]],
    ['128 segments of TCP', 'tcp', 100, [128, 22]],
    ['65,535 bytes of UDP', 'udp', 1400, [46, 46, 46, 12]],
    ['65,535 bytes of TCP', 'tcp', 1400, [46, 46, 46, 12]],
  ] as const)('ends a superpacket at %s', (_what, protocol, segmentBytes, sizes) => {
    const whole = { ...baseSegment, protocol, payload: bytesOf(150 * segmentBytes, 1) };
    const burst = cut(whole, segmentBytes).map((piece) => ({ packet: buildPacket(piece), partial: false }));
    const frames = new CoalescerHarness().burst(burst);
    expect(byFlow(frames)).toEqual(byFlow(groOracle(burst)));
    const headerBytes = protocol === 'tcp' ? 40 : 28;
    expect(frames.map(({ packet }) => (packet.length - headerBytes) / segmentBytes)).toEqual(sizes);
    expect(frames[0]!.virtio.gsoType).toBe(protocol === 'tcp' ? TCPV4 : UDP_L4);
  });

  // RFC 3168, section 6.1.2: CWR is on the first packet after the window was reduced.
  it('lets a packet with CWR lead, and marks the superpacket', () => {
    const whole = { ...baseSegment, payload: bytesOf(3000, 1), flags: ACK | CWR | PSH };
    const burst = cut(whole, 1000).map((piece) => ({ packet: buildPacket(piece), partial: false }));
    const frames = new CoalescerHarness().burst(burst);
    expect(byFlow(frames)).toEqual(byFlow(groOracle(burst)));
    expect(frames.map(({ virtio }) => virtio.gsoType)).toEqual([TCPV4 | GSO_ECN]);
    expect(frames[0]!.packet).toEqual(buildPacket(whole, 'partial'));
  });

  it('begins anew at a packet with CWR', () => {
    const pieces = cut({ ...baseSegment, payload: bytesOf(4000, 1) }, 1000);
    const flags = [ACK, ACK, ACK | CWR, ACK];
    const burst = pieces.map((piece, i) => ({
      packet: buildPacket({ ...piece, flags: flags[i]! }),
      partial: false,
    }));
    const frames = new CoalescerHarness().burst(burst);
    expect(byFlow(frames)).toEqual(byFlow(groOracle(burst)));
    expect(frames.map(({ virtio }) => virtio.gsoType)).toEqual([TCPV4, TCPV4 | GSO_ECN]);
  });
});
