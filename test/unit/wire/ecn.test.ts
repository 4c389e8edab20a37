import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checksum } from '../../../src/wire/checksum.ts';
import {
  CE,
  decapsulatedEcn,
  ECT_0,
  ECT_1,
  ecnOf,
  ipv4Ecn,
  ipv6Ecn,
  NOT_ECT,
  setIpv4Ecn,
  setIpv6Ecn,
} from '../../../src/wire/ecn.ts';

const DROPPED = -1;
const ALL = [NOT_ECT, ECT_0, ECT_1, CE];

/** RFC 6040, figure 4: a row per inner codepoint, a column per outer one in the order of ALL. */
const FIGURE_4 = new Map([
  [NOT_ECT, [NOT_ECT, NOT_ECT, NOT_ECT, DROPPED]],
  [ECT_0, [ECT_0, ECT_0, ECT_1, CE]],
  [ECT_1, [ECT_1, ECT_1, ECT_1, CE]],
  [CE, [CE, CE, CE, CE]],
]);

const codepoint = fc.constantFrom(...ALL);

describe('ECN', () => {
  it('leaves a tunnel as RFC 6040 has it', () => {
    for (const [inner, row] of FIGURE_4) {
      expect(ALL.map((outer) => decapsulatedEcn(inner, outer))).toEqual(row);
    }
  });

  it('is written into an IPv4 header whose checksum stays right, and into nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 20 }), codepoint, (bytes, ecn) => {
        const view = new DataView(Uint8Array.from(bytes).buffer);
        view.setUint8(0, 0x45);
        view.setUint16(10, 0);
        view.setUint16(10, checksum(view, 0, 20));
        const before = new Uint8Array(view.buffer.slice(0));
        setIpv4Ecn(view, 0, ecn);
        expect([ipv4Ecn(view, 0), ecnOf(view, 0)]).toEqual([ecn, ecn]);
        expect(checksum(view, 0, 20)).toBe(0);
        before[1] = (before[1]! & ~3) | ecn;
        before.set(new Uint8Array(view.buffer, 10, 2), 10);
        expect(new Uint8Array(view.buffer)).toEqual(before);
      }),
    );
  });

  it('is written into an IPv6 header, and into nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), codepoint, (bytes, ecn) => {
        const view = new DataView(Uint8Array.from(bytes).buffer);
        view.setUint8(0, 0x60 | (bytes[0]! & 0x0f));
        const expected = new Uint8Array(view.buffer.slice(0));
        setIpv6Ecn(view, 0, ecn);
        expect([ipv6Ecn(view, 0), ecnOf(view, 0)]).toEqual([ecn, ecn]);
        expected[1] = (expected[1]! & ~0x30) | (ecn << 4);
        expect(new Uint8Array(view.buffer)).toEqual(expected);
      }),
    );
  });
});
