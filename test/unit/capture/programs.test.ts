/** The kernel's programs let through all that the filter takes, by an interpreter of their few instructions. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CaptureFilter, PacketFilter } from '../../../src/capture/filter.ts';
import { innerProgram, tunnelProgram } from '../../../src/capture/programs.ts';
import { runProgram as run } from '../../helpers/bpf.ts';
import { ipv4Packet, ipv6Packet } from '../../helpers/packets.ts';

const ADDRESSES = ['10.42.1.2', '10.42.1.3', '10.42.7.9', '10.99.0.1'];
const PORTS = [53, 80, 443];
const some = <T>(values: readonly T[]) => fc.subarray([...values], { maxLength: 3 });

const packets = fc
  .record({
    ends: fc.tuple(fc.constantFrom(...ADDRESSES), fc.constantFrom(...ADDRESSES)),
    isV6: fc.boolean(),
    protocol: fc.constantFrom(1, 6, 17),
    ports: fc.tuple(fc.constantFrom(...PORTS, 99), fc.constantFrom(...PORTS, 99)),
    isFragment: fc.boolean(),
    bytes: fc.constantFrom(22, 60),
  })
  .map(({ ends, isV6, protocol, ports, isFragment, bytes }) => {
    const packet = isV6
      ? ipv6Packet('fd42::1', 'fd42::2', { bytes: 40 + bytes })
      : ipv4Packet(...ends, { bytes });
    const view = new DataView(packet.buffer);
    const payload = isV6 ? 40 : 20;
    packet[isV6 ? 6 : 9] = protocol;
    if (isFragment && !isV6) view.setUint16(6, 0x2005);
    if (packet.length >= payload + 4) {
      view.setUint16(payload, ports[0]);
      view.setUint16(payload + 2, ports[1]);
    }
    return packet;
  });

describe('inner packets', () => {
  const filters = fc.record({
    pods: some(['10.42.1.2/32', '10.42.7.9/32', 'fd42::1/128']),
    peerSubnets: some(['10.42.1.0/24', '0.0.0.0/0', 'fd42::/64']),
    protocols: some([1, 6, 17]),
    ports: some(PORTS),
  });

  it('pass if the filter takes them; of IPv4 no others do', () => {
    fc.assert(
      fc.property(filters, packets, (conditions, packet) => {
        const filter: CaptureFilter = { sides: ['inner'], peerEndpoints: [], reasons: [], ...conditions };
        const passes = run(innerProgram(filter, 96), packet);
        const view = new DataView(packet.buffer);
        const isTaken = new PacketFilter(filter).takesInner(view, 0, packet.length);
        if (isTaken) expect(passes).toBe(96);
        else if (packet[0]! >> 4 === 4) expect(passes).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  it('all pass where there are more conditions than a program can hold', () => {
    const pods = Array.from({ length: 200 }, (_, i) => `10.42.3.${i}/32`);
    const filter: CaptureFilter = {
      ...{
        sides: ['inner'],
        pods,
        peerSubnets: [],
        peerEndpoints: [],
        protocols: [],
        ports: [],
        reasons: [],
      },
    };
    expect(run(innerProgram(filter, 96), ipv4Packet('10.99.0.1', '10.99.0.2'))).toBe(96);
  });
});

it('of the underlay what has one of the ports of the tunnel', () => {
  fc.assert(
    fc.property(packets, fc.subarray(PORTS, { minLength: 1 }), (packet, ports) => {
      const isV6 = packet[0]! >> 4 === 6;
      const view = new DataView(packet.buffer);
      const payload = isV6 ? 40 : 20;
      const isWhole = packet.length >= payload + 4;
      const isFragment = !isV6 && (view.getUint16(6) & 0x1fff) !== 0;
      const has = (at: number) => isWhole && ports.includes(view.getUint16(payload + at));
      const wanted = packet[isV6 ? 6 : 9] === 17 && !isFragment && (has(0) || has(2));
      expect(run(tunnelProgram(ports), packet) > 0).toBe(wanted);
      const isPeer = isV6 || packet.subarray(12, 20).toString().includes('10,42,7,9');
      expect(run(tunnelProgram(ports, ['10.42.7.9/32']), packet) > 0).toBe(wanted && isPeer);
    }),
    { numRuns: 2000 },
  );
});
