import { describe, expect, it } from 'vitest';
import { datagramsOf, withOuterHeaders } from '../../../src/capture/outer.ts';
import { BLOCK, blocksOf, placeOf } from '../../../src/capture/pcapng.ts';
import { Recorder, type RecorderOptions, type SeenPacket } from '../../../src/capture/recorder.ts';
import { DROPPED } from '../../../src/datapath/drop-ring.ts';
import { DROP } from '../../../src/datapath/drops.ts';
import { checksum } from '../../../src/wire/checksum.ts';
import { ipv4Packet } from '../../helpers/packets.ts';

const OWN = { address: new Uint8Array([192, 0, 2, 1]), port: 4790 };
const PEER = { address: new Uint8Array([192, 0, 2, 2]), port: 4000 };
const inner = ipv4Packet('10.42.1.2', '10.42.7.9');

function recorder(options: Partial<RecorderOptions> = {}): Recorder {
  return new Recorder({
    filter: {
      sides: ['inner', 'outer', 'dropped'],
      ...{ pods: [], peerSubnets: [], peerEndpoints: [], protocols: [], ports: [], reasons: [] },
    },
    ...{ snapBytes: 0x4_0000, tunName: 'warren0', underlayName: 'eth0', own: OWN },
    ...options,
  });
}

function seen(bytes: Uint8Array, atUs: number, more: Partial<SeenPacket> = {}): SeenPacket {
  return {
    bytes,
    atUs,
    ip: 0,
    length: bytes.length,
    isOutbound: true,
    segmentBytes: 0,
    isEthernet: false,
    ...more,
  };
}

function packets(blocks: Uint8Array) {
  return [...blocksOf(blocks)]
    .filter(({ type }) => type === BLOCK.packet)
    .map((block) => ({
      ...placeOf(block),
      text: Buffer.from(block.bytes).toString('latin1'),
      bytes: block.bytes,
    }));
}

describe('a recorder', () => {
  it('hands out in order of time, and what is not yet settled later', () => {
    const one = recorder();
    one.inner(seen(inner, 30));
    one.outer(seen(withOuterHeaders(PEER, OWN, new Uint8Array(8), 8), 10));
    one.inner(seen(inner, 20));
    expect(packets(one.take(25)).map(({ atUs, interfaceId }) => [atUs, interfaceId])).toEqual([
      [10, 1],
      [20, 0],
    ]);
    expect(packets(one.take(29))).toEqual([]);
    expect(packets(one.take(30)).map(({ atUs }) => atUs)).toEqual([30]);
  });

  it('says why a packet was dropped, and only of those that are asked for', () => {
    const all = recorder();
    const packet = {
      kind: DROPPED.outbound,
      reason: DROP.outboundNoRoute,
      atMs: 0,
      length: inner.length,
      from: undefined,
    };
    all.dropped({ ...packet, bytes: inner }, 5);
    const [drop] = packets(all.take(5));
    expect(drop).toMatchObject({ interfaceId: 2, atUs: 5 });
    expect(drop!.text).toContain('dropped: outbound-no-route');
    const { filter } = { filter: { ...EVERY, reasons: ['inbound-forged'] } };
    const some = recorder({ filter });
    some.dropped({ ...packet, bytes: inner }, 5);
    expect(packets(some.take(5))).toEqual([]);
  });

  it('gives a dropped datagram the headers that it had', () => {
    const one = recorder();
    const payload = new Uint8Array([0x0c, 0, 0, 1, 0, 0, 42, 0]);
    const reason = DROP.inboundUnknownSource;
    one.dropped({ kind: DROPPED.datagram, reason, atMs: 0, length: 8, bytes: payload, from: PEER }, 1);
    const [drop] = packets(one.take(1));
    expect(Uint8Array.from(drop!.bytes.subarray(28, 28 + 36))).toEqual(
      withOuterHeaders(PEER, OWN, payload, 8),
    );
  });

  it('keeps so many bytes of each packet, and says how long it was', () => {
    const one = recorder({ snapBytes: 20 });
    one.inner(seen(inner, 1));
    const [cut] = packets(one.take(1));
    const view = new DataView(cut!.bytes.buffer, cut!.bytes.byteOffset);
    expect([view.getUint32(20, true), view.getUint32(24, true)]).toEqual([20, inner.length]);
  });

  it('counts what finds no room while nobody takes anything', () => {
    const one = recorder();
    const large = ipv4Packet('10.42.1.2', '10.42.7.9', { bytes: 60_000 });
    for (let i = 0; i < 100; i++) one.inner(seen(large, i));
    const count = packets(one.take(1000)).length;
    expect(count).toBeLessThan(40);
    const [statistics] = blocksOf(one.tail(1, { inner: 3, outer: 0, dropped: 0 }));
    const bytes = Buffer.from(statistics!.bytes);
    expect([bytes.readBigUInt64LE(24), bytes.readBigUInt64LE(36)]).toEqual([103n, BigInt(100 - count + 3)]);
  });
});

const EVERY: RecorderOptions['filter'] = {
  ...{
    sides: ['dropped'],
    pods: [],
    peerSubnets: [],
    peerEndpoints: [],
    protocols: [],
    ports: [],
    reasons: [],
  },
};

it('a group of datagrams is taken apart into what it stands for', () => {
  const group = withOuterHeaders(
    PEER,
    OWN,
    Uint8Array.from({ length: 250 }, (_, i) => i),
    250,
  );
  const datagrams = [...datagramsOf(group, 0, 100)];
  expect(datagrams.map(({ length }) => length)).toEqual([128, 128, 78]);
  for (const [i, datagram] of datagrams.entries()) {
    const view = new DataView(datagram.buffer);
    expect([view.getUint16(2), view.getUint16(24)]).toEqual([datagram.length, datagram.length - 20]);
    expect(checksum(view, 0, 20)).toBe(0);
    expect(datagram[28]).toBe(100 * i);
  }
  expect([...datagramsOf(group, 0, 0)]).toEqual([group]);
  expect([...datagramsOf(new Uint8Array(10), 0, 4)].length).toBe(1);
});
