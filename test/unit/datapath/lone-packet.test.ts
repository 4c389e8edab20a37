/** What a lone packet waits for before it leaves, and what a burst costs: the system calls of the way out, in their order. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PacketPathHarness, PeerSocket } from '../../helpers/packet-path.ts';
import { ipv4Packet } from '../../helpers/packets.ts';

let calls: string[] = [];
let path: PacketPathHarness;
let peer: PeerSocket;

beforeEach(() => {
  path = new PacketPathHarness({
    onRead: (hasPacket) => calls.push(hasPacket ? 'read' : 'read in vain'),
    underlay: {
      refuse: ({ bytes }) => {
        calls.push(`send ${bytes}`);
        return 0;
      },
    },
  });
  peer = new PeerSocket('127.0.0.2', path.node);
  path.load([{ address: '127.0.0.2', port: peer.port }], { '10.42.1.0/24': 'local', '10.42.2.0/24': 0 });
  calls = [];
});
afterEach(() => {
  for (const one of [path, peer]) one.close();
});

const packet = (bytes = 100) => ipv4Packet('10.42.1.2', '10.42.2.2', { bytes });
const packets = (count: number, bytes?: number) => Array.from({ length: count }, () => packet(bytes));

/** What a turn with these packets does. */
function turn(...sent: Uint8Array[]): string[] {
  calls = [];
  path.fromPods(...sent);
  return calls;
}

it('a lone packet after a lone one is sent before another is looked for', () => {
  turn(packet());
  for (let i = 0; i < 3; i++) expect(turn(packet())).toEqual(['read', 'send 108', 'read in vain']);
  expect(path.drops()).toEqual({});
});

it('a burst leaves in one send', () => {
  turn(...packets(3));
  expect(turn(...packets(8))).toEqual([...Array(8).fill('read'), 'read in vain', 'send 864']);
});

it('of a burst after a lone packet one leaves ahead, once', () => {
  turn(packet());
  const rest = [...Array(7).fill('read'), 'read in vain', 'send 756'];
  expect(turn(...packets(8))).toEqual(['read', 'send 108', ...rest]);
  expect(turn(...packets(7))).toEqual(rest);
});

it('a full turn is one send, whatever was before', () => {
  turn(packet());
  turn(...packets(64));
  expect(turn(...packets(64)).filter((call) => call.startsWith('send'))).toEqual(['send 6912']);
});

it('what is dropped is no reason to send', () => {
  turn(packet());
  expect(turn(ipv4Packet('10.42.1.2', '10.42.9.9'))).toEqual(['read', 'read in vain']);
  expect(turn(packet())).toEqual(['read', 'send 108', 'read in vain']);
});
