import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FULL_WAIT_MS, WAKE_GRACE_MS } from '../../../src/datapath/turn.ts';
import { EAGAIN, EINTR, EMSGSIZE } from '../../../src/sys/constants.ts';
import { writePathProbe } from '../../../src/wire/icmp-echo.ts';
import {
  OVERHEAD_BYTES,
  PacketPathHarness,
  PeerSocket,
  PROBE_IDENTIFIER,
  type SentMessage,
} from '../../helpers/packet-path.ts';
import { ipv4Packet, ipv6Packet, vxlanGpe } from '../../helpers/packets.ts';

// The node under test owns 10.42.1.0/24 and fd42:0:0:1::/64; peer B owns .2, peer C owns .3.
const TO_B = ipv4Packet('10.42.1.2', '10.42.2.2');
const FROM_B = ipv4Packet('10.42.2.2', '10.42.1.2');
const TO_B6 = ipv6Packet('fd42:0:0:1::2', 'fd42:0:0:2::2');
const FROM_B6 = ipv6Packet('fd42:0:0:2::2', 'fd42:0:0:1::2');

let path: PacketPathHarness;
let peerB: PeerSocket;
let peerC: PeerSocket;
let stranger: PeerSocket;

beforeEach(() => {
  path = new PacketPathHarness();
  peerB = new PeerSocket('127.0.0.2', path.node);
  peerC = new PeerSocket('127.0.0.3', path.node);
  stranger = new PeerSocket('127.0.0.4', path.node);
  load();
});

function load(): void {
  path.load(
    [
      { address: '127.0.0.2', port: peerB.port },
      { address: '127.0.0.3', port: peerC.port },
    ],
    {
      '10.42.1.0/24': 'local',
      'fd42:0:0:1::/64': 'local',
      '10.42.2.0/24': 0,
      'fd42:0:0:2::/64': 0,
      '10.42.3.0/24': 1,
      'fd42:0:0:3::/64': 1,
    },
  );
}

afterEach(() => {
  for (const one of [path, peerB, peerC, stranger]) one.close();
});

describe('outbound', () => {
  it('encapsulates IPv4 and IPv6 to the peer that owns the destination', () => {
    path.fromPods(TO_B, TO_B6, ipv4Packet('10.42.1.2', '10.42.3.9'));
    expect(peerB.receive()).toEqual(Buffer.from(vxlanGpe(TO_B)));
    expect(peerB.receive()).toEqual(Buffer.from(vxlanGpe(TO_B6)));
    expect(peerB.receive()).toBeUndefined();
    expect(peerC.receive()?.subarray(8)).toEqual(Buffer.from(ipv4Packet('10.42.1.2', '10.42.3.9')));
    expect(path.drops()).toEqual({});
    expect(path.counters.totals()).toMatchObject({ outboundPackets: 3, outboundBytes: 60 + 80 + 60 });
    expect(path.counters.vtep(0)).toMatchObject({ outboundPackets: 2, outboundBytes: 140 });
  });

  it('reads at most 64 packets in a turn, the rest in the next, and keeps the order', () => {
    const packets = Array.from({ length: 150 }, (_, i) =>
      ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 30 + i }),
    );
    path.intoTun(...packets.map((packet) => ({ packet, virtio: {} })));
    const turns: number[] = [];
    const sent: Buffer[] = [];
    for (let errno = 0; errno === 0; ) {
      errno = path.drainTun();
      const datagrams = peerB.receiveAll();
      turns.push(datagrams.length);
      sent.push(...datagrams);
    }
    expect(turns).toEqual([64, 64, 22]);
    expect(sent.map((datagram) => datagram.subarray(8))).toEqual(packets.map((one) => Buffer.from(one)));
  });

  it('answers a packet that nobody owns with "unreachable"', () => {
    path.fromPods(ipv4Packet('10.42.1.2', '10.42.9.9'), ipv6Packet('fd42:0:0:1::2', 'fd42:0:0:9::9'));
    const [reply4, reply6] = path.toPods();
    expect(reply4?.subarray(12, 22).toString('hex')).toBe('0a2a09090a2a01020300');
    expect(reply4?.subarray(28, 48)).toEqual(
      Buffer.from(ipv4Packet('10.42.1.2', '10.42.9.9').subarray(0, 20)),
    );
    expect(reply6?.subarray(40, 42).toString('hex')).toBe('0100');
    expect(path.drops()).toEqual({ 'outbound-no-route': 2 });
  });

  it('answers over IPv4 in the name of the destination: its own address would be a martian', () => {
    path.fromPods(ipv4Packet('10.42.1.1', '10.42.9.9'), ipv4Packet('10.42.1.2', '10.42.9.9'));
    const [own, pods] = path.toPods();
    expect(own?.subarray(12, 20).toString('hex')).toBe('0a2a09090a2a0101');
    expect(pods?.subarray(12, 20).toString('hex')).toBe('0a2a09090a2a0102');
  });

  it('limits the rate of its answers', () => {
    const lost = ipv4Packet('10.42.1.2', '10.42.9.9');
    const sendMany = () => {
      let answers = 0;
      for (let i = 0; i < 50; i++) {
        path.fromPods(...Array.from({ length: 8 }, () => lost));
        answers += path.toPods().length;
      }
      return answers;
    };
    expect(sendMany()).toBe(200);
    expect(sendMany()).toBe(0);
    path.nowMs += 500;
    expect(sendMany()).toBe(100);
  });

  it('limits them for each source and each kind apart: a pod that floods silences no other', () => {
    path.vteps.lowerMtu(0, 1000);
    const flood = (packet: Uint8Array) => {
      let answers = 0;
      for (let i = 0; i < 50; i++) {
        path.fromPods(...Array.from({ length: 8 }, () => packet));
        answers += path.toPods().length;
      }
      return answers;
    };
    expect(flood(ipv4Packet('10.42.1.2', '10.42.9.9'))).toBe(200);
    expect(flood(ipv6Packet('fd42:0:0:1::2', 'fd42:0:0:9::9'))).toBe(200);
    const replyType = (packet: Uint8Array) => {
      path.fromPods(packet);
      const [reply] = path.toPods();
      return reply?.readUInt16BE(reply[0]! >> 4 === 4 ? 20 : 40);
    };
    const bigTo = { bytes: 1400 };
    // Another pod's, in both families, and the other kind of error for the same pod.
    expect(replyType(ipv4Packet('10.42.1.3', '10.42.2.2', bigTo))).toBe(0x0304);
    expect(replyType(ipv6Packet('fd42:0:0:1::3', 'fd42:0:0:2::2', bigTo))).toBe(0x0200);
    expect(replyType(ipv4Packet('10.42.1.2', '10.42.2.2', bigTo))).toBe(0x0304);
    expect(replyType(ipv4Packet('10.42.1.3', '10.42.9.9'))).toBe(0x0300);
    // What floods "too big" itself goes short of it alone.
    expect(flood(ipv4Packet('10.42.1.2', '10.42.2.2', bigTo))).toBe(199);
    expect(replyType(ipv4Packet('10.42.1.4', '10.42.2.2', bigTo))).toBe(0x0304);
  });

  it('answers DF packets over the path MTU, until control says another', () => {
    path.vteps.lowerMtu(0, 1000);
    const big = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1001 });
    path.fromPods(
      big,
      ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1000 }),
      ipv6Packet('fd42:0:0:1::2', 'fd42:0:0:2::2', { bytes: 1400 }),
    );
    const [reply4, reply6] = path.toPods();
    expect(reply4?.readUInt16BE(20)).toBe(0x0304);
    expect(reply4?.readUInt16BE(26)).toBe(1000);
    expect(reply6?.readUInt16BE(40)).toBe(0x0200);
    expect(reply6?.readUInt32BE(44)).toBe(1280);
    expect(path.drops()).toEqual({ 'outbound-too-big': 2 });
    expect(peerB.receive()?.length).toBe(1008);
    expect(peerB.receive()).toBeUndefined();
    load();
    path.fromPods(big);
    expect(peerB.receive()?.length).toBe(1009);
  });

  const probe = (source: string, identifier = PROBE_IDENTIFIER, isRequest = true, bytes = 1400) => {
    const packet = ipv4Packet(source, '10.42.2.1', { bytes, dontFragment: false });
    packet[9] = 1;
    writePathProbe(new DataView(packet.buffer), 20, 4, bytes - 20, identifier, 1n);
    if (!isRequest) packet[20] = 0;
    packet[6] = 0x40;
    return packet;
  };

  it('lets probes of the path through whole, and nothing that only looks like one', () => {
    path.vteps.lowerMtu(0, 1000);
    path.fromPods(probe('10.42.1.1'));
    expect(peerB.receive()?.length).toBe(1408);
    // A pod's, another program's, an answer; and what is no echo at all.
    path.fromPods(probe('10.42.1.2'), probe('10.42.1.1', PROBE_IDENTIFIER + 1));
    path.fromPods(probe('10.42.1.1', PROBE_IDENTIFIER, false));
    path.fromPods(ipv4Packet('10.42.1.1', '10.42.2.1', { bytes: 1400 }));
    expect(peerB.receive()).toBeUndefined();
    expect(path.drops()).toEqual({ 'outbound-too-big': 4 });
  });

  it('sends probes of the path in no group, which links between virtual machines drop as a whole', () => {
    const small = probe('10.42.1.1', PROBE_IDENTIFIER, true, 100);
    path.fromPods(probe('10.42.1.1'), small, probe('10.42.1.1'), TO_B);
    path.fromPods(ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1400 }), small);
    expect(path.counters.grouped(0)).toBe(0);
    // What only looks like one may.
    path.fromPods(probe('10.42.1.2'), probe('10.42.1.2', PROBE_IDENTIFIER, true, 100));
    expect(path.counters.grouped(0)).toBe(2);
    expect(peerB.receiveAll().length).toBe(8);
  });

  it('lets an answer to a probe be divided if the probe asks for that, and no other', () => {
    const answer = (token: bigint, source = '10.42.1.1') => {
      const packet = probe(source, 7, false);
      packet[6] = 0;
      new DataView(packet.buffer).setBigUint64(32, token);
      return packet;
    };
    const toldBefore = path.socketCalls.allowFragmentation;
    path.fromPods(answer(2n), answer(3n, '10.42.1.2'));
    expect(path.socketCalls.allowFragmentation).toBe(toldBefore);
    path.fromPods(answer(3n));
    expect(path.socketCalls.allowFragmentation).toBe(toldBefore + 1);
    expect(peerB.receiveAll().length).toBe(3);
    expect(path.drops()).toEqual({});
  });

  it('lets a packet without DF through whatever the path MTU, and IPv6 up to 1280 bytes', () => {
    path.vteps.lowerMtu(0, 1000);
    path.fromPods(
      ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1400, dontFragment: false }),
      ipv6Packet('fd42:0:0:1::2', 'fd42:0:0:2::2', { bytes: 1280 }),
    );
    expect([peerB.receive()?.length, peerB.receive()?.length]).toEqual([1408, 1288]);
    expect(path.drops()).toEqual({});
  });

  it.each([
    ['outbound-foreign-source', ipv4Packet('192.0.2.1', '10.42.2.2')],
    ['outbound-foreign-source', ipv6Packet('2001:db8::1', 'fd42:0:0:2::2')],
    ['outbound-foreign-source', ipv4Packet('10.42.3.2', '10.42.2.2')],
    ['outbound-not-unicast', ipv4Packet('10.42.1.2', '224.0.0.1')],
    ['outbound-not-unicast', ipv4Packet('10.42.1.2', '255.255.255.255')],
    ['outbound-not-unicast', ipv6Packet('fd42:0:0:1::2', 'ff02::1')],
    ['outbound-not-unicast', ipv6Packet('fd42:0:0:1::2', 'fe80::1')],
    ['outbound-malformed', Uint8Array.of(0x45, 0)],
    ['outbound-malformed', Uint8Array.of(0x00)],
    ['outbound-malformed', TO_B.subarray(0, 40)],
    ['outbound-malformed', TO_B6.subarray(0, 41)],
  ])('drops and counts %s', (reason, packet) => {
    path.fromPods(packet);
    expect(path.drops()).toEqual({ [reason]: 1 });
    expect(peerB.receive() ?? peerC.receive()).toBeUndefined();
  });
});

describe('inbound', () => {
  it('delivers IPv4 and IPv6 from the peer that owns the source', () => {
    peerB.send(vxlanGpe(FROM_B));
    peerB.send(vxlanGpe(FROM_B6));
    path.receive();
    expect(path.toPods()).toEqual([Buffer.from(FROM_B), Buffer.from(FROM_B6)]);
    expect(path.drops()).toEqual({});
    expect(path.counters.vtep(0)).toMatchObject({ inboundPackets: 2, inboundBytes: 140 });
  });

  it('cuts bytes behind the end of the inner packet', () => {
    peerB.send(Uint8Array.from([...vxlanGpe(FROM_B), 1, 2, 3]));
    path.receive();
    expect(path.toPods()).toEqual([Buffer.from(FROM_B)]);
  });

  it('takes packets from any port of a peer (RFC 7348, section 5: the source port varies)', () => {
    const otherPort = new PeerSocket('127.0.0.2', path.node);
    otherPort.send(vxlanGpe(FROM_B));
    path.receive();
    otherPort.close();
    expect(path.toPods()).toHaveLength(1);
  });

  it('takes at most 64 messages in a turn, so one direction does not wait for the end of the other', () => {
    const outbound = Array.from({ length: 70 }, (_, i) =>
      ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 60 + i }),
    );
    const inbound = Array.from({ length: 140 }, (_, i) =>
      ipv4Packet('10.42.2.2', '10.42.1.2', { bytes: 60 + i }),
    );
    path.intoTun(...outbound.map((packet) => ({ packet, virtio: {} })));
    for (const packet of inbound) peerB.send(vxlanGpe(packet));
    const turns: [number, number][] = [];
    const [sent, written]: [Buffer[], Buffer[]] = [[], []];
    for (let turn = 0; turn < 3; turn++) {
      path.drainTun();
      path.receive();
      const [out, into] = [peerB.receiveAll(), path.toPods()];
      turns.push([out.length, into.length]);
      sent.push(...out);
      written.push(...into);
    }
    expect(turns).toEqual([
      [64, 64],
      [6, 64],
      [0, 12],
    ]);
    expect(sent.map((datagram) => datagram.subarray(8))).toEqual(outbound.map((one) => Buffer.from(one)));
    expect(written).toEqual(inbound.map((one) => Buffer.from(one)));
  });

  it('drops what is truncated, at every length', () => {
    for (const whole of [vxlanGpe(FROM_B), vxlanGpe(FROM_B6)]) {
      for (let bytes = 0; bytes < whole.length; bytes++) {
        const before = path.drops();
        peerB.send(whole.subarray(0, bytes));
        path.receive();
        const reason = bytes < 8 ? 'inbound-truncated' : 'inbound-malformed';
        expect(path.drops()[reason], `${bytes} bytes`).toBe((before[reason] ?? 0) + 1);
      }
    }
    expect(path.toPods()).toEqual([]);
  });

  it.each([
    ['inbound-wrong-vni', vxlanGpe(FROM_B, { vni: 43 })],
    ['inbound-wrong-vni', vxlanGpe(FROM_B, { vni: 0 })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { lastByte: 1 })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { reserved: 1 })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { reserved: 0x8000 })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { flags: 0x0d })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { flags: 0x0e })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { flags: 0x1c })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { flags: 0x08 })],
    ['inbound-bad-header', vxlanGpe(FROM_B, { flags: 0x04 })],
    ['inbound-unknown-protocol', vxlanGpe(FROM_B, { nextProtocol: 3 })],
    ['inbound-malformed', vxlanGpe(FROM_B, { nextProtocol: 2 })],
    ['inbound-malformed', vxlanGpe(FROM_B6, { nextProtocol: 1 })],
    ['inbound-foreign-source', vxlanGpe(ipv4Packet('10.42.3.2', '10.42.1.2'))],
    ['inbound-foreign-source', vxlanGpe(ipv4Packet('10.42.1.9', '10.42.1.2'))],
    ['inbound-foreign-source', vxlanGpe(ipv4Packet('192.0.2.1', '10.42.1.2'))],
    ['inbound-foreign-source', vxlanGpe(ipv6Packet('fd42:0:0:3::2', 'fd42:0:0:1::2'))],
    ['inbound-not-local', vxlanGpe(ipv4Packet('10.42.2.2', '10.42.3.2'))],
    ['inbound-not-local', vxlanGpe(ipv4Packet('10.42.2.2', '192.0.2.1'))],
    ['inbound-not-local', vxlanGpe(ipv4Packet('10.42.2.2', '255.255.255.255'))],
    ['inbound-not-local', vxlanGpe(ipv6Packet('fd42:0:0:2::2', 'ff02::1'))],
  ])('drops and counts %s', (reason, datagram) => {
    peerB.send(datagram);
    path.receive();
    expect(path.toPods()).toEqual([]);
    expect(path.drops()).toEqual({ [reason]: 1 });
  });

  it('drops everything from an address that is no VTEP', () => {
    stranger.send(vxlanGpe(FROM_B));
    stranger.send(Uint8Array.of(1));
    path.receive();
    expect(path.toPods()).toEqual([]);
    expect(path.drops()).toEqual({ 'inbound-unknown-source': 2 });
  });

  it('drops a peer that is gone from the forwarding state', () => {
    path.load([{ address: '127.0.0.3', port: peerC.port }], { '10.42.1.0/24': 'local', '10.42.3.0/24': 0 });
    peerB.send(vxlanGpe(FROM_B));
    path.receive();
    expect(path.drops()).toEqual({ 'inbound-unknown-source': 1 });
  });

  it('delivers nothing but whole packets of the right source, whatever bytes come', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 120 }),
          fc.uint8Array({ maxLength: 120 }).map((inner) => vxlanGpe(inner)),
          fc.tuple(fc.nat(FROM_B.length + 7), fc.nat(255)).map(([at, value]) => {
            const mutated = vxlanGpe(FROM_B);
            mutated[at] = value;
            return mutated;
          }),
        ),
        (datagram) => {
          peerB.send(datagram);
          path.receive();
          for (const packet of path.toPods()) {
            expect(packet[0]! >> 4 === 4 ? packet.subarray(12, 15).toString('hex') : 'not IPv4').toBe(
              '0a2a02',
            );
            expect(packet.subarray(16, 19).toString('hex')).toBe('0a2a01');
            expect(packet.length).toBe(packet.readUInt16BE(2));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('backpressure', () => {
  const owners = { '10.42.1.0/24': 'local', '10.42.2.0/24': 0, '10.42.3.0/24': 1 } as const;
  const TO_C = ipv4Packet('10.42.1.2', '10.42.3.2');
  const TOO_LONG_MS = 1000;

  interface Setting {
    readonly own: PacketPathHarness;
    readonly peer: PeerSocket;
    readonly other: PeerSocket;
    /** Ports whose messages meet a full socket, until they are taken out. */
    readonly stuck: Set<number>;
  }

  /** A path of its own with peers at 127.0.0.2 and .3, for the time of one test. */
  function withPath(
    onWait: (setting: Setting, timeoutMs: number, watchesWake: boolean) => boolean,
    test: (setting: Setting) => void,
    options: ConstructorParameters<typeof PacketPathHarness>[0] = {},
  ): void {
    const stuck = new Set<number>();
    const own = new PacketPathHarness({
      underlay: { refuse: ({ port }) => (stuck.has(port) ? EAGAIN : 0) },
      onWait: (timeoutMs, watchesWake) => onWait(setting, timeoutMs, watchesWake),
      ...options,
    });
    const peer = new PeerSocket('127.0.0.2', own.node);
    const other = new PeerSocket('127.0.0.3', own.node);
    const setting = { own, peer, other, stuck };
    own.load(
      [
        { address: '127.0.0.2', port: peer.port },
        { address: '127.0.0.3', port: other.port },
      ],
      owners,
    );
    stuck.add(peer.port);
    try {
      test(setting);
    } finally {
      for (const one of [own, peer, other]) one.close();
    }
  }

  /** Packets to one peer that leave in a message each: the next is longer. */
  const messagesTo = (destination: string, count: number) =>
    Array.from({ length: count }, (_, i) => ipv4Packet('10.42.1.2', destination, { bytes: 30 + i }));

  it('waits for a full socket and loses nothing', () => {
    let waits = 0;
    withPath(
      ({ stuck, peer }) => {
        if (++waits === 3) stuck.delete(peer.port);
        return false;
      },
      ({ own, peer }) => {
        own.fromPods(TO_B, TO_B, TO_B);
        expect(peer.receiveAll()).toHaveLength(3);
        expect(own.drops()).toEqual({});
      },
    );
  });

  it('waits once in all for a socket that stays full, and counts every packet it did not take', () => {
    withPath(
      () => false,
      ({ own, peer, stuck }) => {
        own.fromPods(...messagesTo('10.42.2.2', 40));
        expect(own.nowMs).toBe(FULL_WAIT_MS);
        expect(own.drops()).toEqual({ 'outbound-send-failed': 40 });
        stuck.clear();
        own.fromPods(TO_B);
        expect(peer.receiveAll()).toHaveLength(1);
      },
    );
  });

  it('keeps the packets to other peers no longer than that one wait, and loses none of them', () => {
    withPath(
      () => false,
      ({ own, other }) => {
        const mixed = messagesTo('10.42.2.2', 20).flatMap((stuck) => [stuck, TO_C]);
        own.fromPods(...mixed);
        expect(other.receiveAll()).toHaveLength(20);
        expect(own.nowMs).toBe(FULL_WAIT_MS);
        expect(own.drops()).toEqual({ 'outbound-send-failed': 20 });
      },
    );
  });

  it('leaves in the TUN what it had not read before it had to wait', () => {
    const large = Array.from({ length: 4 }, () => ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 62_000 }));
    withPath(
      ({ stuck }) => {
        stuck.clear();
        return false;
      },
      ({ own, peer, stuck }) => {
        own.fromPods(...large.slice(0, 3));
        stuck.add(peer.port);
        own.fromPods(large[3]!);
        expect(own.drops()).toEqual({});
        expect(peer.receiveAll()).toHaveLength(2);
      },
      { mtu: 65_000 },
    );
  });

  it('cuts the wait short when the control thread wants to be heard, and asks no more', () => {
    const watched: boolean[] = [];
    withPath(
      (_setting, _timeoutMs, watchesWake) => {
        watched.push(watchesWake);
        return watchesWake && watched.length === 10;
      },
      ({ own }) => {
        own.fromPods(...messagesTo('10.42.2.2', 40));
        expect(watched.indexOf(false)).toBe(10);
        expect(watched.slice(10)).not.toContain(true);
        expect(own.nowMs).toBeLessThan(TOO_LONG_MS);
        expect(own.nowMs).toBeLessThanOrEqual(20 + WAKE_GRACE_MS);
        expect(own.drops()).toEqual({ 'outbound-send-failed': 40 });
        own.fromPods(TO_B);
        expect(watched.at(-1), 'the next turn listens again').toBe(true);
      },
    );
  });

  it('waits for a full TUN and loses nothing', () => {
    // The socket pair in the TUN's place takes some 200 KB; waiting for it means that the pods read.
    const large = ipv4Packet('10.42.2.2', '10.42.1.2', { bytes: 60_000 });
    let seen = 0;
    withPath(
      ({ own }) => {
        seen += own.toPods().length;
        return false;
      },
      ({ own, peer }) => {
        for (let i = 0; i < 12; i++) peer.send(vxlanGpe(large));
        for (let i = 0; i < 12; i++) own.receive();
        seen += own.toPods().length;
        expect(seen).toBe(12);
        expect(own.drops()).toEqual({});
      },
      { mtu: 65_000 },
    );
  });

  it('waits once for a TUN that stays full, however many flows are to be written', () => {
    withPath(
      () => false,
      ({ own, peer }) => {
        for (let i = 0; i < 10; i++) peer.send(vxlanGpe(FROM_B));
        own.receive();
        expect(own.nowMs).toBe(FULL_WAIT_MS);
        expect(own.drops()).toEqual({ 'inbound-write-failed': 10 });
      },
      { refuseWrite: () => EAGAIN },
    );
  });
});

describe('turns', () => {
  const owners = { '10.42.1.0/24': 'local', '10.42.2.0/24': 0 } as const;
  /** How many packets of this size make a turn of 256 KB full. */
  const BYTES = 62_000;
  const PACKETS = 5;

  it('end outbound after so many bytes, however much there is to read', () => {
    const packet = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: BYTES });
    const own = new PacketPathHarness({
      mtu: 65_000,
      underlay: {
        refuse: () => {
          // Whenever one is sent, there is another to read.
          own.intoTun({ packet, virtio: {} });
          return 0;
        },
      },
    });
    const peer = new PeerSocket('127.0.0.2', own.node);
    own.load([{ address: '127.0.0.2', port: peer.port }], owners);
    own.fromPods(packet);
    expect(peer.receiveAll()).toHaveLength(PACKETS);
    own.close();
    peer.close();
  });

  it('end inbound after so many bytes, received and written one by one', () => {
    const packet = ipv4Packet('10.42.2.2', '10.42.1.2', { bytes: BYTES });
    let seen = 0;
    const own = new PacketPathHarness({
      mtu: 65_000,
      refuseWrite: () => {
        seen += own.toPods().length;
        return 0;
      },
    });
    const peer = new PeerSocket('127.0.0.2', own.node);
    own.load([{ address: '127.0.0.2', port: peer.port }], owners);
    const receive = () => {
      own.receive();
      seen += own.toPods().length;
    };
    // After a large message the next are received one by one.
    peer.send(vxlanGpe(packet));
    receive();
    expect(seen).toBe(1);
    for (let i = 0; i < PACKETS + 2; i++) peer.send(vxlanGpe(packet));
    receive();
    expect(seen).toBe(1 + PACKETS);
    receive();
    expect(seen).toBe(1 + PACKETS + 2);
    own.close();
    peer.close();
  });
});

describe('datagrams over the path MTU', () => {
  const MAY_FRAGMENT = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1400, dontFragment: false });
  const WHOLE = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1400 });

  /** A path of its own with a peer at 127.0.0.2, for the time of one test. */
  function withKernel(
    options: ConstructorParameters<typeof PacketPathHarness>[0],
    test: (own: PacketPathHarness, peer: PeerSocket) => void,
  ): void {
    const own = new PacketPathHarness(options);
    const peer = new PeerSocket('127.0.0.2', own.node);
    own.load([{ address: '127.0.0.2', port: peer.port }], { '10.42.1.0/24': 'local', '10.42.2.0/24': 0 });
    try {
      test(own, peer);
    } finally {
      own.close();
      peer.close();
    }
  }

  it('wait for a full socket too where they may be fragmented, in one run for all', () => {
    const errnos = [EAGAIN, EINTR, EAGAIN];
    withKernel({ underlay: { refuse: () => errnos.shift() ?? 0 } }, (own, peer) => {
      own.vteps.lowerMtu(0, 1000);
      const before = own.socketCalls.allowFragmentation;
      own.fromPods(MAY_FRAGMENT, MAY_FRAGMENT, MAY_FRAGMENT, TO_B);
      expect(peer.receiveAll().map(({ length }) => length)).toEqual([1408, 1408, 1408, 68]);
      own.fromPods(TO_B);
      expect(own.drops()).toEqual({});
      expect(own.socketCalls.allowFragmentation).toBe(before + 2);
    });
  });

  it('are counted where the kernel will not fragment, and nothing is thrown', () => {
    const underlay = { allowsFragmentation: false, refuse: () => EMSGSIZE };
    withKernel({ underlay }, (own) => {
      own.vteps.lowerMtu(0, 1000);
      own.fromPods(MAY_FRAGMENT, MAY_FRAGMENT);
      expect(own.drops()).toEqual({ 'outbound-send-failed': 2 });
    });
  });

  it.each([
    ['nothing', 0, 1399],
    ['what would have let them through', 9000, 1399],
    ['what fits', 1200 + OVERHEAD_BYTES, 1200],
  ])('lower the MTU when the kernel tells %s', (_what, linkMtu, learned) => {
    const refuse = ({ bytes }: SentMessage) => (bytes > 1308 ? EMSGSIZE : 0);
    withKernel({ underlay: { refuse, linkMtu: () => linkMtu } }, (own, peer) => {
      own.fromPods(WHOLE);
      expect(own.vteps.mtu(0)).toBe(learned);
      expect(own.toPods()[0]?.readUInt16BE(26)).toBe(learned);
      expect(peer.receiveAll()).toHaveLength(0);
      expect(own.drops()).toEqual({ 'outbound-too-big': 1 });
    });
  });
});

describe('an IPv6 underlay', () => {
  it('carries both families, and knows its VTEPs', () => {
    const path6 = new PacketPathHarness({ address: '::1' });
    const peer = new PeerSocket('::1', path6.node);
    const owners = {
      '10.42.1.0/24': 'local',
      '10.42.2.0/24': 0,
      'fd42:0:0:1::/64': 'local',
      'fd42:0:0:2::/64': 0,
    } as const;
    path6.load([{ address: '::1', port: peer.port }], owners);
    path6.fromPods(TO_B, TO_B6);
    expect(peer.receive()).toEqual(Buffer.from(vxlanGpe(TO_B)));
    expect(peer.receive()).toEqual(Buffer.from(vxlanGpe(TO_B6)));
    peer.send(vxlanGpe(FROM_B6));
    path6.receive();
    expect(path6.toPods()).toEqual([Buffer.from(FROM_B6)]);
    path6.load([{ address: '2001:db8::1', port: peer.port }], owners);
    peer.send(vxlanGpe(FROM_B6));
    path6.receive();
    expect(path6.drops()).toEqual({ 'inbound-unknown-source': 1 });
    peer.close();
    path6.close();
  });
});
