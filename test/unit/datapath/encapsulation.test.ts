/**
 * The packet path over an encapsulation that is in all respects another one than vxlan-gpe: what it does right here cannot
 * come from knowing one by name.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { overheadBytes } from '../../../src/datapath/overhead.ts';
import { segmentsPerSend } from '../../../src/dataplane/mtu.ts';
import { EMSGSIZE } from '../../../src/sys/constants.ts';
import { PacketPathHarness, PeerSocket, type SentMessage } from '../../helpers/packet-path.ts';
import { ipv4Packet, ipv6Packet } from '../../helpers/packets.ts';
import { SealedEncapsulation, seal, unseal } from '../../helpers/sealed-encapsulation.ts';
import { bytesOf, overIpv6, virtioOf } from '../../helpers/superpackets.ts';
import { baseSegment, buildPacket, cut } from '../../helpers/transport-packets.ts';

const MTU = 1440;
const ADDED_BYTES = 32;
const TAKES_PARTIAL = 1;

let encapsulation: SealedEncapsulation;
let path: PacketPathHarness;
let peerB: PeerSocket;
let peerC: PeerSocket;
let sent: SentMessage[];
let refuse: (message: SentMessage) => number;

beforeEach(() => {
  encapsulation = new SealedEncapsulation();
  sent = [];
  refuse = () => 0;
  path = new PacketPathHarness({
    mtu: MTU,
    encapsulation: () => encapsulation,
    underlay: {
      refuse: (message) => {
        const errno = refuse(message);
        if (errno === 0) sent.push(message);
        return errno;
      },
    },
  });
  peerB = new PeerSocket('127.0.0.2', path.node);
  peerC = new PeerSocket('127.0.0.3', path.node);
  path.load(
    [
      { address: '127.0.0.2', port: peerB.port, flags: TAKES_PARTIAL },
      { address: '127.0.0.3', port: peerC.port },
    ],
    {
      '10.42.1.0/24': 'local',
      'fd42:0:0:1::/64': 'local',
      '10.42.2.0/24': 0,
      'fd42:0:0:2::/64': 0,
      '10.42.3.0/24': 1,
    },
  );
});

afterEach(() => {
  for (const one of [path, peerB, peerC]) one.close();
});

describe('outbound, sealed', () => {
  it.each([
    ['IPv4', baseSegment],
    ['IPv6', overIpv6(baseSegment)],
  ])('superpackets over %s leave as one piece of memory, in whole packets', (_family, base) => {
    const segment = { ...base, payload: bytesOf(20_000) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1300) });
    const pieces = cut(segment, 1300).map((piece) => buildPacket(piece));
    const received = peerB.receiveAll().map(unseal);
    expect(received.map(({ packet }) => packet.toString('hex'))).toEqual(
      pieces.map((piece) => piece.toString('hex')),
    );
    const datagramBytes = Math.ceil(pieces[0]!.length / 16) * 16 + ADDED_BYTES;
    expect(sent).toMatchObject([{ iovecs: 1, segmentBytes: datagramBytes }]);
    expect(path.counters.vtep(0)).toMatchObject({
      outboundPackets: pieces.length,
      outboundBytes: pieces.reduce((total, piece) => total + piece.length, 0),
    });
  });

  it('takes numbers once for each flush, as many as it sends', () => {
    path.fromPods(...Array.from({ length: 10 }, () => ipv4Packet('10.42.1.2', '10.42.2.2')));
    path.fromPods(ipv4Packet('10.42.1.2', '10.42.3.3'));
    path.fromPods(ipv4Packet('10.42.1.2', '10.42.9.9'));
    expect(encapsulation.flushes).toEqual([10, 1]);
    expect([...peerB.receiveAll(), ...peerC.receiveAll()].map((one) => Number(unseal(one).counter))).toEqual([
      ...Array(11).keys(),
    ]);
  });

  it('sends to others what it can where there are no keys for one', () => {
    encapsulation.keyless.add(0);
    const to = (node: number, bytes: number) => ipv4Packet('10.42.1.2', `10.42.${node}.2`, { bytes });
    path.fromPods(to(2, 60), to(3, 100), to(2, 60), to(2, 61), to(3, 101));
    expect(peerC.receiveAll().map((one) => unseal(one).packet)).toEqual(
      [to(3, 100), to(3, 101)].map((packet) => Buffer.from(packet)),
    );
    expect(peerB.receiveAll()).toEqual([]);
    expect(encapsulation.flushes).toEqual([2]);
    expect(path.drops()).toEqual({ 'outbound-send-failed': 3 });
    expect(path.counters.totals()).toMatchObject({ outboundPackets: 2, outboundBytes: 201 });
  });

  it('sends what was sealed one by one where a group is refused, and seals nothing anew', () => {
    refuse = ({ segmentBytes }) => (segmentBytes > 0 ? EMSGSIZE : 0);
    path.fromPods(...Array.from({ length: 3 }, () => ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 800 })));
    expect(peerB.receiveAll().map((one) => Number(unseal(one).counter))).toEqual([0, 1, 2]);
    expect(sent.map(({ iovecs }) => iovecs)).toEqual([1, 1, 1]);
    expect(encapsulation.flushes).toEqual([3]);
  });

  it('goes on in outer fragments with what was sealed', () => {
    const packet = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1400, dontFragment: false });
    let refusals = 0;
    refuse = () => (refusals++ === 0 ? EMSGSIZE : 0);
    path.fromPods(packet);
    expect(peerB.receiveAll().map(unseal)).toMatchObject([{ counter: 0n, packet: Buffer.from(packet) }]);
    expect(path.drops()).toEqual({});
  });

  it('completes every checksum, also for a peer that would take partial ones', () => {
    const segment = { ...baseSegment, payload: bytesOf(333) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 0) });
    expect(unseal(peerB.receive()!).packet).toEqual(buildPacket(segment));
  });

  it('counts the MTU in inner bytes, whatever is added', () => {
    const packet = (bytes: number) => ipv4Packet('10.42.1.2', '10.42.2.2', { bytes, dontFragment: true });
    path.fromPods(packet(MTU), packet(MTU + 1));
    expect(peerB.receiveAll().map((one) => one.length)).toEqual([MTU + ADDED_BYTES]);
    expect(path.drops()).toEqual({ 'outbound-too-big': 1 });
    const [answer] = path.toPods();
    expect(answer!.readUInt16BE(26)).toBe(MTU);
    // The kernel refuses one: the path carries less, again in inner bytes.
    refuse = ({ bytes }) => (bytes > 1200 + ADDED_BYTES ? EMSGSIZE : 0);
    path.fromPods(packet(1300), packet(1300));
    expect(path.toPods().map((one) => one.readUInt16BE(26))).toEqual([1299, 1299]);
    expect(peerB.receiveAll()).toEqual([]);
  });

  it('leaves the MTU that WireGuard has, and superpackets that just fill a send', () => {
    expect(segmentsPerSend(MTU, ADDED_BYTES) * (MTU + ADDED_BYTES)).toBeLessThanOrEqual(65_507);
    expect([4, 6].map((family) => 1500 - overheadBytes(family as 4 | 6, encapsulation.form))).toEqual([
      1440, 1420,
    ]);
  });
});

describe('inbound, sealed', () => {
  const FROM_B = ipv4Packet('10.42.2.2', '10.42.1.2');
  const FROM_B6 = ipv6Packet('fd42:0:0:2::2', 'fd42:0:0:1::2');

  it('opens each datagram of a group in place', () => {
    const packets = [FROM_B, FROM_B, FROM_B].map((_, i) =>
      ipv4Packet('10.42.2.2', '10.42.1.2', { bytes: 100 - i }),
    );
    peerB.sendSegmented(packets.map((packet) => seal(packet, 0)));
    path.receive();
    expect(path.toPods()).toEqual(packets.map((packet) => Buffer.from(packet)));
  });

  it('believes what a datagram says of its sender, not the address that it came from', () => {
    peerC.send(seal(FROM_B, 0));
    peerC.send(seal(FROM_B6, 0));
    path.receive();
    expect(path.toPods()).toHaveLength(2);
    peerB.send(seal(FROM_B, 1));
    peerB.send(seal(FROM_B6, 1));
    path.receive();
    expect(path.toPods()).toEqual([]);
    expect(path.drops()).toEqual({ 'inbound-foreign-source': 2 });
  });

  it('leaves the messages of the encapsulation to it, between packets too', () => {
    peerB.send(seal(new Uint8Array(0), 0));
    peerB.send(seal(FROM_B, 0));
    peerC.send(seal(new Uint8Array(0), 1));
    path.receive();
    expect(encapsulation.signs).toEqual([0, 1]);
    expect(path.toPods()).toEqual([Buffer.from(FROM_B)]);
    expect(path.drops()).toEqual({});
    expect(path.counters.totals()).toMatchObject({ inboundPackets: 1 });
  });

  it('drops what cannot be opened, and only that', () => {
    const broken = seal(FROM_B, 0);
    broken[20]! ^= 1;
    peerB.sendSegmented([seal(FROM_B, 0), broken, seal(FROM_B, 0), seal(FROM_B, 0).subarray(0, 31)]);
    path.receive();
    expect(path.toPods()).toHaveLength(2);
    expect(path.drops()).toEqual({ 'inbound-bad-header': 1, 'inbound-truncated': 1 });
  });
});
