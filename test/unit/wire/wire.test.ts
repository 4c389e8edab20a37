import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum, checksumAdd, checksumFinish } from '../../../src/wire/checksum.ts';
import { writeIcmpError, writeIcmpv6Error } from '../../../src/wire/icmp.ts';
import {
  IPV4_CHECKSUM,
  IPV4_FRAGMENT,
  IPV4_ID,
  IPV4_PROTOCOL,
  IPV4_TTL,
  ipVersion,
  ipv4Destination,
  ipv4HeaderBytes,
  ipv4IsUnicast,
  ipv4PacketLength,
  ipv4Source,
} from '../../../src/wire/ipv4.ts';
import {
  IPV6_DESTINATION,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  ipv6IsRoutable,
  ipv6PacketLength,
} from '../../../src/wire/ipv6.ts';
import {
  VIRTIO_GSO_ECN,
  VIRTIO_GSO_NONE,
  VIRTIO_GSO_TCPV4,
  VIRTIO_GSO_TCPV6,
  VIRTIO_GSO_UDP_L4,
  VIRTIO_NET_HEADER_BYTES,
  virtioChecksumOffset,
  virtioChecksumStart,
  virtioGsoBytes,
  virtioGsoType,
  virtioNeedsChecksum,
  writePlainVirtioHeader,
  writeVirtioHeader,
} from '../../../src/wire/virtio-net.ts';
import {
  CHECKSUM_OFFLOAD_FLAG,
  CHECKSUM_OFFLOAD_MAX_START,
  checksumOffloadByte,
  checksumOffloadIsUdp,
  checksumOffloadStart,
  FIRST_WORD_IPV4,
  FIRST_WORD_IPV6,
  vniWord,
  vxlanGpeFirstWord,
  vxlanGpeFlagsAreValid,
  vxlanGpeSecondWord,
  writeVxlanGpe,
} from '../../../src/wire/vxlan-gpe.ts';
import { baseSegment, buildPacket, onesSum } from '../../helpers/transport-packets.ts';

function fromHex(hex: string): DataView {
  const bytes = Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
  return new DataView(bytes.buffer);
}

function toHex(view: DataView, offset: number, bytes: number): string {
  return Buffer.from(view.buffer, offset, bytes).toString('hex');
}

describe('VXLAN-GPE', () => {
  it.each([
    ['IPv4', FIRST_WORD_IPV4, 0, '0c00000100002a00'],
    ['IPv6', FIRST_WORD_IPV6, 0, '0c00000200002a00'],
    // Flag C; the last byte: half the offset of the transport header, the top bit for UDP.
    ['IPv4, partial TCP checksum', FIRST_WORD_IPV4 | CHECKSUM_OFFLOAD_FLAG, 20, '0c20000100002a0a'],
    ['IPv6, partial UDP checksum', FIRST_WORD_IPV6 | CHECKSUM_OFFLOAD_FLAG, 40, '0c20000200002a94'],
  ])(
    '%s and VNI 42: the bytes that the Linux kernel writes (remcsumtx for the partial ones)',
    (what, firstWord, transport, golden) => {
      const isUdp = what.includes('UDP');
      const lastByte = transport === 0 ? 0 : checksumOffloadByte(transport, isUdp);
      const view = new DataView(new ArrayBuffer(8));
      writeVxlanGpe(view, 0, firstWord, vniWord(42) | lastByte);
      expect(toHex(view, 0, 8)).toBe(golden);
      const read = fromHex(golden);
      expect(vxlanGpeFirstWord(read, 0) & ~CHECKSUM_OFFLOAD_FLAG).toBe(
        what.startsWith('IPv4') ? FIRST_WORD_IPV4 : FIRST_WORD_IPV6,
      );
      expect(checksumOffloadStart(vxlanGpeSecondWord(read, 0))).toBe(transport);
      expect(checksumOffloadIsUdp(vxlanGpeSecondWord(read, 0))).toBe(isUdp);
      expect(vxlanGpeSecondWord(read, 0) & ~0xff).toBe(vniWord(42));
    },
  );

  it('describes every transport offset that the last byte can', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: CHECKSUM_OFFLOAD_MAX_START / 2 }),
        fc.boolean(),
        (half, isUdp) => {
          const word = vniWord(42) | checksumOffloadByte(2 * half, isUdp);
          expect([checksumOffloadStart(word), checksumOffloadIsUdp(word)]).toEqual([2 * half, isUdp]);
        },
      ),
    );
  });

  it('round-trips every VNI and both next protocols', () => {
    fc.assert(
      fc.property(fc.nat(0xffffff), fc.constantFrom(FIRST_WORD_IPV4, FIRST_WORD_IPV6), (vni, firstWord) => {
        const view = new DataView(new ArrayBuffer(12));
        writeVxlanGpe(view, 4, firstWord, vniWord(vni));
        expect(vxlanGpeFirstWord(view, 4)).toBe(firstWord);
        expect(vxlanGpeSecondWord(view, 4)).toBe(vniWord(vni));
        expect(view.getUint32(8) >>> 8).toBe(vni);
        expect(vxlanGpeFlagsAreValid(firstWord)).toBe(true);
      }),
    );
  });

  it('refuses each flag or reserved bit that is not I or P, and a missing I or P', () => {
    for (let bit = 8; bit < 32; bit++) {
      expect(vxlanGpeFlagsAreValid(FIRST_WORD_IPV4 ^ (1 << bit)), `bit ${bit} flipped`).toBe(false);
    }
  });
});

describe('Internet checksum', () => {
  it('gives the sum of the example in RFC 1071, section 3', () => {
    expect(checksum(fromHex('0001 f203 f4f5 f6f7'), 0, 8)).toBe(~0xddf2 & 0xffff);
  });

  it('is zero over data that carries its own checksum, of any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 3000 }), (data) => {
        const padded = new Uint8Array(2 + data.length + (data.length & 1));
        padded.set(data, 2);
        const view = new DataView(padded.buffer);
        view.setUint16(0, checksum(view, 0, padded.length));
        expect(checksum(view, 0, padded.length)).toBe(0);
      }),
    );
  });

  it('folds sums beyond 32 bits', () => {
    expect(checksumFinish(0xffff * 0x20000)).toBe(0);
    expect(checksumFinish(checksumAdd(0xffff * 0x20000, fromHex('0001'), 0, 2))).toBe(0xfffe);
  });
});

describe('IPv4', () => {
  const header = '45000054 12344000 4001 0000 0a2a0102 0a2a0203'.concat('00'.repeat(64));

  it('reads a header', () => {
    const view = fromHex(header);
    expect(ipv4PacketLength(view, 0, 84)).toBe(84);
    expect(ipv4Source(view, 0) >>> 0).toBe(0x0a2a0102);
    expect(ipv4Destination(view, 0) >>> 0).toBe(0x0a2a0203);
  });

  it('tells the total length where more bytes follow, and refuses where fewer are there', () => {
    expect(ipv4PacketLength(fromHex(`${header}0000`), 0, 86)).toBe(84);
    for (let available = 0; available < 84; available++)
      expect(ipv4PacketLength(fromHex(header), 0, available)).toBe(0);
  });

  it('refuses a header length under 20 bytes or over the packet', () => {
    expect(ipv4PacketLength(fromHex(header.replace('45', '44')), 0, 84)).toBe(0);
    const short = fromHex(header.replace('45000054', '4f000028'));
    expect(ipv4PacketLength(short, 0, 84)).toBe(0);
  });

  it.each([
    [0x0a2a0001, true],
    [0xdfffffff, true],
    [0xe0000001, false],
    [0xffffffff, false],
    [0x00000001, false],
  ])('unicast %i: %s', (address, unicast) => expect(ipv4IsUnicast(address | 0)).toBe(unicast));
});

// Addresses as the accessors give them, and as `buildPacket` takes them.
const ipv4Words = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const ipv4Text = (word: number) => [24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff).join('.');
const groups = fc.array(fc.nat(0xffff), { minLength: 8, maxLength: 8 });
const ipv6Text = (parts: readonly number[]) => parts.map((part) => part.toString(16)).join(':');
const ipv6Hex = (parts: readonly number[]) =>
  parts.map((part) => part.toString(16).padStart(4, '0')).join('');
const viewOf = (packet: Buffer) =>
  new DataView(packet.buffer as ArrayBuffer, packet.byteOffset, packet.byteLength);

describe('header accessors', () => {
  const fields = fc.record({
    id: fc.nat(0xffff),
    dontFragment: fc.boolean(),
    ttl: fc.nat(255),
    trafficClass: fc.nat(255),
    flowLabel: fc.nat(0xfffff),
    payload: fc.uint8Array({ maxLength: 200 }),
    protocol: fc.constantFrom('tcp' as const, 'udp' as const),
  });

  it('read back what an IPv4 header was built from', () => {
    fc.assert(
      fc.property(fields, ipv4Words, ipv4Words, fc.nat(20), (segment, source, destination, behind) => {
        const packet = buildPacket({
          ...baseSegment,
          ...segment,
          source: ipv4Text(source),
          destination: ipv4Text(destination),
        });
        const view = viewOf(Buffer.concat([packet, Buffer.alloc(behind, 0xff)]));
        expect(ipVersion(view, 0)).toBe(4);
        expect(ipv4HeaderBytes(view, 0)).toBe(20);
        expect(ipv4PacketLength(view, 0, packet.length + behind)).toBe(packet.length);
        expect([ipv4Source(view, 0), ipv4Destination(view, 0)]).toEqual([source, destination]);
        expect(view.getUint16(IPV4_ID)).toBe(segment.id);
        expect(view.getUint16(IPV4_FRAGMENT)).toBe(segment.dontFragment ? 0x4000 : 0);
        expect(view.getUint8(IPV4_TTL)).toBe(segment.ttl);
        expect(view.getUint8(IPV4_PROTOCOL)).toBe(segment.protocol === 'tcp' ? 6 : 17);
        expect(checksum(view, 0, 20)).toBe(0);
        view.setUint16(IPV4_CHECKSUM, 0);
        expect(checksum(view, 0, 20)).toBe(packet.readUInt16BE(10));
      }),
    );
  });

  it('read back what an IPv6 header was built from', () => {
    fc.assert(
      fc.property(fields, groups, groups, fc.nat(20), (segment, source, destination, behind) => {
        const packet = buildPacket({
          ...baseSegment,
          ...segment,
          source: ipv6Text(source),
          destination: ipv6Text(destination),
        });
        const view = viewOf(Buffer.concat([packet, Buffer.alloc(behind, 0xff)]));
        expect(ipVersion(view, 0)).toBe(6);
        expect(ipv6PacketLength(view, 0, packet.length + behind)).toBe(packet.length);
        expect(view.getUint16(IPV6_PAYLOAD_LENGTH)).toBe(packet.length - 40);
        expect(view.getUint8(IPV6_NEXT_HEADER)).toBe(segment.protocol === 'tcp' ? 6 : 17);
        expect(view.getUint8(IPV6_HOP_LIMIT)).toBe(segment.ttl);
        expect(packet.toString('hex', IPV6_SOURCE, IPV6_SOURCE + 16)).toBe(ipv6Hex(source));
        expect(packet.toString('hex', IPV6_DESTINATION, IPV6_DESTINATION + 16)).toBe(ipv6Hex(destination));
      }),
    );
  });
});

describe('IPv6', () => {
  const header = `60000000 0008 3a40 fd42000000000000 0000000000000001 fd42000000000001 0000000000000002 ${'00'.repeat(8)}`;

  it('tells the whole length, and refuses where fewer bytes are there', () => {
    expect(ipv6PacketLength(fromHex(header), 0, 48)).toBe(48);
    expect(ipv6PacketLength(fromHex(`${header}00`), 0, 49)).toBe(48);
    for (let available = 0; available < 48; available++)
      expect(ipv6PacketLength(fromHex(header), 0, available)).toBe(0);
  });

  it.each([
    ['unique local', 0xfd420000, 1, true],
    ['global', 0x20010db8, 1, true],
    ['multicast', 0xff020000, 1, false],
    ['link-local', 0xfe800000, 1, false],
    ['link-local, last', 0xfebf0000, 1, false],
    ['site-local (deprecated)', 0xfec00000, 1, true],
    ['loopback', 0, 1, false],
    ['unspecified', 0, 0, false],
    ['::2', 0, 2, true],
  ])('%s is routable: %s', (_what, word0, word3, routable) => {
    expect(ipv6IsRoutable(word0 | 0, 0, 0, word3)).toBe(routable);
  });
});

describe('virtio-net header', () => {
  it.each([
    ['TCP over IPv4, CWR on the first segment', VIRTIO_GSO_TCPV4 | VIRTIO_GSO_ECN, '0181360084051400 1000'],
    ['TCP over IPv6', VIRTIO_GSO_TCPV6, '0104360084051400 1000'],
    ['UDP', VIRTIO_GSO_UDP_L4, '0105360084051400 1000'],
    ['a plain packet with a partial checksum', VIRTIO_GSO_NONE, '0100360084051400 1000'],
  ])('%s: golden bytes, little-endian', (_what, gsoType, golden) => {
    const view = fromHex('ff'.repeat(12));
    writeVirtioHeader(view, 1, gsoType, 54, 1412, 20, 16);
    expect(toHex(view, 0, 12)).toBe(`ff${golden.replace(' ', '')}ff`);
    expect(virtioNeedsChecksum(view, 1)).toBe(true);
    expect(virtioGsoType(view, 1)).toBe(gsoType & ~VIRTIO_GSO_ECN);
    expect(virtioGsoBytes(view, 1)).toBe(1412);
    expect([virtioChecksumStart(view, 1), virtioChecksumOffset(view, 1)]).toEqual([20, 16]);
  });

  it('has every field in a place of its own', () => {
    const view = new DataView(new ArrayBuffer(VIRTIO_NET_HEADER_BYTES));
    writeVirtioHeader(view, 0, VIRTIO_GSO_TCPV6, 0x0102, 0x0304, 0x0506, 0x0708);
    expect(toHex(view, 0, VIRTIO_NET_HEADER_BYTES)).toBe('01040201040306050807');
  });

  it('is ten zero bytes for a plain packet, whatever was there', () => {
    const view = fromHex('ff'.repeat(12));
    writePlainVirtioHeader(view, 1);
    expect(toHex(view, 0, 12)).toBe('ff00000000000000000000ff');
  });
});

describe('ICMP errors', () => {
  /** UDP from 10.42.1.2 to 10.42.2.2, DF, 1400 bytes in all. */
  function udpPacket(): DataView {
    const view = new DataView(new ArrayBuffer(4096));
    new Uint8Array(view.buffer).set(Buffer.from('450005780001400040110000' + '0a2a0102' + '0a2a0202', 'hex'));
    return view;
  }

  it('writes "fragmentation needed" with the MTU, quoting the packet (golden bytes)', () => {
    const view = udpPacket();
    expect(writeIcmpError(view, 2048, 0, 1400, 0x0a2a0101, 3, 4, 1364)).toBe(576);
    expect(toHex(view, 2048, 48)).toBe(
      '45000240000000004001' +
        '6267' +
        '0a2a01010a2a0102' +
        '0304' +
        '15c5' +
        '00000554' +
        '450005780001400040110000' +
        '0a2a01020a2a0202',
    );
    expect(checksum(view, 2048, 20)).toBe(0);
    expect(checksum(view, 2068, 556)).toBe(0);
  });

  it('quotes a short packet whole', () => {
    const view = udpPacket();
    expect(writeIcmpError(view, 2048, 0, 29, 0x0a2a0101, 3, 0, 0)).toBe(20 + 8 + 29);
    expect(checksum(view, 2068, 38)).toBe(0);
  });

  it('stays silent about ICMP errors, later fragments and sources that are no host (RFC 1122, 3.2.2)', () => {
    const icmpError = udpPacket();
    icmpError.setUint8(9, 1);
    icmpError.setUint8(20, 11);
    expect(writeIcmpError(icmpError, 2048, 0, 1400, 1, 3, 0, 0)).toBe(0);
    icmpError.setUint8(20, 8);
    expect(writeIcmpError(icmpError, 2048, 0, 1400, 1, 3, 0, 0)).toBeGreaterThan(0);
    const fragment = udpPacket();
    fragment.setUint16(6, 0x00b9);
    expect(writeIcmpError(fragment, 2048, 0, 1400, 1, 3, 0, 0)).toBe(0);
    const broadcast = udpPacket();
    broadcast.setUint32(12, 0xffffffff);
    expect(writeIcmpError(broadcast, 2048, 0, 1400, 1, 3, 0, 0)).toBe(0);
  });

  /** UDP from fd42:0:0:1::2, 1400 bytes in all. */
  function udp6Packet(): DataView {
    const view = new DataView(new ArrayBuffer(4096));
    const addresses = `fd42000000000001${'00'.repeat(7)}02fd42000000000002${'00'.repeat(7)}02`;
    new Uint8Array(view.buffer).set(Buffer.from(`60000000055011${'40'}${addresses}`, 'hex'));
    new Uint8Array(view.buffer).set(Buffer.from(`fd42000000000001${'00'.repeat(7)}01`, 'hex'), 2000);
    return view;
  }

  it('writes "packet too big" of at most 1280 bytes with a good checksum', () => {
    const view = udp6Packet();
    expect(writeIcmpv6Error(view, 2048, 0, 1400, 2000, 2, 0, 1364)).toBe(1280);
    expect(toHex(view, 2048, 44)).toBe(
      `6000000004d83a40fd42000000000001${'00'.repeat(7)}01fd42000000000001${'00'.repeat(7)}020200` +
        view
          .getUint16(2048 + 42)
          .toString(16)
          .padStart(4, '0'),
    );
    expect(view.getUint32(2048 + 44)).toBe(1364);
    const reply = Buffer.from(view.buffer, 2048, 1280);
    // RFC 8200, section 8.1: addresses, length, zeros and next header 58 go before the message.
    const pseudoHeader = Buffer.concat([reply.subarray(8, 40), Buffer.from([0, 0, 0x04, 0xd8, 0, 0, 0, 58])]);
    expect(onesSum(Buffer.concat([pseudoHeader, reply.subarray(40)]))).toBe(0xffff);
    expect(reply.subarray(48)).toEqual(Buffer.from(view.buffer, 0, 1232));
  });

  it('stays silent about ICMPv6 errors and sources that are no host (RFC 4443, 2.4 (e))', () => {
    const error = udp6Packet();
    error.setUint8(6, 58);
    error.setUint8(40, 1);
    expect(writeIcmpv6Error(error, 2048, 0, 1400, 2000, 1, 0, 0)).toBe(0);
    error.setUint8(40, 128);
    expect(writeIcmpv6Error(error, 2048, 0, 1400, 2000, 1, 0, 0)).toBeGreaterThan(0);
    const linkLocal = udp6Packet();
    linkLocal.setUint32(8, 0xfe800000);
    expect(writeIcmpv6Error(linkLocal, 2048, 0, 1400, 2000, 1, 0, 0)).toBe(0);
  });
});
