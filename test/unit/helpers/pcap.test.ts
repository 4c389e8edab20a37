/** The reader of captures, which other tests take at its word, notices whatever is wrong in one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { vxlanGpe } from '../../helpers/packets.ts';
import { checkTransport, readIp, readPcap, readTunnel } from '../../helpers/pcap.ts';
import { overIpv6 } from '../../helpers/superpackets.ts';
import { baseSegment, buildPacket, type Segment } from '../../helpers/transport-packets.ts';

const VNI = 42;
const inner: Segment = { ...baseSegment, payload: Buffer.from('what a pod sends') };

/** An Ethernet frame with `packet` in the tunnel. */
function frameOf(packet: Uint8Array, outer: (segment: Segment) => Segment): Buffer {
  const segment = outer({
    ...baseSegment,
    protocol: 'udp',
    destinationPort: 4790,
    payload: vxlanGpe(packet),
  });
  const type = segment.source.includes(':') ? [0x86, 0xdd] : [0x08, 0x00];
  return Buffer.concat([Buffer.alloc(12, 2), Buffer.from(type), buildPacket(segment)]);
}

function pcapOf(...frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt32LE(1, 20);
  const records = frames.map((frame) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return Buffer.concat([record, frame]);
  });
  return Buffer.concat([header, ...records]);
}

const same = (segment: Segment) => segment;

describe.each([
  ['IPv4', same],
  ['IPv6', overIpv6],
] as const)('a capture over %s', (_what, outer) => {
  it('gives the inner packets, in order', () => {
    const packets = [inner, { ...inner, protocol: 'udp' as const }, overIpv6(inner)].map((one) =>
      buildPacket(one),
    );
    const found = readTunnel(readPcap(pcapOf(...packets.map((one) => frameOf(one, outer)))), VNI);
    expect(found).toEqual(packets);
    for (const packet of found) checkTransport(readIp(packet));
  });

  it('with any bit of a frame flipped is refused', () => {
    const frame = frameOf(buildPacket(inner), outer);
    fc.assert(
      fc.property(fc.integer({ min: 12 * 8, max: frame.length * 8 - 1 }), (bit) => {
        // The flow label, the traffic class and the hop limit are under no checksum.
        if (outer !== same && (bit >> 3 === 14 || (bit >> 3 >= 15 && bit >> 3 < 18) || bit >> 3 === 21))
          return;
        const flipped = Buffer.from(frame);
        flipped[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => readTunnel([flipped], VNI)).toThrow();
      }),
      { numRuns: 1000 },
    );
  });

  it('that was cut short is refused', () => {
    const file = pcapOf(frameOf(buildPacket(inner), outer));
    for (let bytes = 25; bytes < file.length; bytes++) {
      expect(() => readPcap(file.subarray(0, bytes)), `${bytes} bytes`).toThrow();
    }
  });
});

it('a partial checksum is not taken for a complete one', () => {
  expect(() => checkTransport(readIp(buildPacket(inner, 'partial')))).toThrow(/checksum/);
  expect(() => checkTransport(readIp(buildPacket(inner, 'bad')))).toThrow(/checksum/);
});
