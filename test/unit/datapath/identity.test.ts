/**
 * Cut on one node and put together on the other, a superpacket is what it was: its headers, its payload, its segment
 * size, its flags and the state of its checksum. Two packet paths, joined by real sockets.
 */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { segmentsOf } from '../../helpers/gso-oracle.ts';
import { PacketPathHarness } from '../../helpers/packet-path.ts';
import { SealedEncapsulation } from '../../helpers/sealed-encapsulation.ts';
import { superpacket, superpacketSegments } from '../../helpers/superpackets.ts';
import { buildPacket, parsePacket, type Segment } from '../../helpers/transport-packets.ts';
import type { Frame } from '../../helpers/tun-frame.ts';

const PARTIAL = 1;
/** What one send of 65,507 bytes holds of a payload of 60,000, whatever the headers: up to 116 bytes, sealed 147. */
const MAX_SEGMENTS = 44;
const MAX_SEALED_SEGMENTS = 37;
/** What one receive takes of datagrams that come one by one, if they are shorter than 8 KB. */
const RECEIVE_MESSAGES = 16;
const MAX_SEGMENT_BYTES = 8000;

let open: PacketPathHarness[] = [];
afterEach(() => {
  for (const path of open) path.close();
  open = [];
});

type Options = NonNullable<ConstructorParameters<typeof PacketPathHarness>[0]>;

/** Node 1 sends to node 2. */
function twoNodes(flags: number, sending: Options, receiving: Options) {
  const node1 = new PacketPathHarness({ ...sending, mtu: 9000, address: '127.0.0.1' });
  const node2 = new PacketPathHarness({ ...receiving, mtu: 9000, address: '127.0.0.2' });
  open = [node1, node2];
  node1.load([{ ...node2.node, flags }], {
    '10.42.1.0/24': 'local',
    'fd42:0:0:1::/64': 'local',
    '10.42.2.0/24': 0,
    'fd42:0:0:2::/64': 0,
  });
  node2.load([{ ...node1.node, flags }], {
    '10.42.2.0/24': 'local',
    'fd42:0:0:2::/64': 'local',
    '10.42.1.0/24': 0,
    'fd42:0:0:1::/64': 0,
  });
  return { node1, node2 };
}

/** Superpackets of different flows, of 2 to `maxSegments` segments. */
function bursts(maxSegments: number): fc.Arbitrary<Frame[]> {
  const one = fc
    .tuple(superpacketSegments, fc.double({ min: 0, max: 1, noNaN: true }))
    .filter(([segment]) => segment.payload.length >= 2)
    .map(([segment, part]) => ({ segment: shortened(segment, MAX_SEGMENT_BYTES * maxSegments), part }));
  return fc.array(one, { minLength: 1, maxLength: 3 }).map((list) =>
    list.map(({ segment, part }, i) => {
      const least = Math.ceil(segment.payload.length / maxSegments);
      const most = Math.min(MAX_SEGMENT_BYTES, segment.payload.length - 1);
      const gsoBytes = Math.round(least + part * (most - least));
      return superpacket({ ...segment, sourcePort: 1000 + i }, gsoBytes);
    }),
  );
}

function shortened(segment: Segment, bytes: number): Segment {
  return { ...segment, payload: segment.payload.subarray(0, bytes) };
}

/** Each node has one peer, VTEP 0, which is what the other calls it too. */
const sealed = (): Options => ({ encapsulation: () => new SealedEncapsulation() });

describe.each([
  ['partial checksums between the nodes', PARTIAL, MAX_SEGMENTS, () => ({})],
  ['complete checksums between the nodes', 0, MAX_SEGMENTS, () => ({})],
  ['an encapsulation that seals', PARTIAL, MAX_SEALED_SEGMENTS, sealed],
] as const)('with %s', (_what, flags, maxSegments, node) => {
  it.each([
    ['received as GRO makes them', {}, {}, maxSegments],
    ['received one by one', {}, { udpGro: false }, RECEIVE_MESSAGES],
    ['sent one by one', { segmentation: false }, { udpGro: false }, RECEIVE_MESSAGES],
  ] as const)('superpackets come out as they went in: %s', (_how, sending, receiving, max) => {
    const { node1, node2 } = twoNodes(flags, { ...sending, ...node() }, { ...receiving, ...node() });
    fc.assert(
      fc.property(bursts(max), (frames) => {
        const seen: string[] = [];
        for (const frame of frames) {
          node1.fromTun(frame);
          // The last receive finds nothing.
          for (let i = 0; i < 2; i++) node2.receive();
          seen.push(...node2.toTun().map(describeFrame));
        }
        expect(seen).toEqual(frames.map(describeFrame));
      }),
      { numRuns: 150 },
    );
    expect([node1.drops(), node2.drops()]).toEqual([{}, {}]);
    expect(node2.counters.totals().inboundPackets).toBe(node1.counters.totals().outboundPackets);
    expect(node2.counters.totals().inboundBytes).toBe(node1.counters.totals().outboundBytes);
  });

  // Segments of one size share a send, so where superpackets begin and end is not kept.
  it('sent at once, the packets that they stand for come out, in order', () => {
    const { node1, node2 } = twoNodes(flags, node(), node());
    fc.assert(
      fc.property(bursts(MAX_SEGMENTS), (frames) => {
        node1.fromTun(...frames);
        const seen: Frame[] = [];
        for (let i = 0; i < 2 * frames.length; i++) {
          node2.receive();
          seen.push(...node2.toTun());
        }
        expect(packetsByFlow(seen)).toEqual(packetsByFlow(frames));
      }),
      { numRuns: 150 },
    );
    expect([node1.drops(), node2.drops()]).toEqual([{}, {}]);
  });
});

/** Flows differ in their source port. A packet that was not merged is as complete as it came. */
function packetsByFlow(frames: readonly Frame[]): Record<string, string[]> {
  const found: Record<string, string[]> = {};
  for (const { packet } of frames.flatMap(segmentsOf)) {
    const segment = parsePacket(packet);
    found[segment.sourcePort] ??= [];
    found[segment.sourcePort]!.push(buildPacket(segment).toString('hex'));
  }
  return found;
}

function describeFrame({ packet, virtio }: Frame): string {
  return `${JSON.stringify(virtio)} ${packet.toString('hex')}`;
}
