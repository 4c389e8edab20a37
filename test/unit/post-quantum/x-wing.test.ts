/** X-Wing against another implementation of it, and what it does with anything that is none. */
import { ml_kem768_x25519 as XWing } from '@noble/post-quantum/hybrid.js';
import { describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../../src/encapsulation/wireguard/x25519.ts';
import { nobleMlKem } from '../../../src/post-quantum/ml-kem-noble.ts';
import { nodeMlKem } from '../../../src/post-quantum/ml-kem-node.ts';
import { nameOfCiphertext, pairKey } from '../../../src/post-quantum/pair-key.ts';
import {
  CIPHERTEXT_BYTES,
  encapsulate,
  keyHash,
  PUBLIC_KEY_BYTES,
  XWingKey,
} from '../../../src/post-quantum/x-wing.ts';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

describe.each([
  ['@noble/post-quantum', nobleMlKem],
  ['node:crypto', nodeMlKem()],
])('X-Wing over ML-KEM by %s', (_, mlKem) => {
  const test = it.skipIf(mlKem === undefined);

  test("opens what @noble's closes, and closes what that opens", () => {
    const key = new XWingKey(mlKem!);
    const made = XWing.encapsulate(key.publicKey);
    expect(text(key.decapsulate(made.cipherText)!)).toBe(text(made.sharedSecret));
    const other = XWing.keygen();
    const back = encapsulate(mlKem!, other.publicKey)!;
    expect(text(XWing.decapsulate(back.ciphertext, other.secretKey))).toBe(text(back.secret));
    expect([key.publicKey.length, back.ciphertext.length]).toEqual([PUBLIC_KEY_BYTES, CIPHERTEXT_BYTES]);
  });

  test('has nothing for what is no key and no ciphertext', () => {
    const key = new XWingKey(mlKem!);
    const { ciphertext } = encapsulate(mlKem!, key.publicKey)!;
    for (const length of [0, PUBLIC_KEY_BYTES - 1, PUBLIC_KEY_BYTES + 1])
      expect(encapsulate(mlKem!, Buffer.alloc(length))).toBeUndefined();
    // Not reduced, and a point of low order.
    const big = Buffer.concat([Buffer.alloc(32, 0xff), key.publicKey.subarray(32)]);
    const low = Buffer.concat([key.publicKey.subarray(0, -32), Buffer.alloc(32)]);
    for (const none of [big, low]) expect(encapsulate(mlKem!, none)).toBeUndefined();
    for (const length of [0, CIPHERTEXT_BYTES - 1, CIPHERTEXT_BYTES + 1])
      expect(key.decapsulate(Buffer.alloc(length))).toBeUndefined();
    expect(key.decapsulate(Buffer.concat([ciphertext.subarray(0, -32), Buffer.alloc(32)]))).toBeUndefined();
    key.wipe();
    expect(key.decapsulate(ciphertext)).toBeUndefined();
  });
});

describe('the key of a pair', () => {
  const parties = ['01', '02'].map((byte) => ({
    id: byte.repeat(16),
    tunnelKey: generateKeyPair().publicKey,
  }));
  const [a, b] = parties as [(typeof parties)[number], (typeof parties)[number]];
  const ciphertext = Buffer.alloc(CIPHERTEXT_BYTES, 7);
  const made = (...[asker, asked, bytes]: readonly [typeof a, typeof b, Buffer]) =>
    pairKey(Buffer.alloc(32, 5), asker, asked, bytes);

  it('is the same on both sides, another for anything else, and not the proof', () => {
    const own = made(a, b, ciphertext);
    expect(made(a, b, ciphertext)).toEqual(own);
    const tunnelKey = generateKeyPair().publicKey;
    const others = [
      made(b, a, ciphertext),
      made({ ...a, tunnelKey }, b, ciphertext),
      made(a, { ...b, tunnelKey }, ciphertext),
      made(a, { ...b, id: '03'.repeat(16) }, ciphertext),
      made(a, b, Buffer.alloc(CIPHERTEXT_BYTES, 8)),
    ];
    const all = [own, ...others].flatMap(({ key, proof }) => [text(key), text(proof)]);
    expect(new Set(all).size).toBe(all.length);
  });

  it('overwrites the secret that it is made of', () => {
    const secret = Buffer.alloc(32, 5);
    pairKey(secret, a, b, ciphertext);
    expect(secret).toEqual(Buffer.alloc(32));
  });

  it('has a name that both know, and a public key a hash', () => {
    expect(nameOfCiphertext(ciphertext)).toMatch(/^[0-9a-f]{32}$/);
    expect(nameOfCiphertext(ciphertext)).not.toBe(nameOfCiphertext(Buffer.alloc(CIPHERTEXT_BYTES, 8)));
    expect(keyHash(Buffer.from('abc')).toString('hex')).toMatch(/^ba7816bf/);
  });
});
