/** The encryption of handshake messages and cookies against RFC 8439 and Wycheproof. */
import { describe, expect, it } from 'vitest';
import {
  LONG_NONCE_BYTES,
  open,
  openWithLongNonce,
  seal,
  sealWithLongNonce,
} from '../../../../src/encapsulation/wireguard/handshake-aead.ts';
import { type AeadVector, hex, wycheproof } from '../../../helpers/wycheproof.ts';

describe('ChaCha20-Poly1305', () => {
  it('seals and opens what RFC 8439, section 2.8.2 has', () => {
    const plaintext = Buffer.from(
      "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
    );
    const key = Buffer.from(Array.from({ length: 32 }, (_, index) => 0x80 + index));
    const [associated, nonce] = [hex('50515253c0c1c2c3c4c5c6c7'), hex('070000004041424344454647')];
    const sealed = seal(key, plaintext, associated, nonce);
    expect(sealed.subarray(0, 16).toString('hex')).toBe('d31a8d34648e60db7b86afbc53ef7ec2');
    expect(sealed.subarray(-16).toString('hex')).toBe('1ae10b594f09e26a7e902ecbd0600691');
    expect(open(key, sealed, associated, nonce)).toEqual(plaintext);
  });

  it('agrees with Wycheproof', () => {
    const vectors = wycheproof<AeadVector>('chacha20_poly1305_test.json').filter(
      ({ iv }) => iv.length === 24,
    );
    expect(vectors.length).toBeGreaterThan(250);
    for (const vector of vectors) {
      const { key, iv, aad, msg, ct, tag } = vector;
      const sealed = hex(ct + tag);
      const opened = open(hex(key), sealed, hex(aad), hex(iv));
      if (vector.result === 'invalid') expect(opened, `${vector.tcId} ${vector.comment}`).toBeUndefined();
      else {
        expect(opened?.toString('hex'), `${vector.tcId}`).toBe(msg);
        expect(seal(hex(key), hex(msg), hex(aad), hex(iv))).toEqual(sealed);
      }
    }
  });

  it('opens nothing that is shorter than a tag', () => {
    for (const bytes of [0, 1, 15]) {
      expect(open(Buffer.alloc(32), Buffer.alloc(bytes), Buffer.alloc(0))).toBeUndefined();
      expect(
        openWithLongNonce(
          Buffer.alloc(32),
          Buffer.alloc(LONG_NONCE_BYTES),
          Buffer.alloc(bytes),
          Buffer.alloc(0),
        ),
      ).toBeUndefined();
    }
  });
});

describe('XChaCha20-Poly1305', () => {
  it('agrees with Wycheproof', () => {
    const vectors = wycheproof<AeadVector>('xchacha20_poly1305_test.json').filter(
      ({ iv }) => iv.length === 2 * LONG_NONCE_BYTES,
    );
    expect(vectors.length).toBeGreaterThan(250);
    for (const vector of vectors) {
      const { key, iv, aad, msg, ct, tag } = vector;
      const sealed = hex(ct + tag);
      const opened = openWithLongNonce(hex(key), hex(iv), sealed, hex(aad));
      if (vector.result === 'invalid') expect(opened, `${vector.tcId} ${vector.comment}`).toBeUndefined();
      else {
        expect(opened?.toString('hex'), `${vector.tcId}`).toBe(msg);
        expect(sealWithLongNonce(hex(key), hex(iv), hex(msg), hex(aad))).toEqual(sealed);
      }
    }
  });
});
