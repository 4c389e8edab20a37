/**
 * ML-KEM-768 (FIPS 203) by whatever this Node has: node:crypto since 24.7, @noble/post-quantum before. Both take each
 * other's keys and ciphertexts. What is not asked for is not loaded.
 */

export const PUBLIC_KEY_BYTES = 1184;
export const CIPHERTEXT_BYTES = 1088;
/** What a key pair is made of: d and z. */
export const SEED_BYTES = 64;

/** One key pair. Its secret half does not leave it. */
export interface MlKemKey {
  readonly publicKey: Uint8Array;
  /**
   * The secret that `ciphertext` was made with. Where it was made for another key, or changed, another one that nobody has:
   * ML-KEM does not say which. Undefined: it has not the length of one.
   */
  decapsulate(ciphertext: Uint8Array): Uint8Array | undefined;
  /** Overwrites what is secret, as far as it lies in our memory; nothing is decapsulated any more. */
  wipe(): void;
}

export interface MlKem {
  /** Who does it. */
  readonly name: string;
  /** `seed`: other than a random one in tests. */
  generate(seed?: Uint8Array): MlKemKey;
  /** A secret for the owner of the key. Undefined: it is no key. */
  encapsulate(
    publicKey: Uint8Array,
  ): { readonly ciphertext: Uint8Array; readonly secret: Uint8Array } | undefined;
}

export async function loadMlKem(): Promise<MlKem> {
  const { nodeMlKem } = await import('./ml-kem-node.ts');
  const native = nodeMlKem();
  if (native !== undefined) return native;
  const { nobleMlKem } = await import('./ml-kem-noble.ts');
  return nobleMlKem;
}
