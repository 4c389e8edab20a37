import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BulkChecksum } from '../../../src/wire/bulk-checksum.ts';
import { checksumAdd, checksumFold } from '../../../src/wire/checksum.ts';

it('sums as the simple form does, from any offset, any length', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 400 }),
      fc.nat(9),
      fc.nat(9),
      (data, before, after) => {
        const buffer = new ArrayBuffer(before + data.length + after);
        new Uint8Array(buffer).fill(0xa5).set(data, before);
        const simple = checksumFold(checksumAdd(0, new DataView(buffer), before, data.length));
        expect(new BulkChecksum(buffer).sum(before, data.length) % 0xffff).toBe(simple % 0xffff);
      },
    ),
    { numRuns: 3000 },
  );
});

it('is exact for a superpacket of ones', () => {
  const buffer = new ArrayBuffer(65536);
  new Uint8Array(buffer).fill(0xff);
  expect(new BulkChecksum(buffer).sum(0, 65536)).toBe(0xffff);
});
