import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { addressBytes, parseAddress } from '../../../src/ip/address.ts';
import { EINVAL, EIO, EMSGSIZE } from '../../../src/sys/constants.ts';
import { BulkChecksum } from '../../../src/wire/bulk-checksum.ts';
import { PacketPathHarness, PeerSocket, type SentMessage } from '../../helpers/packet-path.ts';
import { vxlanGpe } from '../../helpers/packets.ts';
import { bytesOf, overIpv6, superpacketSegments, virtioOf } from '../../helpers/superpackets.ts';
import {
  ACK,
  baseSegment,
  buildPacket,
  CWR,
  cut,
  FIN,
  onesSum,
  PSH,
  parsePacket,
  RST,
  type Segment,
  SYN,
  URG,
} from '../../helpers/transport-packets.ts';
import { type Frame, GSO_ECN, TCPV4, TCPV6, UDP_L4 } from '../../helpers/tun-frame.ts';

const PARTIAL = 1;

/** Hundreds of random bursts: about a second on a machine that has nothing else to do. */
const RANDOM = { timeout: 60_000 };

let path: PacketPathHarness;
let peerB: PeerSocket;

/** `flags`: PARTIAL if the peer announced that it takes partial checksums. */
function setUp(flags: number, options: ConstructorParameters<typeof PacketPathHarness>[0] = {}): void {
  path = new PacketPathHarness({ mtu: 9000, ...options });
  peerB = new PeerSocket('127.0.0.2', path.node);
  load(flags);
}

function load(flags = 0): void {
  path.load([{ address: '127.0.0.2', port: peerB.port, flags }], {
    '10.42.1.0/24': 'local',
    'fd42:0:0:1::/64': 'local',
    '10.42.2.0/24': 0,
    'fd42:0:0:2::/64': 0,
  });
}

afterEach(() => {
  path.close();
  peerB.close();
});

describe('outbound superpackets', () => {
  it.each([
    ['a peer that wants whole checksums', 0],
    ['a peer that takes partial ones', PARTIAL],
  ])('to %s are cut as the kernel cuts them', RANDOM, (_what, flags) => {
    setUp(flags);
    fc.assert(
      fc.property(superpacketSegments, fc.integer({ min: 1, max: 8800 }), (segment, anySize) => {
        const gsoBytes = Math.max(anySize, Math.ceil(segment.payload.length / 100));
        path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, gsoBytes) });
        const datagrams = peerB.receiveAll();
        const expected = cut(segment, gsoBytes).map((piece) => expectedDatagram(piece, flags === PARTIAL));
        expect(datagrams.map((one) => one.toString('hex'))).toEqual(
          expected.map((one) => one.toString('hex')),
        );
      }),
      { numRuns: 300 },
    );
    expect(path.drops()).toEqual({});
  });

  function expectedDatagram(piece: Segment, partial: boolean): Buffer {
    if (!partial) return Buffer.from(vxlanGpe(buildPacket(piece)));
    const start = piece.source.includes('.') ? 20 : 40;
    const lastByte = (start >> 1) | (piece.protocol === 'udp' ? 0x80 : 0);
    return Buffer.from(vxlanGpe(buildPacket(piece, 'partial'), { reserved: 0x2000, lastByte }));
  }

  it('completes the partial checksum of a plain packet, or leaves it to a peer that takes it so', () => {
    setUp(0);
    const segment = { ...baseSegment, payload: bytesOf(333) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 0) });
    expect(peerB.receive()?.subarray(8)).toEqual(buildPacket(segment));
    path.close();
    peerB.close();
    setUp(PARTIAL);
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 0) });
    expect(peerB.receive()).toEqual(expectedDatagram(segment, true));
  });

  it('completes what is partial within a tunnel of the pod, and sends the rest as it is', () => {
    setUp(PARTIAL);
    for (const family of [4, 6] as const) {
      const segment = (fields: Partial<Segment>): Segment => {
        const base: Segment = { ...baseSegment, ...fields };
        return family === 4 ? base : overIpv6(base);
      };
      const inner = segment({ payload: bytesOf(333) });
      // An IP header, a UDP header and VXLAN-GPE's, all of them multiples of four bytes.
      const headerBytes = (family === 4 ? 20 : 40) + 8 + 8;
      const virtio = virtioOf(inner, 0);
      const start = headerBytes + virtio.checksumStart;
      // The outer sum is one of the complete packet: the kernel knows it beforehand (local checksum offload).
      const payload = vxlanGpe(buildPacket(inner));
      const complete = buildPacket(segment({ protocol: 'udp', flags: 0, payload }));
      const packet = Buffer.from(complete);
      packet.set(buildPacket(inner, 'partial'), headerBytes);
      path.fromTun({ packet, virtio: { ...virtio, checksumStart: start } });
      expect(peerB.receive()?.toString('hex')).toBe(Buffer.from(vxlanGpe(complete)).toString('hex'));
    }
    expect(path.drops()).toEqual({});
  });

  it('never sends a UDP checksum of zero, which would mean none', () => {
    setUp(0);
    // The payload that makes the sum come out as zero.
    const base = { ...baseSegment, protocol: 'udp' as const, payload: Uint8Array.of(0, 0), flags: 0 };
    const sum = buildPacket(base).readUInt16BE(26);
    const zero = { ...base, payload: Uint8Array.of(sum >> 8, sum & 0xff) };
    path.fromTun({ packet: buildPacket(zero, 'partial'), virtio: virtioOf(zero, 0) });
    expect(peerB.receive()?.readUInt16BE(8 + 26)).toBe(0xffff);
  });

  it('answers a superpacket whose segments are over the path MTU, once', () => {
    setUp(0);
    path.vteps.lowerMtu(0, 1000);
    const segment = { ...baseSegment, payload: bytesOf(20_000) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1400) });
    const replies = path.toPods();
    expect(replies).toHaveLength(1);
    expect(replies[0]?.readUInt16BE(20)).toBe(0x0304);
    expect(replies[0]?.readUInt16BE(26)).toBe(1000);
    expect(peerB.receive()).toBeUndefined();
    expect(path.drops()).toEqual({ 'outbound-too-big': 1 });
  });

  it.each([
    ['a GSO type of the other family', { gsoType: TCPV6 }],
    ['no partial checksum', { needsChecksum: false }],
    ['no segment size', { gsoBytes: 0, gsoType: TCPV4 }],
    ['a transport header that is not there', { checksumStart: 24 }],
    ['a field that is no checksum', { gsoType: UDP_L4 }],
    ['the GSO_ECN bit on a type that is none', { gsoType: 2 | GSO_ECN }],
  ])('drops a superpacket with %s', (_what, change) => {
    setUp(0);
    const segment = { ...baseSegment, payload: bytesOf(5000) };
    path.fromTun({
      packet: buildPacket(segment, 'partial'),
      virtio: { ...virtioOf(segment, 1400), ...change },
    });
    expect(path.drops()).toEqual({ 'outbound-malformed': 1 });
    expect(peerB.receive()).toBeUndefined();
  });

  it.each(['tcp', 'udp'] as const)('drops a %s superpacket of headers alone', (protocol) => {
    setUp(0);
    const empty = { ...baseSegment, protocol, payload: new Uint8Array(0) };
    path.fromTun({ packet: buildPacket(empty, 'partial'), virtio: virtioOf(empty, 1400) });
    expect(path.drops()).toEqual({ 'outbound-malformed': 1 });
    expect(peerB.receive()).toBeUndefined();
  });

  it.each([
    ['whole', 0],
    ['partial', PARTIAL],
  ])(
    'keeps the pseudo-header of the last destination behind a routing header: %s checksums',
    (_what, flags) => {
      setUp(flags);
      // Addressed to the first hop; the pseudo-header has the last one (RFC 8200, section 8.1).
      const route = ['fd42:0:0:2::2', 'fd42:0:0:2::99'] as const;
      const segment = overIpv6({ ...baseSegment, payload: bytesOf(5000), flags: ACK | PSH });
      const packet = routed(buildPacket({ ...segment, destination: route[1] }, 'partial'), route);
      const virtio = { ...virtioOf(segment, 1400), checksumStart: 64, headerBytes: 84 };
      path.fromTun({ packet, virtio });
      const expected = cut({ ...segment, destination: route[1] }, 1400).map((piece) =>
        routed(buildPacket(piece, flags === PARTIAL ? 'partial' : 'full'), route),
      );
      expect(peerB.receiveAll().map((datagram) => datagram.subarray(8).toString('hex'))).toEqual(
        expected.map((one) => one.toString('hex')),
      );
    },
  );

  /** The packet, which is addressed to the last hop, with a segment routing header (RFC 8754) to it over the first. */
  function routed(packet: Buffer, [first, last]: readonly [string, string]): Buffer {
    const header = Buffer.alloc(24);
    header.set([packet[6]!, 2, 4, 1, 0, 0, 0, 0]);
    header.set(addressBytes(parseAddress(last)), 8);
    const whole = Buffer.concat([packet.subarray(0, 40), header, packet.subarray(40)]);
    whole.writeUInt16BE(whole.length - 40, 4);
    whole[6] = 43;
    whole.set(addressBytes(parseAddress(first)), 24);
    return whole;
  }

  it('asks once for the MTU of a path that refuses a superpacket, and sends none of its segments in vain', () => {
    let singles = 0;
    const refuse = ({ segmentBytes, bytes }: SentMessage) => {
      if (segmentBytes > 0) return EINVAL;
      singles++;
      return bytes > 1300 ? EMSGSIZE : 0;
    };
    setUp(0, { underlay: { refuse, linkMtu: () => 1300 + 36 } });
    const segment = { ...baseSegment, payload: bytesOf(30_000) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1400) });
    expect(path.socketCalls.linkMtu).toBe(1);
    // One that finds out, and the last, which is short.
    expect(singles).toBe(2);
    expect(peerB.receiveAll()).toHaveLength(1);
    expect(path.drops()).toEqual({ 'outbound-too-big': 21 });
    expect(path.toPods()).toHaveLength(1);
  });

  describe('when the kernel refuses groups', () => {
    const segment = { ...baseSegment, payload: bytesOf(20_000) };
    const superpacket = () => ({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1400) });

    it('gives up segmentation where the datagrams pass one by one time after time, and loses none', () => {
      let groups = 0;
      const refuse = ({ segmentBytes }: SentMessage) => (segmentBytes > 0 && ++groups ? EINVAL : 0);
      setUp(0, { underlay: { refuse } });
      for (let i = 0; i < 20; i++) {
        path.fromTun(superpacket());
        expect(peerB.receiveAll()).toHaveLength(15);
      }
      expect(path.offloadsOff).toEqual(['udpSegment']);
      expect(groups).toBeLessThan(12);
      expect(path.drops()).toEqual({});
    });

    it('keeps it where the path turns out to be too narrow for them', () => {
      const refuse = ({ segmentBytes, bytes }: SentMessage) =>
        segmentBytes > 1300 ? EINVAL : bytes > 1300 && segmentBytes === 0 ? EMSGSIZE : 0;
      setUp(0, { underlay: { refuse, linkMtu: () => 0 } });
      for (let i = 0; i < 20; i++) {
        path.fromTun(superpacket());
        load();
      }
      expect(path.socketCalls.linkMtu).toBe(20);
      expect(path.offloadsOff).toEqual([]);
    });

    it('keeps it where groups pass in between', () => {
      let groups = 0;
      const refuse = ({ segmentBytes }: SentMessage) => (segmentBytes > 0 && ++groups % 2 ? EINVAL : 0);
      setUp(0, { underlay: { refuse } });
      for (let i = 0; i < 40; i++) path.fromTun(superpacket());
      expect(path.offloadsOff).toEqual([]);
      expect(path.drops()).toEqual({});
    });
  });

  it('goes on datagram by datagram when the kernel cannot segment, and says so once', () => {
    setUp(0, { underlay: { refuse: ({ segmentBytes }) => (segmentBytes > 0 ? EIO : 0) } });
    const segment = { ...baseSegment, payload: bytesOf(20_000) };
    for (let i = 0; i < 2; i++) {
      path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1400) });
      const expected = cut(segment, 1400).map((piece) => Buffer.from(vxlanGpe(buildPacket(piece))));
      expect(peerB.receiveAll()).toEqual(expected);
    }
    expect(path.offloadsOff).toEqual(['udpSegment']);
    expect(path.drops()).toEqual({});
  });
});

describe('inbound coalescing', () => {
  const fromB = (segment: Partial<Segment>): Segment => ({
    ...baseSegment,
    source: '10.42.2.2',
    destination: '10.42.1.2',
    ...segment,
  });

  /** Sends the packets as one UDP_SEGMENT burst where sizes allow it, else one by one; runs the path; reads. */
  function deliver(packets: readonly Uint8Array[], options: { partial?: boolean } = {}) {
    const datagrams = packets.map((packet) => {
      const isIpv4 = packet[0]! >> 4 === 4;
      const isUdp = (isIpv4 ? packet[9] : packet[6]) === 17;
      const lastByte = ((isIpv4 ? 20 : 40) >> 1) | (isUdp ? 0x80 : 0);
      return options.partial ? vxlanGpe(packet, { reserved: 0x2000, lastByte }) : vxlanGpe(packet);
    });
    const sizes = new Set(datagrams.slice(0, -1).map((one) => one.length));
    const isUniform =
      sizes.size <= 1 && datagrams.length > 1 && datagrams.at(-1)!.length <= datagrams[0]!.length;
    const total = datagrams.reduce((sum, one) => sum + one.length, 0);
    if (isUniform && total < 65_000) peerB.sendSegmented(datagrams);
    else for (const datagram of datagrams) peerB.send(datagram);
    const frames: Frame[] = [];
    for (let i = 0; i < packets.length; i++) {
      path.receive();
      frames.push(...path.toTun());
    }
    return frames;
  }

  /** The packets that a frame stands for, checksums completed: what a pod sees. */
  function expand({ packet, virtio }: Frame): Buffer[] {
    if (!virtio.needsChecksum) return [packet];
    const segment = parsePacket(packet);
    const expected = virtioOf(segment, virtio.gsoBytes);
    expect(virtio).toEqual(expected);
    // The checksum's field holds the pseudo-header's sum.
    expect(packet).toEqual(buildPacket(segment, 'partial'));
    if (virtio.gsoType === 0) return [buildPacket(segment)];
    return cut(segment, virtio.gsoBytes).map((piece) => buildPacket(piece));
  }

  beforeEach(() => setUp(PARTIAL));

  it.each([
    ['TCP, IPv4', (one: Segment) => one, TCPV4],
    ['TCP, IPv6', overIpv6, TCPV6],
    ['UDP, IPv4', (one: Segment): Segment => ({ ...one, protocol: 'udp' }), UDP_L4],
    ['UDP, IPv6', (one: Segment): Segment => overIpv6({ ...one, protocol: 'udp' }), UDP_L4],
  ])('makes one superpacket of a run: %s', (_what, shape, gsoType) => {
    const whole = shape(fromB({ payload: bytesOf(40_000), flags: ACK | PSH }));
    for (const partial of [false, true]) {
      const pieces = cut(whole, 1400);
      const frames = deliver(
        pieces.map((piece) => buildPacket(piece, partial ? 'partial' : 'full')),
        { partial },
      );
      expect(frames).toHaveLength(1);
      expect(frames[0]!.virtio).toMatchObject({ gsoType, gsoBytes: 1400 });
      expect(frames.flatMap(expand)).toEqual(
        pieces.map((piece) => buildPacket(parsePacket(buildPacket(piece)))),
      );
    }
  });

  it('keeps the flows of a burst apart and in order', () => {
    const flows = [1, 2, 3].map((n) => cut(fromB({ sourcePort: n, payload: bytesOf(7000, n) }), 1000));
    const mixed = flows[0]!.flatMap((_, i) => flows.map((flow) => flow[i]!));
    const frames = deliver(mixed.map((piece) => buildPacket(piece)));
    expect(frames).toHaveLength(3);
    expect(frames.map(({ packet }) => parsePacket(packet).payload.length)).toEqual([7000, 7000, 7000]);
  });

  it('closes more flows than it can hold, and loses nothing', () => {
    const flows = Array.from({ length: 24 }, (_, n) =>
      cut(fromB({ sourcePort: 100 + n, payload: bytesOf(400, n) }), 200),
    );
    const mixed = [...flows.map((flow) => flow[0]!), ...flows.map((flow) => flow[1]!)];
    const packets = deliver(mixed.map((piece) => buildPacket(piece))).flatMap(expand);
    expect(packets).toHaveLength(48);
  });

  const second = (change: Partial<Segment>): Segment[] => {
    const [first, next] = cut(fromB({ payload: bytesOf(2000) }), 1000);
    return [first!, { ...next!, ...change }];
  };

  // Each difference that the kernel's GRO respects (tcp_gro_receive, inet_gro_receive).
  it.each([
    ['a gap in the sequence', { sequence: 1002 }],
    ['a retransmission', { sequence: 1 }],
    ['another acknowledgment', { acknowledgment: 2 }],
    ['another window', { window: 501 }],
    ['SYN', { flags: ACK | SYN }],
    ['RST', { flags: ACK | RST }],
    ['URG', { flags: ACK | URG }],
    ['CWR', { flags: ACK | CWR }],
    ['ECE', { flags: ACK | 0x40 }],
    ['options', { options: bytesOf(12) }],
    ['another TTL', { ttl: 63 }],
    ['another type of service', { trafficClass: 4 }],
    ['no DF', { dontFragment: false }],
    ['an identification that jumps', { id: 20 }],
    ['a longer payload', { payload: bytesOf(1001) }],
    ['no payload', { payload: new Uint8Array(0) }],
    ['another port', { destinationPort: 2001 }],
    ['another destination', { destination: '10.42.1.3' }],
  ])('does not merge over %s', (_what, change) => {
    const pieces = second(change);
    const frames = deliver(pieces.map((piece) => buildPacket(piece)));
    expect(frames.map(({ packet }) => packet)).toEqual(pieces.map((piece) => buildPacket(piece)));
    expect(frames.every(({ virtio }) => virtio.gsoType === 0)).toBe(true);
  });

  it.each([
    ['another flow label', { flowLabel: 9 }],
    ['another traffic class', { trafficClass: 4 }],
    ['another hop limit', { ttl: 9 }],
  ])('does not merge over %s (IPv6)', (_what, change) => {
    const pieces = second(change).map((one, i) =>
      i === 0 ? overIpv6(one) : { ...overIpv6(one), ...change },
    );
    expect(deliver(pieces.map((piece) => buildPacket(piece)))).toHaveLength(2);
  });

  it.each([
    ['IPv4', (one: Segment) => one, TCPV4 | GSO_ECN],
    ['IPv6', overIpv6, TCPV6 | GSO_ECN],
  ])('merges behind a first segment with CWR, and says so (RFC 3168): %s', (_what, shape, gsoType) => {
    const whole = shape(fromB({ payload: bytesOf(5000), flags: ACK | CWR | PSH }));
    for (const partial of [false, true]) {
      const pieces = cut(whole, 1000).map((piece) => buildPacket(piece, partial ? 'partial' : 'full'));
      const frames = deliver(pieces, { partial });
      expect(frames.map(({ virtio }) => virtio.gsoType)).toEqual([gsoType]);
      expect(frames.flatMap(expand)).toEqual(cut(whole, 1000).map((piece) => buildPacket(piece)));
    }
  });

  it('merges no run in which all have CWR, as Accurate ECN sends them (RFC 9768)', () => {
    const pieces = cut(fromB({ payload: bytesOf(3000) }), 1000).map((piece) =>
      buildPacket({ ...piece, flags: ACK | CWR }),
    );
    expect(deliver(pieces).map(({ packet }) => packet)).toEqual(pieces);
  });

  it('merges DF packets whose identification stays the same, as the kernel does', () => {
    const pieces = cut(fromB({ payload: bytesOf(3000), id: 0 }), 1000).map((piece) => ({ ...piece, id: 0 }));
    expect(deliver(pieces.map((piece) => buildPacket(piece)))).toHaveLength(1);
  });

  it('ends a superpacket at PSH and at a short segment', () => {
    const [a, b, c, d] = cut(fromB({ payload: bytesOf(4000) }), 1000) as [Segment, Segment, Segment, Segment];
    const frames = deliver([a, { ...b, flags: ACK | PSH }, c, d].map((piece) => buildPacket(piece)));
    expect(frames.map(({ packet }) => parsePacket(packet).payload.length)).toEqual([2000, 2000]);
    expect(parsePacket(frames[0]!.packet).flags).toBe(ACK | PSH);
    const short = cut(fromB({ payload: bytesOf(1500) }), 1000);
    const after = fromB({ payload: bytesOf(1000), sequence: 1501, id: 9 });
    expect(deliver([...short, after].map((piece) => buildPacket(piece)))).toHaveLength(2);
  });

  it('writes a packet with a bad checksum alone and as it came', () => {
    for (const position of [0, 1, 2]) {
      const pieces = cut(fromB({ payload: bytesOf(3000) }), 1000);
      const packets = pieces.map((piece, i) => buildPacket(piece, i === position ? 'bad' : 'full'));
      const bad = deliver(packets).find(({ packet }) => packet.equals(packets[position]!));
      expect(bad?.virtio).toMatchObject({ needsChecksum: false, gsoType: 0 });
    }
  });

  it('adds up the payload of a packet that cannot join once', () => {
    const pieces = cut(fromB({ payload: bytesOf(3000) }), 1000);
    const packets = pieces.map((piece, i) => buildPacket(piece, i === 2 ? 'bad' : 'full'));
    const sum = vi.spyOn(BulkChecksum.prototype, 'sum');
    // Without SIMD it is added up in JavaScript, where calls can be counted.
    const validate = vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    try {
      path.close();
      peerB.close();
      setUp(PARTIAL);
      expect(deliver(packets)).toHaveLength(2);
      expect(sum).toHaveBeenCalledTimes(3);
    } finally {
      sum.mockRestore();
      validate.mockRestore();
    }
  });

  it('lets packets of a protocol that is not merged pass by the flows of the other', () => {
    path.close();
    peerB.close();
    setUp(PARTIAL, { coalesceTcp: false });
    const tcp = cut(fromB({ payload: bytesOf(3000) }), 1000).map((piece) => buildPacket(piece));
    const udp = cut(fromB({ protocol: 'udp', payload: bytesOf(3000) }), 1000).map((piece) =>
      buildPacket(piece),
    );
    const mixed = tcp.flatMap((packet, i) => [udp[i]!, packet]);
    for (const packet of mixed) peerB.send(vxlanGpe(packet));
    path.receive();
    const frames = path.toTun();
    expect(frames.map(({ virtio }) => virtio.gsoType)).toEqual([0, 0, 0, UDP_L4]);
    expect(frames.slice(0, 3).map(({ packet }) => packet)).toEqual(tcp);
  });

  it('passes UDP without a checksum on alone (RFC 768)', () => {
    const pieces = cut(fromB({ protocol: 'udp', payload: bytesOf(2000) }), 1000).map((piece) =>
      buildPacket(piece),
    );
    for (const packet of pieces) packet.writeUInt16BE(0, 26);
    expect(deliver(pieces).map(({ packet }) => packet)).toEqual(pieces);
  });

  it('passes fragments and other protocols on in order', () => {
    const data = cut(fromB({ payload: bytesOf(2000) }), 1000).map((piece) => buildPacket(piece));
    const fragment = buildPacket(fromB({ protocol: 'udp', payload: bytesOf(100), dontFragment: false }));
    fragment.writeUInt16BE(0x2000, 6);
    fragment.writeUInt16BE(
      ~onesSum(Buffer.concat([fragment.subarray(0, 10), Buffer.alloc(2), fragment.subarray(12, 20)])) &
        0xffff,
      10,
    );
    const frames = deliver([data[0]!, fragment, data[1]!]);
    expect(frames.map(({ packet }) => packet)).toEqual([data[0], fragment, data[1]]);
  });

  it('gives every pod exactly its packets, whatever comes mixed with what', RANDOM, () => {
    const change = fc.constantFrom<Partial<Segment>>(
      {},
      {},
      {},
      {},
      { ttl: 9 },
      { window: 3 },
      { flags: ACK | PSH },
      { flags: ACK | FIN },
      { flags: ACK | SYN },
      { id: 77 },
      { acknowledgment: 9 },
      { options: bytesOf(8) },
      { dontFragment: false },
      { sequence: 5 },
    );
    const flow = fc.record({
      port: fc.nat(3),
      isIpv6: fc.boolean(),
      isUdp: fc.boolean(),
      bytes: fc.integer({ min: 1, max: 3000 }),
      segmentBytes: fc.integer({ min: 40, max: 1400 }),
      changes: fc.array(change, { minLength: 12, maxLength: 12 }),
      bad: fc.option(fc.nat(11), { nil: -1, freq: 6 }),
      sequence: fc.nat(0xffffffff),
      id: fc.nat(0xffff),
    });
    fc.assert(
      fc.property(
        fc.array(flow, { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.nat(100)),
        fc.boolean(),
        (flows, order, partial) => {
          const queues = flows.map(
            ({ port, isIpv6, isUdp, bytes, segmentBytes, changes, bad, sequence, id }) => {
              const whole = fromB({
                protocol: isUdp ? 'udp' : 'tcp',
                sourcePort: 1000 + port,
                payload: bytesOf(bytes, port),
                sequence,
                id,
              });
              return cut(whole, Math.max(segmentBytes, Math.ceil(bytes / 12))).map((piece, i) => {
                const changed = { ...piece, ...changes[i] };
                return buildPacket(
                  isIpv6 ? overIpv6(changed) : changed,
                  partial ? 'partial' : i === bad ? 'bad' : 'full',
                );
              });
            },
          );
          const sent: Buffer[] = [];
          while (queues.some((queue) => queue.length > 0)) {
            const open = queues.filter((queue) => queue.length > 0);
            sent.push(open[order.next().value % open.length]!.shift()!);
          }
          const seen = deliver(sent, { partial }).flatMap(expand);
          const complete = partial ? sent.map((packet) => buildPacket(parsePacket(packet))) : sent;
          const byFlow = (packets: readonly Buffer[]) => {
            const flowsSeen = new Map<string, string[]>();
            for (const packet of packets) {
              const { source, destination, protocol, sourcePort } = parsePacket(packet);
              const key = `${source} ${destination} ${protocol} ${sourcePort}`;
              flowsSeen.set(key, [...(flowsSeen.get(key) ?? []), comparable(packet)]);
            }
            return Object.fromEntries(flowsSeen);
          };
          expect(byFlow(seen)).toEqual(byFlow(complete));
        },
      ),
      { numRuns: 300 },
    );
    expect(path.drops()).toEqual({});
  });

  /**
   * Identifications of DF packets mean nothing (RFC 6864, section 4), and two alike are merged: leave them and
   * the header checksum out of the comparison.
   */
  function comparable(packet: Buffer): string {
    if (packet[0]! >> 4 !== 4 || !parsePacket(packet).dontFragment) return packet.toString('hex');
    const copy = Buffer.from(packet);
    copy.fill(0, 4, 6);
    copy.fill(0, 10, 12);
    return copy.toString('hex');
  }

  it('goes on packet by packet when the kernel takes no superpackets, and says so once a protocol', () => {
    path.close();
    peerB.close();
    setUp(PARTIAL, { refuseWrite: (packets) => (packets > 1 ? EINVAL : 0) });
    for (const protocol of ['tcp', 'udp'] as const) {
      const pieces = cut(fromB({ protocol, payload: bytesOf(5000), flags: ACK | PSH }), 1000).map((piece) =>
        buildPacket(piece),
      );
      for (let i = 0; i < 2; i++) expect(deliver(pieces).map(({ packet }) => packet)).toEqual(pieces);
    }
    expect(path.offloadsOff).toEqual(['tcp', 'udp']);
    expect(path.drops()).toEqual({});
  });

  it('refuses a partial checksum from a peer that did not announce it, and one that does not fit', () => {
    const packet = buildPacket(fromB({ payload: bytesOf(100) }), 'partial');
    for (const lastByte of [0, 0x0b, 0x8a, 0x7f])
      peerB.send(vxlanGpe(packet, { reserved: 0x2000, lastByte }));
    path.receive();
    expect(path.drops()).toEqual({ 'inbound-bad-header': 4 });
    path.close();
    peerB.close();
    setUp(0);
    peerB.send(vxlanGpe(packet, { reserved: 0x2000, lastByte: 0x0a }));
    path.receive();
    expect(path.drops()).toEqual({ 'inbound-bad-header': 1 });
    expect(path.toPods()).toEqual([]);
  });
});
