/** Key agreement against RFC 7748 and Wycheproof. */
import { describe, expect, it } from 'vitest';
import { generateKeyPair, keyPairOf, sharedSecret } from '../../../../src/encapsulation/wireguard/x25519.ts';
import { type AgreementVector, hex, wycheproof } from '../../../helpers/wycheproof.ts';

describe('x25519', () => {
  it('agrees with RFC 7748, section 5.2', () => {
    const vectors = [
      [
        'a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4',
        'e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c',
        'c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552',
      ],
      [
        '4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d',
        'e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493',
        '95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957',
      ],
    ] as const;
    for (const [scalar, point, result] of vectors)
      expect(sharedSecret(keyPairOf(hex(scalar)).privateKey, hex(point))?.toString('hex')).toBe(result);
  });

  it('agrees with a thousand iterations of RFC 7748, section 5.2', () => {
    let scalar: Buffer = hex(`09${'00'.repeat(31)}`);
    let point: Buffer = scalar;
    for (let round = 0; round < 1_000; round++) {
      const next = sharedSecret(keyPairOf(scalar).privateKey, point)!;
      point = scalar;
      scalar = next;
    }
    expect(scalar.toString('hex')).toBe('684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51');
  });

  it('agrees with Wycheproof, and has no secret with a point of low order', () => {
    for (const vector of wycheproof<AgreementVector>('x25519_test.json')) {
      const secret = sharedSecret(keyPairOf(hex(vector.private)).privateKey, hex(vector.public));
      const expected = vector.flags.includes('ZeroSharedSecret') ? undefined : vector.shared;
      expect(secret?.toString('hex'), `${vector.tcId} ${vector.comment}`).toBe(expected);
    }
  });

  it('has no secret with what is no key', () => {
    const { privateKey } = generateKeyPair();
    for (const length of [0, 31, 33])
      expect(sharedSecret(privateKey, Buffer.alloc(length, 9))).toBeUndefined();
  });

  it('makes pairs that agree', () => {
    const [a, b] = [generateKeyPair(), generateKeyPair()];
    expect(sharedSecret(a.privateKey, b.publicKey)).toEqual(sharedSecret(b.privateKey, a.publicKey));
    expect(a.publicKey).not.toEqual(b.publicKey);
  });
});
