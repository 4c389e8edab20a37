/** The packets that a trace sends, and by what it knows them again: alone, in tunnels, in answers and in errors about them. */
import { describe, expect, it } from 'vitest';
import { FlowMatch } from '../../../src/trace/flow-match.ts';
import type { Flow } from '../../../src/trace/model.ts';
import { matchOuter, outerLengths, type Tunnel } from '../../../src/trace/outer-match.ts';
import { leastBytes, probePacket } from '../../../src/trace/probe-packet.ts';
import { checksum } from '../../../src/wire/checksum.ts';

const V4 = { family: 4, source: '10.42.1.2', destination: '10.42.2.2' } as const;
const V6 = { family: 6, source: 'fd42::1:2', destination: 'fd42::2:2' } as const;
const flows: readonly Flow[] = [V4, V6].flatMap((ends) =>
  (['icmp', 'tcp', 'udp'] as const).map((protocol) => ({
    ...{ ...ends, protocol, port: protocol === 'icmp' ? 0 : 80, mark: 21_000, bytes: 100 },
  })),
);
const title = ({ family, protocol }: Flow) => `${protocol} over IPv${family}`;
const ip = ({ family }: Flow) => (family === 4 ? 20 : 40);

/** From the destination back to the source. */
function turned(flow: Flow): Uint8Array {
  const { source, destination, port, mark } = flow;
  const packet = probePacket(
    { ...flow, source: destination, destination: source, port: mark, mark: port },
    1,
  );
  if (flow.protocol === 'icmp') {
    packet[ip(flow)] = flow.family === 4 ? 0 : 129;
    new DataView(packet.buffer).setUint16(ip(flow) + 4, mark);
  }
  return packet;
}

function icmpError(flow: Flow, type: number, code: number, mtu = 0): Uint8Array {
  const head = turned({ ...flow, protocol: 'icmp', mark: 0, bytes: ip(flow) + 8 });
  head[ip(flow)] = type;
  head[ip(flow) + 1] = code;
  new DataView(head.buffer).setUint32(ip(flow) + 4, mtu);
  return Buffer.concat([head, probePacket(flow, 1)]);
}

describe.each(flows.map((flow) => [title(flow), flow] as const))('%s', (_, flow) => {
  const match = new FlowMatch(flow);
  const packet = probePacket(flow, 7);

  it('is a packet with right checksums that is known again, also cut off, and no other is', () => {
    expect(packet).toHaveLength(100);
    const view = new DataView(packet.buffer);
    if (flow.family === 4) expect(checksum(view, 0, 20)).toBe(0);
    if (flow.family === 4 && flow.protocol === 'icmp') expect(checksum(view, 20, 80)).toBe(0);
    expect(match.match(packet)).toEqual({ what: 'packet' });
    expect(match.match(packet.subarray(0, leastBytes(flow)))).toEqual({ what: 'packet' });
    expect(match.match(packet.subarray(0, ip(flow)))).toBeUndefined();
    expect(match.match(probePacket({ ...flow, mark: 21_001 }, 7))).toBeUndefined();
    expect(match.match(probePacket({ ...flow, destination: flow.source }, 7))).toBeUndefined();
  });

  it('is known by its mark from whatever source, and without one by its source', () => {
    const source = flow.family === 4 ? '10.66.0.1' : 'fd66::1';
    const other = probePacket({ ...flow, source }, 7);
    expect(match.match(other)).toEqual({ what: 'packet' });
    const any = new FlowMatch({ ...flow, mark: 0 });
    expect(any.match(packet)).toEqual({ what: 'packet' });
    expect(any.match(other)).toBeUndefined();
  });

  it('has answers', () => {
    const answer = turned(flow);
    if (flow.protocol !== 'tcp') {
      expect(match.match(answer)).toEqual({
        what: 'answer',
        answer: flow.protocol === 'udp' ? 'data' : 'echo-reply',
      });
      return;
    }
    const flags = (value: number) => {
      answer[ip(flow) + 13] = value;
      return match.match(answer)?.answer;
    };
    expect([flags(0x12), flags(0x14), flags(0x10)]).toEqual(['syn-ack', 'reset', 'data']);
  });

  it('has errors about it, and nobody else has', () => {
    const is4 = flow.family === 4;
    const from = flow.destination;
    const cases = is4
      ? ([
          [3, 3, 'no-port'],
          [3, 13, 'prohibited'],
          [3, 0, 'no-network'],
          [11, 0, 'expired'],
        ] as const)
      : ([
          [1, 4, 'no-port'],
          [1, 1, 'prohibited'],
          [1, 0, 'no-network'],
          [3, 0, 'expired'],
        ] as const);
    for (const [type, code, kind] of cases) {
      expect(match.match(icmpError(flow, type, code))).toEqual({ what: 'error', error: { from, kind } });
    }
    const tooBig = match.match(icmpError(flow, is4 ? 3 : 2, is4 ? 4 : 0, 1300));
    expect(tooBig).toEqual({ what: 'error', error: { from, kind: 'too-big', mtu: 1300 } });
    const other = icmpError({ ...flow, destination: flow.source }, is4 ? 3 : 1, 0);
    expect(match.match(other)).toBeUndefined();
  });
});

it('a matcher takes whatever bytes there are', () => {
  const match = new FlowMatch(flows[0]!);
  for (let length = 0; length < 80; length++) {
    for (const first of [0x00, 0x45, 0x4f, 0x60, 0xff]) {
      const bytes = new Uint8Array(length).fill(first);
      expect(match.match(bytes)?.what).not.toBe('packet');
    }
  }
});

describe('a datagram of the tunnel', () => {
  const flow = flows[0]!;
  const inner = new FlowMatch(flow);
  const tunnel: Tunnel = { address: '192.0.2.2', port: 51820, ownPort: 51820, isSealed: true };

  /** From this node to the other, with such a payload. */
  function datagram(payload: Uint8Array, to = '192.0.2.2'): Uint8Array {
    const carrier: Flow = {
      ...V4,
      source: '192.0.2.1',
      destination: to,
      protocol: 'udp',
      port: 51820,
      mark: 51820,
      bytes: 28 + payload.length,
    };
    const bytes = probePacket(carrier, 0);
    bytes.set(payload, 28);
    return bytes;
  }
  function sealed(bytes: number, type = 4): Uint8Array {
    const payload = new Uint8Array(bytes);
    payload[0] = type;
    new DataView(payload.buffer).setUint32(4, 0xabc, true);
    new DataView(payload.buffer).setBigUint64(8, 5n, true);
    return payload;
  }
  const look = (bytes: Uint8Array, over: Partial<Tunnel> = {}) =>
    matchOuter(bytes.subarray(0, 128), bytes.length, { ...tunnel, ...over }, flow, inner);

  it('that is sealed is known by its length, and has whom it is for and its number', () => {
    // 100 bytes are padded to 112.
    expect(outerLengths(flow, tunnel)).toEqual([28 + 32 + 112, 28 + 32 + 100, 28 + 148, 28 + 92, 28 + 64]);
    expect(look(datagram(sealed(144)))).toEqual({ what: 'packet', tag: 'abc:5' });
    expect(look(datagram(sealed(160)))).toBeUndefined();
    expect(look(datagram(sealed(144), '192.0.2.3'))).toBeUndefined();
  });

  it('may be one of a handshake', () => {
    for (const type of [1, 2, 3]) expect(look(datagram(sealed(148, type)))).toEqual({ what: 'handshake' });
    expect(look(datagram(sealed(148, 5)))).toBeUndefined();
  });

  it('in clear text is looked into', () => {
    const payload = Buffer.concat([new Uint8Array(8), probePacket(flow, 1)]);
    expect(look(datagram(payload), { isSealed: false })).toEqual({ what: 'packet' });
    expect(outerLengths(flow, { ...tunnel, isSealed: false })).toEqual([136]);
  });
});
