import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { mac } from '../../../../src/encapsulation/wireguard/blake2s.ts';
import { Mac1 } from '../../../../src/encapsulation/wireguard/mac1.ts';

const key = randomBytes(32);

it('is that of @noble/hashes, whatever the length, by OpenSSL where this Node has it', () => {
  const mac1 = new Mac1(key);
  expect(mac1.isFast).toBe(Number(process.versions.openssl.split('.')[0]) >= 3);
  for (let length = 0; length <= 600; length++) {
    const bytes = randomBytes(length);
    expect(Buffer.from(mac1.of(bytes)).equals(mac(key, bytes)), String(length)).toBe(true);
  }
});

it('does without one that is wrong, or not there', () => {
  const bytes = randomBytes(116);
  const wrong = { mac: (_: Uint8Array, to: Uint8Array) => to.fill(1) !== undefined };
  for (const found of [undefined, wrong]) {
    const mac1 = new Mac1(key, () => found);
    expect(mac1.isFast).toBe(false);
    expect(mac1.of(bytes)).toEqual(mac(key, bytes));
  }
});
