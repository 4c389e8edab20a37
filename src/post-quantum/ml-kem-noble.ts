/** ML-KEM-768 by @noble/post-quantum: about 0.4 ms an operation, ten times that while it is new to the process. */
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { CIPHERTEXT_BYTES, type MlKem, PUBLIC_KEY_BYTES } from './ml-kem.ts';

export const nobleMlKem: MlKem = {
  name: '@noble/post-quantum',
  generate: (seed) => {
    const { publicKey, secretKey } = ml_kem768.keygen(seed);
    let isWiped = false;
    return {
      publicKey,
      decapsulate: (ciphertext) =>
        isWiped || ciphertext.length !== CIPHERTEXT_BYTES
          ? undefined
          : ml_kem768.decapsulate(ciphertext, secretKey),
      wipe: () => {
        isWiped = true;
        secretKey.fill(0);
      },
    };
  },
  encapsulate: (publicKey) => {
    if (publicKey.length !== PUBLIC_KEY_BYTES) return undefined;
    try {
      const { cipherText, sharedSecret } = ml_kem768.encapsulate(publicKey);
      return { ciphertext: cipherText, secret: sharedSecret };
    } catch {
      return undefined;
    }
  },
};
