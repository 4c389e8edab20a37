/** BLAKE2s against RFC 7693, the keyed vectors of its reference implementation, and Node's own where it has one. */
import { createHash, createHmac } from 'node:crypto';
import { blake2s } from '@noble/hashes/blake2.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  derive1,
  derive2,
  derive3,
  hash,
  hmacOf,
  mac,
} from '../../../../src/encapsulation/wireguard/blake2s.ts';

describe('BLAKE2s', () => {
  it('is that of RFC 7693, appendix B', () => {
    expect(hash(Buffer.from('abc')).toString('hex')).toBe(
      '508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982',
    );
  });

  it('passes the self-test of RFC 7693, appendix E: lengths and keys of all kinds', () => {
    // Ours are of two kinds, 32 bytes without a key and 16 with one of 16; for the others the library is asked directly.
    const results: Uint8Array[] = [];
    for (const outputBytes of [16, 20, 28, 32]) {
      for (const inputBytes of [0, 3, 64, 65, 255, 1024]) {
        const input = sequence(inputBytes);
        const key = sequence(outputBytes);
        results.push(outputBytes === 32 ? hash(input) : blake2s(input, { dkLen: outputBytes }));
        results.push(outputBytes === 16 ? mac(key, input) : blake2s(input, { dkLen: outputBytes, key }));
      }
    }
    expect(hash(...results).toString('hex')).toBe(
      '6a411f08ce25adcdfb02aba641451cec53c598b24f4fc787fbdc88797f4c1dfe',
    );
  });

  it('is the same in pieces, and the same as OpenSSL has', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 200 })),
        fc.uint8Array({ maxLength: 80 }),
        (parts, key) => {
          const whole = Buffer.concat(parts);
          expect(hash(...parts)).toEqual(createHash('blake2s256').update(whole).digest());
          expect(hmacOf(key, ...parts)).toEqual(createHmac('blake2s256', key).update(whole).digest());
        },
      ),
    );
  });

  it('gives keys that begin alike however many are asked for', () => {
    const [key, input] = [Buffer.alloc(32, 1), Buffer.from('input')];
    const secret = createHmac('blake2s256', key).update(input).digest();
    const first = createHmac('blake2s256', secret).update(Buffer.of(1)).digest();
    const second = createHmac('blake2s256', secret).update(first).update(Buffer.of(2)).digest();
    const third = createHmac('blake2s256', secret).update(second).update(Buffer.of(3)).digest();
    expect(derive1(key, input)).toEqual(first);
    expect(derive2(key, input)).toEqual([first, second]);
    expect(derive3(key, input)).toEqual([first, second, third]);
  });
});

/** The RFC's deterministic input: Fibonacci numbers from a start that depends on the length. */
function sequence(bytes: number): Buffer {
  let a = Math.imul(0xdead4bad, bytes) >>> 0;
  let b = 1;
  return Buffer.from(
    Array.from({ length: bytes }, () => {
      const sum = (a + b) >>> 0;
      a = b;
      b = sum;
      return sum >>> 24;
    }),
  );
}
