import { expect, it } from 'vitest';
import { DROPPED, DROPPED_BYTES, DropRing } from '../../../src/datapath/drop-ring.ts';
import { DROP } from '../../../src/datapath/drops.ts';

const memory = Uint8Array.from({ length: 4000 }, (_, i) => i);
const packet = { reason: DROP.inboundNotLocal, kind: DROPPED.inbound, atMs: 12.5 };

it('a reader has what the writer put in, in the same order', () => {
  const writer = new DropRing();
  const reader = new DropRing(writer.shared);
  expect(reader.take()).toBeUndefined();
  writer.put({ ...packet, length: 3 }, memory, 10);
  writer.put({ ...packet, kind: DROPPED.datagram, length: 9000 }, memory, 100, {
    ...{ port: 4790, addressAt: 1, family: 4 },
  });
  expect(reader.take()).toEqual({ ...packet, length: 3, bytes: memory.slice(10, 13), from: undefined });
  const second = reader.take()!;
  expect(second).toMatchObject({ length: 9000, from: { port: 4790, address: new Uint8Array([1, 2, 3, 4]) } });
  expect(second.bytes).toEqual(memory.slice(100, 100 + DROPPED_BYTES));
  expect(reader.take()).toBeUndefined();
});

it('one that is full loses what comes, counts it, and goes on', () => {
  const ring = new DropRing();
  for (let i = 0; i < 1000; i++) ring.put({ ...packet, length: 1 }, memory, i);
  let taken = 0;
  for (let next = ring.take(); next; next = ring.take()) expect(next.bytes[0]).toBe(taken++ & 0xff);
  expect([taken, ring.lost]).toEqual([128, 872]);
  ring.put({ ...packet, length: 1 }, memory, 5);
  expect(ring.take()?.bytes[0]).toBe(5);
});
