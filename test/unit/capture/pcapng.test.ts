import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BLOCK,
  blocksOf,
  interfaceBlock,
  interfaceOf,
  movedTo,
  packetBlock,
  placeOf,
  sectionBlock,
  statisticsBlock,
  WholeBlocks,
} from '../../../src/capture/pcapng.ts';

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

describe('blocks', () => {
  it('are the bytes that the draft gives', () => {
    expect(hex(sectionBlock('x'))).toBe(
      '0a0d0d0a280000004d3c2b1a01000000ffffffffffffffff0400010078000000000000002800' + '0000',
    );
    expect(hex(interfaceBlock({ name: 'eth0', linkType: 1 }))).toBe(
      '0100000020000000010000000000000002000400657468300000000020000000',
    );
    const packet = packetBlock({
      ...{ interfaceId: 2, atUs: 0x5_0000_0007, bytes: new Uint8Array([1, 2, 3]), length: 9 },
      ...{ direction: 'outbound', comment: 'why' },
    });
    expect(hex(packet)).toBe(
      '0600000038000000020000000500000007000000030000000900000001020300' +
        '020004000200000001000300776879000000000038000000',
    );
    expect(hex(statisticsBlock(1, 7, { received: 5, dropped: 2 }))).toBe(
      '050000003400000001000000000000000700000004000800050000000000000005000800020000000000000000000000' +
        '34000000',
    );
  });

  it('are read again, one behind the other', () => {
    const first = interfaceBlock({ name: 'warren0', linkType: 101, description: 'ä' });
    const second = packetBlock({
      interfaceId: 1,
      atUs: 1_764_000_000_123_456,
      bytes: new Uint8Array(5),
      length: 5,
    });
    const blocks = [...blocksOf(Buffer.concat([first, second]))];
    expect(blocks.map(({ type }) => type)).toEqual([BLOCK.interface, BLOCK.packet]);
    expect(interfaceOf(blocks[0]!)).toEqual({ name: 'warren0', linkType: 101, description: 'ä' });
    expect(placeOf(blocks[1]!)).toEqual({ interfaceId: 1, atUs: 1_764_000_000_123_456 });
    const [moved] = blocksOf(movedTo(blocks[1]!, 77));
    expect(placeOf(moved!)).toEqual({ interfaceId: 77, atUs: 1_764_000_000_123_456 });
  });

  it('that are damaged are refused, or read as something, and never more than that', () => {
    const whole = Buffer.concat([
      interfaceBlock({ name: 'a', linkType: 1 }),
      packetBlock({ interfaceId: 0, atUs: 1, bytes: new Uint8Array(40), length: 40, comment: 'c' }),
    ]);
    const change = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255), end: fc.nat(whole.length) });
    fc.assert(
      fc.property(change, ({ at, value, end }) => {
        const bytes = Uint8Array.from(whole.subarray(0, end));
        if (at < end) bytes[at] = value;
        try {
          for (const block of blocksOf(bytes)) {
            if (block.type === BLOCK.interface) interfaceOf(block);
            if (block.type === BLOCK.packet || block.type === BLOCK.statistics) placeOf(block);
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'CAPTURE_MALFORMED' });
        }
      }),
    );
  });

  it('come out whole however a file is cut into pieces', () => {
    const file = Buffer.concat([
      sectionBlock('warren'),
      packetBlock({ interfaceId: 0, atUs: 1, bytes: new Uint8Array(33), length: 33 }),
      packetBlock({ interfaceId: 0, atUs: 2, bytes: new Uint8Array(64), length: 64 }),
    ]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 20 }), (sizes) => {
        const whole = new WholeBlocks();
        const out: Uint8Array[] = [];
        let at = 0;
        for (const size of sizes) {
          out.push(whole.push(file.subarray(at, at + size)));
          expect(() => [...blocksOf(Buffer.concat(out))]).not.toThrow();
          at += size;
        }
        out.push(whole.push(file.subarray(at)));
        expect(hex(Buffer.concat(out))).toBe(hex(file));
      }),
    );
  });
});
