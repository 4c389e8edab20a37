/** The packet path over WireGuard, on real sockets: what it seals opens at peers, and what it must not open it does not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VTEP_GUEST, VTEP_SEALED } from '../../../../src/datapath/forwarding.ts';
import { chooseAead } from '../../../../src/encapsulation/wireguard/choose-aead.ts';
import { DATA_COUNTER } from '../../../../src/encapsulation/wireguard/data-message.ts';
import { receiverIndex } from '../../../../src/encapsulation/wireguard/messages.ts';
import type {
  PathSessions,
  ReceivingSession,
} from '../../../../src/encapsulation/wireguard/path-sessions.ts';
import { Session } from '../../../../src/encapsulation/wireguard/session.ts';
import { SessionCiphers } from '../../../../src/encapsulation/wireguard/session-ciphers.ts';
import { Wireguard } from '../../../../src/encapsulation/wireguard/wireguard.ts';
import type { Arena } from '../../../../src/sys/arena.ts';
import { echoRequest, trimmed } from '../../../helpers/echo.ts';
import {
  PacketPathHarness,
  PeerSocket,
  PROBE_IDENTIFIER,
  type SentMessage,
} from '../../../helpers/packet-path.ts';
import { ipv4Packet, ipv6Packet } from '../../../helpers/packets.ts';
import { bytesOf, overIpv6, virtioOf } from '../../../helpers/superpackets.ts';
import { baseSegment, buildPacket, cut } from '../../../helpers/transport-packets.ts';

const MTU = 1_420;

/** The sessions of the node with its two peers, as their control would hold them. */
class SessionsInTest implements PathSessions {
  readonly sending = new Map<number, Session>();
  readonly receiving = new Map<number, ReceivingSession>();
  readonly opens: (readonly [number, boolean])[] = [];
  readonly handshakes: number[] = [];
  readonly waiting: Buffer[] = [];
  hasRoom = true;

  receivesInto(): void {}

  begin(): void {}

  sent(): void {}

  wait(_vtep: number, memory: Arena, at: number, bytes: number): boolean {
    if (this.hasRoom) this.waiting.push(Buffer.from(memory.bytes.slice(at, at + bytes)));
    return this.hasRoom;
  }

  sendingTo(vtep: number): Session | undefined {
    return this.sending.get(vtep);
  }

  receivingAt(index: number): ReceivingSession | undefined {
    return this.receiving.get(index);
  }

  opened({ vtep }: ReceivingSession, isData: boolean): void {
    this.opens.push([vtep, isData]);
  }

  handshake(_datagram: number, datagramBytes: number): void {
    this.handshakes.push(datagramBytes);
  }
}

let sessions: SessionsInTest;
let wireguard: Wireguard;
let path: PacketPathHarness;
let peers: PeerSocket[];
/** The other end of each session. */
let theirs: Session[];
let ciphers: SessionCiphers;
let sent: SentMessage[];

beforeEach(() => {
  const { engine } = chooseAead();
  sessions = new SessionsInTest();
  ciphers = new SessionCiphers(engine, MTU);
  sent = [];
  path = new PacketPathHarness({
    mtu: MTU,
    encapsulation: (vteps) => {
      wireguard = new Wireguard({ engine, sessions, vteps });
      return wireguard;
    },
    underlay: {
      refuse: (message) => {
        sent.push(message);
        return 0;
      },
    },
  });
  peers = ['127.0.0.2', '127.0.0.3'].map((address) => new PeerSocket(address, path.node));
  path.load(
    peers.map(({ port }, at) => ({ address: `127.0.0.${at + 2}`, port })),
    {
      '10.42.1.0/24': 'local',
      'fd42:0:0:1::/64': 'local',
      '10.42.2.0/24': 0,
      'fd42:0:0:2::/64': 0,
      '10.42.3.0/24': 1,
    },
  );
  theirs = [0, 1].map((vtep) => {
    const keys = { send: Buffer.alloc(32, 1 + vtep), receive: Buffer.alloc(32, 11 + vtep) };
    const ours = new Session({ keys, localIndex: 100 + vtep, remoteIndex: 200 + vtep }, true, 0);
    sessions.sending.set(vtep, ours);
    sessions.receiving.set(100 + vtep, { session: ours, vtep });
    const mirrored = { send: Buffer.from(keys.receive), receive: Buffer.from(keys.send) };
    return new Session({ keys: mirrored, localIndex: 200 + vtep, remoteIndex: 100 + vtep }, false, 0);
  });
});

afterEach(() => {
  for (const one of [path, ...peers]) one.close();
  for (const one of [...theirs, ...sessions.sending.values()]) {
    ciphers.end(one);
    wireguard.end(one);
  }
});

/** The packets that a peer opens, which must all be sealed for it. */
function openedBy(peer: number): Buffer[] {
  return peers[peer]!.receiveAll().map((datagram) => {
    expect(receiverIndex(datagram)).toBe(200 + peer);
    const packet = ciphers.open(theirs[peer]!, datagram, 0);
    if (typeof packet === 'string') throw new Error(packet);
    expect(packet.length % 16 === 0 || packet.length === MTU).toBe(true);
    return trimmed(packet);
  });
}

function sealedBy(peer: number, packet: Uint8Array): Buffer {
  return ciphers.seal(theirs[peer]!, packet)!;
}

const toB = (bytes?: number) => ipv4Packet('10.42.1.2', '10.42.2.2', bytes === undefined ? {} : { bytes });
const toC = (bytes: number) => ipv4Packet('10.42.1.2', '10.42.3.2', { bytes });
const fromB = (bytes = 60) => ipv4Packet('10.42.2.2', '10.42.1.2', { bytes });

describe('outbound over WireGuard', () => {
  it('seals each packet for its peer, padded up to the MTU and not over it', () => {
    const packets = [60, 61, 1_300, MTU - 1, MTU].map(toB);
    path.fromPods(...packets, toC(77), ...packets);
    expect(openedBy(0)).toEqual([...packets, ...packets].map((packet) => Buffer.from(packet)));
    expect(openedBy(1)).toEqual([Buffer.from(toC(77))]);
    expect(path.drops()).toEqual({});
  });

  it('pads no probe of the path, which is as long as what it is to find out', () => {
    const probe = echoRequest('10.42.1.1', '10.42.2.1', 1, 1_291);
    probe.writeUInt16BE(PROBE_IDENTIFIER, 24);
    const other = Buffer.from(probe);
    other.writeUInt16BE(PROBE_IDENTIFIER + 1, 24);
    path.fromPods(probe, other);
    expect(sent.map(({ bytes, segmentBytes }) => segmentBytes || bytes)).toEqual([1_291 + 32, 1_296 + 32]);
  });

  it.each([
    ['IPv4', baseSegment],
    ['IPv6', overIpv6(baseSegment)],
  ])('seals the segments of a superpacket over %s into one send, checksums complete', (_family, base) => {
    const segment = { ...base, payload: bytesOf(20_000) };
    path.fromTun({ packet: buildPacket(segment, 'partial'), virtio: virtioOf(segment, 1_300) });
    const pieces = cut(segment, 1_300).map((piece) => buildPacket(piece));
    expect(openedBy(0)).toEqual(pieces);
    expect(sent).toMatchObject([{ iovecs: 1, segmentBytes: Math.ceil(pieces[0]!.length / 16) * 16 + 32 }]);
  });

  it('takes counters for exactly what leaves, in order', () => {
    path.fromPods(toB(), toB(), toC(60), toB());
    path.fromPods(toB());
    const counters = (peer: number) =>
      peers[peer]!.receiveAll().map((one) => Number(one.readBigUInt64LE(DATA_COUNTER)));
    expect(counters(0)).toEqual([0, 1, 2, 3]);
    expect(counters(1)).toEqual([0]);
    expect(sessions.sending.get(0)!.nonces.taken).toBe(4);
  });

  it('lets nothing leave without keys, and all else; packets wait as they are', () => {
    sessions.sending.delete(0);
    path.fromPods(toB(), toC(60), toB(700));
    expect(peers[0]!.receiveAll()).toEqual([]);
    expect(openedBy(1)).toHaveLength(1);
    expect(sessions.waiting).toEqual([toB(), toB(700)].map((packet) => Buffer.from(packet)));
    expect(path.drops()).toEqual({});
  });

  it('counts what cannot wait', () => {
    sessions.sending.delete(0);
    sessions.hasRoom = false;
    path.fromPods(toB(), toC(60), toB());
    expect(openedBy(1)).toHaveLength(1);
    expect(path.drops()).toEqual({ 'outbound-no-session': 2 });
  });
});

describe('inbound over WireGuard', () => {
  it('opens each datagram of a group where it lies', () => {
    const packets = [100, 99, 98, 97].map(fromB);
    peers[0]!.sendSegmented(packets.map((packet) => sealedBy(0, packet)));
    path.receive();
    expect(path.toPods()).toEqual(packets.map((packet) => Buffer.from(packet)));
    expect(sessions.opens).toEqual(Array(4).fill([0, true]));
    expect(path.drops()).toEqual({});
  });

  it('knows who sent by what opens, from wherever it comes, and lets nobody speak for another', () => {
    peers[1]!.send(sealedBy(0, fromB()));
    peers[1]!.send(sealedBy(0, ipv6Packet('fd42:0:0:2::2', 'fd42:0:0:1::2')));
    path.receive();
    expect(path.toPods()).toHaveLength(2);
    peers[0]!.send(sealedBy(1, fromB()));
    path.receive();
    expect(path.toPods()).toEqual([]);
    expect(path.drops()).toEqual({ 'inbound-foreign-source': 1 });
  });

  it('hands over signs of life and handshakes, between packets too', () => {
    for (const datagram of [
      sealedBy(0, Buffer.alloc(0)),
      sealedBy(0, fromB()),
      handshake(148),
      handshake(92),
    ])
      peers[0]!.send(datagram);
    path.receive();
    expect(sessions.opens).toEqual([
      [0, false],
      [0, true],
    ]);
    expect(sessions.handshakes).toEqual([148, 92]);
    expect(path.toPods()).toHaveLength(1);
    expect(path.drops()).toEqual({});
  });

  it('drops what was seen, damaged, cut, sealed for another or for nobody, each with its reason', () => {
    const good = sealedBy(0, fromB());
    const damaged = sealedBy(0, fromB());
    damaged[40]! ^= 1;
    const nobody = sealedBy(0, fromB());
    nobody.writeUInt32LE(999, 4);
    const cross = sealedBy(0, fromB());
    cross.writeUInt32LE(101, 4);
    const unknownType = Buffer.alloc(64, 9);
    for (const datagram of [good, good, damaged, good.subarray(0, 31), nobody, cross, unknownType])
      peers[0]!.send(datagram);
    path.receive();
    expect(path.toPods()).toEqual([Buffer.from(fromB())]);
    expect(path.drops()).toEqual({
      'inbound-replayed': 1,
      'inbound-forged': 2,
      'inbound-truncated': 1,
      'inbound-no-session': 1,
      'inbound-bad-header': 1,
    });
    // What was forged used up no counter: the true datagram with that one still opens.
    damaged[40]! ^= 1;
    peers[0]!.send(damaged);
    path.receive();
    expect(path.toPods()).toHaveLength(1);
  });
});

describe('a guest of this node', () => {
  const GUEST = ['10.42.1.9', 'fd42:0:0:1::9'] as const;
  const OTHER = ['10.42.2.2', 'fd42:0:0:2::2'] as const;
  const between = (from: readonly string[], to: readonly string[]) => [
    ipv4Packet(from[0]!, to[0]!),
    ipv6Packet(from[1]!, to[1]!),
  ];

  /** Peer 1 has addresses of this node's own subnets, as `flags` say a guest or none. */
  function load(flags: number): void {
    path.load(
      peers.map(({ port }, at) => ({ address: `127.0.0.${at + 2}`, port, flags: at === 1 ? flags : 0 })),
      {
        '10.42.1.0/24': 'local',
        'fd42:0:0:1::/64': 'local',
        '10.42.2.0/24': 0,
        'fd42:0:0:2::/64': 0,
        '10.42.1.9/32': 1,
        'fd42:0:0:1::9/128': 1,
      },
    );
  }

  it('reaches this node and, through its kernel, other nodes, and is reached by both', () => {
    load(VTEP_SEALED | VTEP_GUEST);
    const there = between(GUEST, OTHER);
    const back = between(OTHER, GUEST);
    const here = between(GUEST, ['10.42.1.2', 'fd42:0:0:1::2']);
    for (const packet of [...there, ...here]) peers[1]!.send(sealedBy(1, packet));
    for (const packet of back) peers[0]!.send(sealedBy(0, packet));
    path.receive();
    const arrived = [...there, ...here, ...back].map((packet) => Buffer.from(packet));
    expect(new Set(path.toPods().map(String))).toEqual(new Set(arrived.map(String)));
    const answers = between(['10.42.1.2', 'fd42:0:0:1::2'], GUEST);
    path.fromPods(...there, ...back, ...answers);
    expect(openedBy(0)).toEqual(there.map((packet) => Buffer.from(packet)));
    expect(openedBy(1)).toEqual([...back, ...answers].map((packet) => Buffer.from(packet)));
    expect(path.drops()).toEqual({});
  });

  it('speaks for nobody else, sends nobody beyond, and gets back nothing of its own', () => {
    load(VTEP_SEALED | VTEP_GUEST);
    for (const packet of [
      ...between(OTHER, ['10.42.1.2', 'fd42:0:0:1::2']),
      ...between(['10.42.1.2', 'fd42:0:0:1::2'], OTHER),
    ])
      peers[1]!.send(sealedBy(1, packet));
    for (const packet of [...between(GUEST, GUEST), ...between(GUEST, ['192.0.2.1', '2001:db8::1'])])
      peers[1]!.send(sealedBy(1, packet));
    // Another peer cannot take its addresses, either.
    for (const packet of between(GUEST, ['10.42.1.2', 'fd42:0:0:1::2'])) peers[0]!.send(sealedBy(0, packet));
    path.receive();
    path.fromPods(...between(GUEST, GUEST), ...between(['192.0.2.1', '2001:db8::1'], GUEST));
    expect(path.toPods()).toEqual([]);
    expect([openedBy(0), openedBy(1)]).toEqual([[], []]);
    expect(path.drops()).toEqual({
      'inbound-foreign-source': 6,
      'inbound-not-local': 4,
      'outbound-foreign-source': 4,
    });
  });

  it('is one where that is said alone: else nothing is passed on', () => {
    load(VTEP_SEALED);
    for (const packet of between(GUEST, OTHER)) peers[1]!.send(sealedBy(1, packet));
    for (const packet of between(OTHER, GUEST)) peers[0]!.send(sealedBy(0, packet));
    path.receive();
    path.fromPods(...between(GUEST, OTHER), ...between(OTHER, GUEST));
    expect(path.drops()).toEqual({ 'inbound-not-local': 4, 'outbound-foreign-source': 4 });
  });
});

function handshake(bytes: number): Buffer {
  const datagram = Buffer.alloc(bytes);
  datagram.writeUInt32LE(bytes === 148 ? 1 : 2, 0);
  return datagram;
}
