/**
 * ML-KEM-768 against NIST's ACVP vectors and Wycheproof, by each of the two that do it, and one against the other. Node
 * before 24.7 has one of them only: `node scripts/node-versions.mjs 24` runs all of it.
 */
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { describe, expect, it } from 'vitest';
import { loadMlKem, PUBLIC_KEY_BYTES, SEED_BYTES } from '../../../src/post-quantum/ml-kem.ts';
import { nobleMlKem } from '../../../src/post-quantum/ml-kem-noble.ts';
import { nodeMlKem } from '../../../src/post-quantum/ml-kem-node.ts';
import { acvp } from '../../helpers/acvp.ts';
import {
  type DecapsulationVector,
  type EncapsulationVector,
  type ExpandedKeyVector,
  hex,
  wycheproof,
} from '../../helpers/wycheproof.ts';

const native = nodeMlKem();
const text = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');

describe.each([
  ['@noble/post-quantum', nobleMlKem],
  ['node:crypto', native],
])('ML-KEM-768 by %s', (_, mlKem) => {
  const kem = mlKem!;
  const test = it.skipIf(mlKem === undefined);

  test('makes the keys of ACVP', () => {
    const vectors = acvp('ml-kem-768-keygen.txt.gz');
    expect(vectors).toHaveLength(25);
    for (const { hexseed, hexpub } of vectors)
      expect(text(kem.generate(hexseed!).publicKey)).toBe(text(hexpub));
  });

  test('agrees with Wycheproof on what a ciphertext holds, and has nothing for what is none', () => {
    for (const { seed, ek, c, K, result, tcId } of wycheproof<DecapsulationVector>(
      'mlkem_768_test.json.gz',
    )) {
      // One whose seed is too short or too long; nobody gives us seeds.
      if (seed.length !== 2 * SEED_BYTES) continue;
      const key = kem.generate(hex(seed));
      expect(text(key.publicKey)).toBe(ek);
      expect(text(key.decapsulate(hex(c))), String(tcId)).toBe(result === 'valid' ? K : undefined);
    }
  });

  test('refuses the keys that Wycheproof calls none', () => {
    const counts = { valid: 0, invalid: 0, acceptable: 0 };
    for (const { ek, result, tcId } of wycheproof<EncapsulationVector>('mlkem_768_encaps_test.json.gz')) {
      counts[result]++;
      expect(kem.encapsulate(hex(ek)) !== undefined, String(tcId)).toBe(result === 'valid');
    }
    expect(counts).toEqual({ valid: 133, invalid: 132, acceptable: 0 });
  });

  test('opens what it has closed, each time another secret, and nothing once the key is wiped', () => {
    const key = kem.generate();
    const [one, other] = [kem.encapsulate(key.publicKey)!, kem.encapsulate(key.publicKey)!];
    expect(text(key.decapsulate(one.ciphertext))).toBe(text(one.secret));
    expect(text(key.decapsulate(other.ciphertext))).toBe(text(other.secret));
    expect(text(one.secret)).not.toBe(text(other.secret));
    const changed = Buffer.from(one.ciphertext);
    changed[7]! ^= 1;
    expect(text(key.decapsulate(changed))).not.toBe(text(one.secret));
    key.wipe();
    expect(key.decapsulate(one.ciphertext)).toBeUndefined();
  });

  test('takes keys and ciphertexts of the other', () => {
    const key = kem.generate();
    const made = nobleMlKem.encapsulate(key.publicKey)!;
    expect(text(key.decapsulate(made.ciphertext))).toBe(text(made.secret));
    const other = nobleMlKem.generate();
    const back = kem.encapsulate(other.publicKey)!;
    expect(text(other.decapsulate(back.ciphertext))).toBe(text(back.secret));
  });
});

describe('@noble/post-quantum, with what our port does not ask for', () => {
  it('makes the ciphertexts of ACVP and Wycheproof', () => {
    const encapsulations = acvp('ml-kem-768-encap-decap.txt.gz').filter(({ Entropy }) => Entropy);
    expect(encapsulations).toHaveLength(25);
    for (const { EncodedPublicKey, Entropy, Ciphertext, Output } of encapsulations) {
      const { cipherText, sharedSecret } = ml_kem768.encapsulate(EncodedPublicKey!, Entropy!);
      expect([text(cipherText), text(sharedSecret)]).toEqual([text(Ciphertext), text(Output)]);
    }
    for (const { ek, m, c, K, result } of wycheproof<EncapsulationVector>('mlkem_768_encaps_test.json.gz')) {
      if (result !== 'valid') continue;
      const { cipherText, sharedSecret } = ml_kem768.encapsulate(hex(ek), hex(m));
      expect([text(cipherText), text(sharedSecret)]).toEqual([c, K]);
    }
  });

  it('has the secrets of ACVP, of changed ciphertexts too', () => {
    const decapsulations = acvp('ml-kem-768-encap-decap.txt.gz').filter(({ Input }) => Input);
    expect(decapsulations).toHaveLength(10);
    for (const { EncodedPrivateKey, Input, Output } of decapsulations)
      expect(text(ml_kem768.decapsulate(Input!, EncodedPrivateKey!))).toBe(text(Output));
  });

  it('refuses the private keys that Wycheproof calls none', () => {
    for (const { dk, c, K, result, tcId } of wycheproof<ExpandedKeyVector>(
      'mlkem_768_semi_expanded_decaps_test.json.gz',
    )) {
      const open = () => text(ml_kem768.decapsulate(hex(c), hex(dk)));
      if (result === 'valid') expect(open(), String(tcId)).toBe(K);
      else expect(open, String(tcId)).toThrow();
    }
  });
});

it('is done by Node itself where that can do it', async () => {
  const kem = await loadMlKem();
  expect(kem.name).toBe(native ? 'node:crypto' : '@noble/post-quantum');
  expect(kem.generate().publicKey).toHaveLength(PUBLIC_KEY_BYTES);
});
