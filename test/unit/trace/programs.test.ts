/** What the kernel copies for a trace: all that the matchers take, and nothing of heavy traffic beside it. */
import { describe, expect, it } from 'vitest';
import type { Flow } from '../../../src/trace/model.ts';
import { outerLengths, type Tunnel } from '../../../src/trace/outer-match.ts';
import { probePacket } from '../../../src/trace/probe-packet.ts';
import { flowProgram, outerProgram } from '../../../src/trace/programs.ts';
import { runProgram } from '../../helpers/bpf.ts';

const V4 = { family: 4, source: '10.42.1.2', destination: '10.42.2.2' } as const;
const V6 = { family: 6, source: 'fd42::1:2', destination: 'fd42::2:2' } as const;
const flows: readonly Flow[] = [V4, V6].flatMap((ends) =>
  (['icmp', 'tcp', 'udp'] as const).map((protocol) => ({
    ...{ ...ends, protocol, port: protocol === 'icmp' ? 0 : 80, mark: 21_000, bytes: 100 },
  })),
);
const title = ({ family, protocol }: Flow) => `${protocol} over IPv${family}`;

describe.each(flows.map((flow) => [title(flow), flow] as const))('%s', (_, flow) => {
  const takes = (packet: Uint8Array, program = flowProgram(flow)) => runProgram(program, packet) > 0;
  const echo: Flow = { ...flow, protocol: 'icmp', port: 0, mark: 3 };

  it('is copied in both directions, and ICMP, and of others nothing', () => {
    expect(takes(probePacket(flow, 1))).toBe(true);
    expect(takes(probePacket({ ...flow, port: flow.mark, mark: flow.port }, 1))).toBe(true);
    expect(takes(probePacket(echo, 1))).toBe(true);
    const bulk: Flow = { ...flow, protocol: flow.protocol === 'udp' ? 'tcp' : 'udp', port: 80, mark: 21_000 };
    expect(takes(probePacket(bulk, 1))).toBe(false);
    if (flow.protocol !== 'icmp') expect(takes(probePacket({ ...flow, mark: 21_001 }, 1))).toBe(false);
  });

  it('of real packets is copied by its port', () => {
    const live = { ...flow, mark: 0, bytes: 0 };
    expect(takes(probePacket({ ...flow, mark: 5 }, 1), flowProgram(live))).toBe(true);
    if (flow.protocol !== 'icmp')
      expect(takes(probePacket({ ...flow, mark: 5, port: 81 }, 1), flowProgram(live))).toBe(false);
  });
});

describe.each([
  ['IPv4', '192.0.2.1', '192.0.2.2', '192.0.2.3', 28],
  ['IPv6', '2001:db8::1', '2001:db8::2', '2001:db8::3', 48],
] as const)('a datagram over %s', (_, own, peer, other, headers) => {
  const flow = flows[0]!;
  const family = own.includes(':') ? 6 : 4;
  const tunnel: Tunnel = { address: peer, port: 51820, ownPort: 51820, isSealed: true };
  const datagram = (source: string, destination: string, bytes: number) =>
    probePacket({ family, source, destination, protocol: 'udp', port: 51820, mark: 51820, bytes }, 0);
  const takes = (packet: Uint8Array, of: Flow = flow) => runProgram(outerProgram(of, tunnel), packet) > 0;

  it('is copied if it is of the peer, and as long as it must be', () => {
    for (const bytes of outerLengths(flow, tunnel)) {
      expect(takes(datagram(own, peer, bytes))).toBe(true);
      expect(takes(datagram(peer, own, bytes))).toBe(true);
      expect(takes(datagram(own, other, bytes))).toBe(false);
    }
    expect(takes(datagram(own, peer, 1500))).toBe(false);
    expect(takes(datagram(own, peer, headers + 1), { ...flow, bytes: 0 })).toBe(true);
    expect(takes(probePacket({ ...flow, family, source: own, destination: peer, bytes: 176 }, 0))).toBe(
      false,
    );
  });
});
