/** A VTEP that groups of datagrams do not reach whole: it is sent single ones, but for what finds out whether they do again. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { VTEP_SENT_SINGLY } from '../../../src/datapath/forwarding.ts';
import { PacketPathHarness, PeerSocket, type SentMessage } from '../../helpers/packet-path.ts';
import { bytesOf, overIpv6, superpacket } from '../../helpers/superpackets.ts';
import { baseSegment, type Segment } from '../../helpers/transport-packets.ts';

const PROBE_PORT = 40_123;
const OWN = '10.42.1.1';
const DATAGRAM_BYTES = 500;

let path: PacketPathHarness;
let peers: PeerSocket[];
/** Whether each message was a group. */
let groups: boolean[];

beforeEach(() => {
  groups = [];
  const refuse = ({ segmentBytes }: SentMessage) => {
    groups.push(segmentBytes > 0);
    return 0;
  };
  path = new PacketPathHarness({ mtu: 9000, underlay: { refuse } });
  peers = ['127.0.0.2', '127.0.0.3'].map((address) => new PeerSocket(address, path.node));
  load(VTEP_SENT_SINGLY);
});
afterEach(() => {
  path.close();
  for (const peer of peers) peer.close();
});

function load(flags: number): void {
  const [broken, other] = peers.map(({ port }) => port) as [number, number];
  path.load(
    [
      { address: '127.0.0.2', port: broken, flags },
      { address: '127.0.0.3', port: other },
    ],
    {
      '10.42.1.0/24': 'local',
      'fd42:0:0:1::/64': 'local',
      '10.42.2.0/24': 0,
      'fd42:0:0:2::/64': 0,
      '10.42.3.0/24': 1,
    },
    PROBE_PORT,
  );
}

function send(facts: Partial<Segment>, isIpv6 = false): void {
  const segment: Segment = {
    ...baseSegment,
    protocol: 'udp',
    flags: 0,
    payload: bytesOf(4 * DATAGRAM_BYTES),
    ...facts,
  };
  path.fromTun(superpacket(isIpv6 ? overIpv6(segment) : segment, DATAGRAM_BYTES));
}

describe.each([
  ['IPv4', false],
  ['IPv6', true],
])('of %s', (_family, isIpv6) => {
  it('each datagram leaves by itself, and none is counted as one of a group', () => {
    send({}, isIpv6);
    expect(groups).toEqual([false, false, false, false]);
    expect(peers[0]!.receiveAll()).toHaveLength(4);
    expect(path.counters.grouped(0)).toBe(0);
  });

  it("this node's own probes leave as a group, and nobody else's", () => {
    send({ source: OWN, sourcePort: PROBE_PORT }, isIpv6);
    expect(groups).toEqual([true]);
    expect(path.counters.grouped(0)).toBe(4);
    for (const facts of [
      { source: OWN },
      { sourcePort: PROBE_PORT },
      { source: OWN, destinationPort: PROBE_PORT },
      { source: OWN, sourcePort: PROBE_PORT, protocol: 'tcp' as const, flags: baseSegment.flags },
    ]) {
      groups.length = 0;
      send(facts, isIpv6);
      expect(groups, JSON.stringify(facts)).not.toContain(true);
    }
  });
});

it('no pod gets its packet into the group of a probe', () => {
  const probe = { ...baseSegment, protocol: 'udp' as const, flags: 0, source: OWN, sourcePort: PROBE_PORT };
  path.fromTun(
    superpacket({ ...probe, payload: bytesOf(2 * DATAGRAM_BYTES) }, DATAGRAM_BYTES),
    superpacket({ ...probe, source: '10.42.1.2', payload: bytesOf(DATAGRAM_BYTES) }, 0),
    superpacket({ ...probe, payload: bytesOf(2 * DATAGRAM_BYTES) }, DATAGRAM_BYTES),
  );
  expect(groups).toEqual([true, false, true]);
  expect(path.counters.grouped(0)).toBe(4);
});

it('is a matter of one VTEP', () => {
  send({ destination: '10.42.3.2' });
  expect(groups).toEqual([true]);
  expect(path.counters.grouped(1)).toBe(4);
  expect(path.counters.grouped(0)).toBe(0);
});
