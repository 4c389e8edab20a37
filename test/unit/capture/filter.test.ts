import { describe, expect, it } from 'vitest';
import { type CaptureFilter, filterSchema, PacketFilter } from '../../../src/capture/filter.ts';
import { innerAt } from '../../../src/capture/outer.ts';
import { ipv4Packet, ipv6Packet } from '../../helpers/packets.ts';

const EVERYTHING: CaptureFilter = {
  ...{
    sides: ['inner'],
    pods: [],
    peerSubnets: [],
    peerEndpoints: [],
    protocols: [],
    ports: [],
    reasons: [],
  },
};

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function takes(filter: Partial<CaptureFilter>, packet: Uint8Array): boolean {
  return new PacketFilter({ ...EVERYTHING, ...filter }).takesInner(view(packet), 0, packet.length);
}

/** With these ports behind its IP header. */
function withPorts(packet: Uint8Array, headerBytes: number, source: number, destination: number): Uint8Array {
  view(packet).setUint16(headerBytes, source);
  view(packet).setUint16(headerBytes + 2, destination);
  return packet;
}

const v4 = withPorts(ipv4Packet('10.42.1.2', '10.42.7.9'), 20, 4000, 53);
const v6 = withPorts(ipv6Packet('fd42::1:2', 'fd42:0:0:7::9'), 40, 4000, 53);

describe('the filter of inner packets', () => {
  it.each([
    [{}, true, true],
    [{ pods: ['10.42.1.2/32'] }, true, false],
    [{ pods: ['10.42.7.9/32', 'fd42:0:0:7::9/128'] }, true, true],
    [{ pods: ['10.42.7.8/32'] }, false, false],
    [{ peerSubnets: ['10.42.7.0/24'] }, true, false],
    [{ peerSubnets: ['fd42:0:0:7::/64'] }, false, true],
    [{ peerSubnets: ['0.0.0.0/0'] }, true, false],
    [{ protocols: [17] }, true, true],
    [{ protocols: [6, 1] }, false, false],
    [{ ports: [53] }, true, true],
    [{ ports: [4000] }, true, true],
    [{ ports: [54] }, false, false],
    [{ ports: [53], protocols: [6] }, false, false],
    [{ pods: ['10.42.1.2/32'], ports: [53] }, true, false],
  ])('%j takes IPv4: %s, IPv6: %s', (filter, takes4, takes6) => {
    expect([takes(filter, v4), takes(filter, v6)]).toEqual([takes4, takes6]);
  });

  it('reads nothing beyond a packet that is cut short', () => {
    for (let bytes = 0; bytes < v4.length; bytes++) {
      for (const packet of [v4.slice(0, bytes), v6.slice(0, bytes)]) {
        for (const filter of [{ ports: [53] }, { pods: ['10.42.1.2/32'] }, { protocols: [17] }]) {
          expect(() => takes(filter, packet)).not.toThrow();
        }
      }
    }
  });
});

it('datagrams whose inside cannot be seen pass only where nothing is asked of it', () => {
  const outer = (payload: Uint8Array) => {
    const packet = ipv4Packet('192.0.2.1', '192.0.2.2', { bytes: 28 + payload.length });
    packet.set(payload, 28);
    return packet;
  };
  const clear = outer(Buffer.concat([Buffer.from('0c00000100002a00', 'hex'), v4]));
  const sealed = outer(Buffer.concat([new Uint8Array([4, 0, 0, 0]), new Uint8Array(40)]));
  const passes = (filter: Partial<CaptureFilter>, packet: Uint8Array) => {
    const inner = innerAt(view(packet), 28, packet.length - 28);
    return new PacketFilter({ ...EVERYTHING, ...filter }).takesOuter(view(packet), 0, packet.length, inner);
  };
  expect([passes({}, clear), passes({}, sealed)]).toEqual([true, true]);
  expect([passes({ pods: ['10.42.1.2/32'] }, clear), passes({ pods: ['10.42.1.2/32'] }, sealed)]).toEqual([
    true,
    false,
  ]);
  expect([passes({ ports: [99] }, clear), passes({ protocols: [17] }, clear)]).toEqual([false, true]);
  const peer = { peerEndpoints: ['192.0.2.2/32'], peerSubnets: ['10.99.0.0/24'] };
  expect([passes(peer, clear), passes(peer, sealed)]).toEqual([true, true]);
  expect(passes({ peerEndpoints: ['192.0.2.3/32'] }, sealed)).toBe(false);
});

it('what another node asks for is checked', () => {
  expect(filterSchema.safeParse(EVERYTHING).success).toBe(true);
  for (const wrong of [
    { pods: ['10.42.1.2'] },
    { ports: [0] },
    { reasons: ['none'] },
    { sides: [] },
    { more: 1 },
  ]) {
    expect(filterSchema.safeParse({ ...EVERYTHING, ...wrong }).success).toBe(false);
  }
});
