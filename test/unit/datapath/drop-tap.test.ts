/** What the packet path drops is handed out with what it was, as often as it is counted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DROPPED, type DroppedPacket, DropRing } from '../../../src/datapath/drop-ring.ts';
import { DROP_NAMES } from '../../../src/datapath/drops.ts';
import { EMSGSIZE } from '../../../src/sys/constants.ts';
import { PacketPathHarness, PeerSocket } from '../../helpers/packet-path.ts';
import { ipv4Packet, ipv6Packet, vxlanGpe } from '../../helpers/packets.ts';

let path: PacketPathHarness;
let peer: PeerSocket;
let ring: DropRing;

function open(options: ConstructorParameters<typeof PacketPathHarness>[0] = {}): void {
  path = new PacketPathHarness(options);
  peer = new PeerSocket('127.0.0.2', path.node);
  ring = new DropRing();
  path.dropTap.load([ring.shared]);
  path.load([{ address: '127.0.0.2', port: peer.port }], { '10.42.1.0/24': 'local', '10.42.2.0/24': 0 });
}

beforeEach(() => open());
afterEach(() => {
  path.close();
  peer.close();
});

function taken(): DroppedPacket[] {
  const all: DroppedPacket[] = [];
  for (let next = ring.take(); next; next = ring.take()) all.push(next);
  return all;
}

function shown(): [string, number, Uint8Array][] {
  return taken().map(({ reason, kind, bytes }) => [DROP_NAMES[reason]!, kind, bytes]);
}

describe('outbound', () => {
  it('what has no way, no place here or no sense', () => {
    const lost = ipv4Packet('10.42.1.2', '10.42.9.9');
    const foreign = ipv4Packet('10.99.1.2', '10.42.2.2');
    const broken = new Uint8Array([0x99, 1, 2, 3]);
    path.fromPods(lost, foreign, broken, ipv4Packet('10.42.1.2', '10.42.2.2'));
    expect(shown()).toEqual([
      ['outbound-no-route', DROPPED.outbound, lost],
      ['outbound-foreign-source', DROPPED.outbound, foreign],
      ['outbound-malformed', DROPPED.outbound, broken],
    ]);
  });

  it('what is too long, and what the kernel refuses', () => {
    const long = ipv4Packet('10.42.1.2', '10.42.2.2', { bytes: 1600 });
    path.fromPods(long);
    expect(shown()).toEqual([['outbound-too-big', DROPPED.outbound, long]]);
    path.close();
    peer.close();
    open({
      underlay: {
        refuse: ({ bytes }) => (bytes > 500 ? 13 : bytes > 300 ? EMSGSIZE : 0),
        linkMtu: () => 400,
      },
    });
    const [small, refused] = [400, 600].map((bytes) => ipv4Packet('10.42.1.2', '10.42.2.2', { bytes }));
    path.fromPods(small!, refused!);
    expect(shown()).toEqual([
      ['outbound-too-big', DROPPED.outbound, small],
      ['outbound-send-failed', DROPPED.outbound, refused],
    ]);
  });
});

describe('inbound', () => {
  it('a datagram that cannot be opened comes with its sender', () => {
    const stranger = new PeerSocket('127.0.0.4', path.node);
    const datagram = vxlanGpe(ipv4Packet('10.42.2.2', '10.42.1.2'));
    stranger.send(datagram);
    peer.send(new Uint8Array([1, 2, 3]));
    path.receive();
    stranger.close();
    const [unknown, short] = taken();
    expect(DROP_NAMES[unknown!.reason]).toBe('inbound-unknown-source');
    expect(unknown).toMatchObject({ kind: DROPPED.datagram, length: datagram.length });
    expect(unknown!.from).toEqual({ address: new Uint8Array([127, 0, 0, 4]), port: stranger.port });
    expect(unknown!.bytes).toEqual(Uint8Array.from(datagram));
    expect(DROP_NAMES[short!.reason]).toBe('inbound-truncated');
  });

  it('an opened packet comes as what it is, also out of a group', () => {
    const foreign = ipv4Packet('10.42.3.2', '10.42.1.2');
    const elsewhere = ipv4Packet('10.42.2.2', '10.42.8.2');
    const good = ipv4Packet('10.42.2.2', '10.42.1.2');
    peer.sendSegmented([foreign, good, elsewhere].map((packet) => vxlanGpe(packet)));
    peer.send(vxlanGpe(ipv6Packet('fd42::2', 'fd42::1')));
    path.receive();
    expect(shown().slice(0, 2)).toEqual([
      ['inbound-foreign-source', DROPPED.inbound, foreign],
      ['inbound-not-local', DROPPED.inbound, elsewhere],
    ]);
    expect(path.drops()).toEqual({ 'inbound-foreign-source': 2, 'inbound-not-local': 1 });
  });

  it('what the TUN refuses', () => {
    path.close();
    peer.close();
    open({ refuseWrite: () => 5 });
    const good = ipv4Packet('10.42.2.2', '10.42.1.2');
    peer.send(vxlanGpe(good));
    path.receive();
    expect(shown()).toEqual([['inbound-write-failed', DROPPED.inbound, good]]);
  });
});

it('goes to each capture, and to none after the last', () => {
  const other = new DropRing();
  path.dropTap.load([ring.shared, other.shared]);
  const lost = ipv4Packet('10.42.1.2', '10.42.9.9');
  path.fromPods(lost);
  expect([taken().length, other.take()?.bytes]).toEqual([1, lost]);
  path.dropTap.load([]);
  path.fromPods(lost);
  expect([taken(), other.take()]).toEqual([[], undefined]);
});
