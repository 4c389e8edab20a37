/** The messages of post-quantum keys: as they are on the wire, and everything else refused. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeAgree,
  decodeAgreed,
  decodePublicKey,
  encodeAgree,
  encodeAgreed,
  encodePublicKey,
} from '../../../src/post-quantum/messages.ts';
import { CIPHERTEXT_BYTES, PUBLIC_KEY_BYTES } from '../../../src/post-quantum/x-wing.ts';

const agree = {
  keyHash: new Uint8Array(32).fill(1),
  ciphertext: new Uint8Array(CIPHERTEXT_BYTES).fill(2),
  proof: new Uint8Array(32).fill(3),
  attempt: 300,
};

describe('messages of post-quantum keys', () => {
  it('are these bytes', () => {
    const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
    expect(hex(encodePublicKey(new Uint8Array(PUBLIC_KEY_BYTES).fill(9)))).toBe(
      `0ac009${'09'.repeat(PUBLIC_KEY_BYTES)}`,
    );
    expect(hex(encodeAgree(agree))).toBe(
      `0a20${'01'.repeat(32)}12e008${'02'.repeat(CIPHERTEXT_BYTES)}1a20${'03'.repeat(32)}20ac02`,
    );
    expect(['agreed', 'outdated', 'asking'].map((one) => hex(encodeAgreed(one as 'agreed')))).toEqual([
      ...['0801', '0802', '0803'],
    ]);
  });

  it('are read as they were written', () => {
    const key = new Uint8Array(PUBLIC_KEY_BYTES).fill(9);
    expect(decodePublicKey(encodePublicKey(key))).toEqual({ ok: true, value: key });
    expect(decodeAgree(encodeAgree(agree))).toEqual({ ok: true, value: agree });
    for (const outcome of ['agreed', 'outdated', 'asking'] as const)
      expect(decodeAgreed(encodeAgreed(outcome))).toEqual({ ok: true, value: outcome });
  });

  it.each([
    ['a key that is too short', decodePublicKey(encodePublicKey(new Uint8Array(PUBLIC_KEY_BYTES - 1)))],
    ['no key', decodePublicKey(new Uint8Array())],
    ['no answer', decodePublicKey(undefined)],
    ['a short hash', decodeAgree(encodeAgree({ ...agree, keyHash: new Uint8Array(31) }))],
    ['a long ciphertext', decodeAgree(encodeAgree({ ...agree, ciphertext: new Uint8Array(1121) }))],
    ['no proof', decodeAgree(encodeAgree({ ...agree, proof: new Uint8Array() }))],
    ['no attempt', decodeAgree(encodeAgree({ ...agree, attempt: 0 }))],
    ['more than any has', decodeAgree(new Uint8Array(2_000))],
    ['no outcome', decodeAgreed(Uint8Array.of(8, 0))],
    ['an outcome of later', decodeAgreed(Uint8Array.of(8, 4))],
  ])('refuses %s', (_, decoded) => {
    expect(decoded.ok).toBe(false);
  });

  it('never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1_400 }), (bytes) => {
        for (const decode of [decodePublicKey, decodeAgree, decodeAgreed]) decode(bytes);
      }),
    );
  });
});
