/** ECN through the tunnel (RFC 6040), between real UDP sockets: the kernel writes and reads the outer header. */
import { afterEach, describe, expect, it } from 'vitest';
import { VTEP_LOSES_MARKS } from '../../../src/datapath/forwarding.ts';
import {
  CE,
  DSCP_SHIFT,
  decapsulatedEcn,
  ECT_0,
  ECT_1,
  ecnOf,
  NOT_ECT,
  setIpv4Ecn,
  setIpv6Ecn,
} from '../../../src/wire/ecn.ts';
import { PacketPathHarness, PeerSocket, type SentMessage } from '../../helpers/packet-path.ts';
import { vxlanGpe } from '../../helpers/packets.ts';
import { bytesOf, overIpv6, virtioOf } from '../../helpers/superpackets.ts';
import { baseSegment, buildPacket } from '../../helpers/transport-packets.ts';

const ALL = [NOT_ECT, ECT_0, ECT_1, CE];
const UNDERLAYS = [
  ['IPv4', '127.0.0.1', '127.0.0.2'],
  ['IPv6', '::1', '::1'],
] as const;

const OWNERS = {
  '10.42.1.0/24': 'local',
  'fd42:0:0:1::/64': 'local',
  '10.42.2.0/24': 0,
  'fd42:0:0:2::/64': 0,
} as const;

let path: PacketPathHarness;
let peer: PeerSocket;
let sent: SentMessage[];

function setUp(nodeAddress: string, peerAddress: string, flags = 0, dscp: number | 'copy' = 0): void {
  sent = [];
  const refuse = (message: SentMessage) => {
    sent.push(message);
    return 0;
  };
  path = new PacketPathHarness({ address: nodeAddress, dscp, underlay: { refuse } });
  peer = new PeerSocket(peerAddress, path.node);
  path.load([{ address: peerAddress, port: peer.port, flags }], OWNERS);
}

afterEach(() => {
  path.close();
  peer.close();
});

/** A datagram's worth of UDP with a codepoint, in one direction or the other. */
function packet(family: 4 | 6, ecn: number, isInbound = false): Buffer {
  const [near, far] = ['10.42.1.2', '10.42.2.2'];
  const addresses = isInbound ? { source: far, destination: near } : { source: near, destination: far };
  const segment = { ...baseSegment, ...addresses, protocol: 'udp' as const, flags: 0, payload: bytesOf(100) };
  const built = buildPacket(family === 4 ? segment : overIpv6(segment));
  (family === 4 ? setIpv4Ecn : setIpv6Ecn)(viewOf(built), 0, ecn);
  return built;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

describe.each(UNDERLAYS)('over an %s underlay', (_name, nodeAddress, peerAddress) => {
  it('the inner codepoint is the outer one', () => {
    setUp(nodeAddress, peerAddress);
    peer.receiveTos();
    for (const family of [4, 6] as const) {
      for (const ecn of ALL) {
        path.fromPods(packet(family, ecn));
        expect(peer.receiveWithTos()).toEqual({
          datagram: Buffer.from(vxlanGpe(packet(family, ecn))),
          tos: ecn,
        });
      }
    }
  });

  it('the outer one is Not-ECT towards a peer that would lose a mark', () => {
    setUp(nodeAddress, peerAddress, VTEP_LOSES_MARKS);
    peer.receiveTos();
    for (const ecn of ALL) {
      path.fromPods(packet(4, ecn));
      const datagram = Buffer.from(vxlanGpe(packet(4, ecn)));
      expect(peer.receiveWithTos()).toEqual({ datagram, tos: NOT_ECT });
    }
  });

  it('no group mixes codepoints', () => {
    setUp(nodeAddress, peerAddress);
    const order = [NOT_ECT, NOT_ECT, ECT_0, ECT_0, ECT_0, CE, ECT_0, NOT_ECT, NOT_ECT];
    path.fromPods(...order.map((ecn) => packet(4, ecn)));
    const datagramBytes = vxlanGpe(packet(4, 0)).length;
    expect(sent.map(({ ecn, bytes }) => [ecn, bytes / datagramBytes])).toEqual([
      [NOT_ECT, 2],
      [ECT_0, 3],
      [CE, 1],
      [ECT_0, 1],
      [NOT_ECT, 2],
    ]);
    expect(peer.receiveAll().map((datagram) => ecnOf(viewOf(datagram), 8))).toEqual(order);
  });

  it('the outer DSCP is 0 unless asked for, and what was asked for then; the inner one stays', () => {
    for (const [dscp, tos] of [
      [0, ECT_0],
      [46, (46 << DSCP_SHIFT) | ECT_0],
      ['copy', (10 << DSCP_SHIFT) | ECT_0],
    ] as const) {
      setUp(nodeAddress, peerAddress, 0, dscp);
      peer.receiveTos();
      for (const protocol of [baseSegment, overIpv6(baseSegment)]) {
        const inner = buildPacket({ ...protocol, trafficClass: (10 << DSCP_SHIFT) | ECT_0 });
        path.fromPods(inner);
        expect(peer.receiveWithTos()).toEqual({ datagram: Buffer.from(vxlanGpe(inner)), tos });
        if (dscp !== 'copy') continue;
        // Also towards a peer that would lose a mark.
        path.load([{ address: peerAddress, port: peer.port, flags: VTEP_LOSES_MARKS }], OWNERS);
        path.fromPods(inner);
        expect(peer.receiveWithTos()?.tos).toBe(10 << DSCP_SHIFT);
        path.load([{ address: peerAddress, port: peer.port, flags: 0 }], OWNERS);
      }
      if (dscp === 'copy') break;
      path.close();
      peer.close();
    }
  });

  it('no group mixes DSCPs that are copied', () => {
    setUp(nodeAddress, peerAddress, 0, 'copy');
    const order = [0, 0, 10, 10, 46].map((dscp) => packet(4, dscp << DSCP_SHIFT));
    path.fromPods(...order);
    const datagramBytes = vxlanGpe(packet(4, 0)).length;
    expect(sent.map(({ bytes }) => bytes / datagramBytes)).toEqual([2, 2, 1]);
    expect(peer.receiveAll()).toEqual(order.map((one) => Buffer.from(vxlanGpe(one))));
  });

  it('the segments of a superpacket have its codepoint', () => {
    setUp(nodeAddress, peerAddress);
    const segment = { ...baseSegment, trafficClass: ECT_0, payload: bytesOf(20_000) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1300) });
    expect(sent).toMatchObject([{ ecn: ECT_0, segmentBytes: 1300 + 40 + 8 }]);
    expect(new Set(peer.receiveAll().map((datagram) => ecnOf(viewOf(datagram), 8)))).toEqual(
      new Set([ECT_0]),
    );
  });

  it('what comes in is told of congestion, or dropped if it would not understand', () => {
    setUp(nodeAddress, peerAddress);
    let dropped = 0;
    for (const family of [4, 6] as const) {
      for (const inner of ALL) {
        for (const outer of ALL) {
          peer.setTos(outer);
          peer.send(vxlanGpe(packet(family, inner, true)));
          path.receive();
          const ecn = decapsulatedEcn(inner, outer);
          if (ecn < 0) dropped++;
          expect(path.toPods()).toEqual(ecn < 0 ? [] : [packet(family, ecn, true)]);
        }
      }
    }
    expect(path.drops()).toEqual({ 'inbound-congestion': dropped });
    expect(dropped).toBe(2);
  });

  it('each datagram of a group is told', () => {
    setUp(nodeAddress, peerAddress);
    peer.setTos(CE);
    peer.sendSegmented(Array.from({ length: 5 }, () => vxlanGpe(packet(4, ECT_0, true))));
    path.receive();
    const segments = path.toTun();
    expect(segments.map(({ packet: written }) => ecnOf(viewOf(written), 0))).toEqual(segments.map(() => CE));
    expect(path.counters.totals().inboundPackets).toBe(5);
  });
});
