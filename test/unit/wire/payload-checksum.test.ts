/** Both ways of summing a payload against the simple one, and which of them is taken. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { BulkChecksum } from '../../../src/wire/bulk-checksum.ts';
import { checksumAdd, checksumFold } from '../../../src/wire/checksum.ts';
import { payloadChecksum } from '../../../src/wire/payload-checksum.ts';
import { simdChecksum } from '../../../src/wire/simd-checksum.ts';

/** Three pages: room for a superpacket from any offset. */
const memory = new WebAssembly.Memory({ initial: 3, maximum: 3 });
const bytes = new Uint8Array(memory.buffer);
const simd = simdChecksum(memory);

afterEach(() => {
  vi.restoreAllMocks();
});

describe.each([
  ['WebAssembly SIMD', simd],
  ['JavaScript', new BulkChecksum(memory.buffer)],
])('%s', (_name, sums) => {
  const sum = (offset: number, count: number): number => sums!.sum(offset, count);

  it('sums as the simple form does, from any offset, any length', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(80), (data, before) => {
        bytes.fill(0xa5, 0, before + data.length + 80).set(data, before);
        const simple = checksumFold(checksumAdd(0, new DataView(memory.buffer), before, data.length));
        expect(sum(before, data.length)).toBe(simple);
      }),
      { numRuns: 3000 },
    );
  });

  it('sums whole superpackets', () => {
    const view = new DataView(memory.buffer);
    for (let at = 0; at < 70_000; at++) bytes[at] = (at * 7919) >>> 3;
    for (const [offset, count] of [
      [0, 65_535],
      [1, 65_535],
      [50, 64_021],
    ] as const) {
      expect(sum(offset, count)).toBe(checksumFold(checksumAdd(0, view, offset, count)));
    }
  });

  it('is exact for a superpacket of ones, and 0 only for zeros', () => {
    bytes.fill(0xff, 0, 65_536);
    expect(sum(0, 65_536)).toBe(0xffff);
    bytes.fill(0, 0, 65_536);
    expect(sum(0, 65_536)).toBe(0);
    expect(sum(17, 0)).toBe(0);
  });

  it('reads up to the last byte of its memory', () => {
    bytes.fill(0, bytes.length - 100).fill(0x12, bytes.length - 1);
    expect(sum(bytes.length - 99, 99)).toBe(0x1200);
    expect(sum(bytes.length - 16, 16)).toBe(0x12);
  });
});

describe('the way taken', () => {
  it('is SIMD over a WebAssembly memory, JavaScript over any other', () => {
    expect(payloadChecksum(memory)).not.toBeInstanceOf(BulkChecksum);
    expect(payloadChecksum(new ArrayBuffer(64))).toBeInstanceOf(BulkChecksum);
  });

  it('is JavaScript where there is no SIMD', () => {
    vi.spyOn(WebAssembly, 'validate').mockReturnValue(false);
    const sums = payloadChecksum(memory);
    expect(sums).toBeInstanceOf(BulkChecksum);
    bytes.set([1, 2], 6);
    expect(sums.sum(6, 2)).toBe(0x0102);
  });
});
