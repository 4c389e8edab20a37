import { describe, expect, it } from 'vitest';
import { MAX_WAITING_BYTES, Merger } from '../../../src/capture/merge.ts';
import {
  BLOCK,
  blocksOf,
  interfaceBlock,
  interfaceOf,
  packetBlock,
  placeOf,
  statisticsBlock,
} from '../../../src/capture/pcapng.ts';

const head = Buffer.concat(['warren0', 'eth0'].map((name) => interfaceBlock({ name, linkType: 1 })));

function packet(interfaceId: number, atUs: number, bytes = 4): Uint8Array {
  return packetBlock({ interfaceId, atUs, bytes: new Uint8Array(bytes), length: bytes });
}

function part(untilUs: number, ...blocks: Uint8Array[]) {
  return { untilUs, blocks: Buffer.concat(blocks) };
}

function packetsOf(bytes: Uint8Array): [number, number][] {
  const packets = [...blocksOf(bytes)].filter(({ type }) => type === BLOCK.packet);
  return packets.map(placeOf).map(({ interfaceId, atUs }) => [interfaceId, atUs]);
}

describe('a merger', () => {
  it('puts packets of all nodes in the order of their times, under names that tell them apart', () => {
    const merger = new Merger(['a:', 'b:'], 0);
    merger.add(0, part(100, head, packet(0, 10), packet(1, 30)), 0);
    merger.add(1, part(25, head, packet(1, 20)), 0);
    const first = merger.take(1);
    const names = [...blocksOf(first)]
      .filter(({ type }) => type === BLOCK.interface)
      .map((one) => interfaceOf(one).name);
    expect(names).toEqual(['a:warren0', 'a:eth0', 'b:warren0', 'b:eth0']);
    expect(packetsOf(first)).toEqual([
      [0, 10],
      [3, 20],
    ]);
    merger.add(1, part(50, packet(0, 29)), 0);
    expect(packetsOf(merger.take(1))).toEqual([
      [2, 29],
      [1, 30],
    ]);
  });

  it('waits for nobody who says nothing, has ended, or has another time', () => {
    const merger = new Merger(['a:', 'b:'], 0);
    merger.add(0, part(100, head, packet(0, 10)), 0);
    expect(packetsOf(merger.take(1999))).toEqual([]);
    merger.add(0, part(100), 1999);
    expect(packetsOf(merger.take(2000)).length).toBe(1);

    merger.add(1, part(50, head), 2000);
    merger.add(0, part(200, packet(0, 150)), 2000);
    expect(packetsOf(merger.take(2000))).toEqual([]);
    merger.end(1);
    expect(packetsOf(merger.take(2000)).length).toBe(1);

    const apart = new Merger(['a:', 'b:'], 0);
    apart.add(0, part(9_000_000, head, packet(0, 8_999_999)), 0);
    apart.add(1, part(1, head), 0);
    expect(packetsOf(apart.take(0)).length).toBe(1);
  });

  it('holds no more than a bound', () => {
    const merger = new Merger(['a:', 'b:'], 0);
    merger.add(0, part(1, head), 0);
    const some = Array.from({ length: 20 }, (_, i) => packet(0, i + 10, 60_000));
    for (let i = 0; i < 4; i++) merger.add(0, part(1, ...some), 0);
    expect(merger.waitingBytes).toBeGreaterThan(MAX_WAITING_BYTES);
    expect(packetsOf(merger.take(0)).length).toBe(80);
    expect(merger.waitingBytes).toBe(0);
  });

  it('leaves out what belongs to no interface, and keeps the counts for the end', () => {
    const merger = new Merger([''], 0);
    merger.add(0, part(100, packet(0, 1), head, packet(7, 2), packet(1, 3)), 0);
    merger.add(0, part(100, statisticsBlock(1, 9, { received: 3, dropped: 1 })), 0);
    expect(packetsOf(merger.take(5000))).toEqual([[1, 3]]);
    expect([...blocksOf(merger.tail())].map(placeOf)).toEqual([{ interfaceId: 1, atUs: 9 }]);
  });

  it('refuses what makes no sense', () => {
    const merger = new Merger([''], 0);
    expect(() => merger.add(0, part(1, new Uint8Array([1, 2, 3])), 0)).toThrow(/no sense/);
  });
});
