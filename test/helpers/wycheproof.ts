/** Wycheproof's test vectors (test/vectors/README.md). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

interface Vector {
  readonly tcId: number;
  readonly comment: string;
  readonly result: 'valid' | 'invalid' | 'acceptable';
  readonly flags: readonly string[];
}

export interface AeadVector extends Vector {
  readonly key: string;
  readonly iv: string;
  readonly aad: string;
  readonly msg: string;
  readonly ct: string;
  readonly tag: string;
}

export interface AgreementVector extends Vector {
  readonly public: string;
  readonly private: string;
  readonly shared: string;
}

export interface DecapsulationVector extends Vector {
  readonly seed: string;
  readonly ek: string;
  readonly c: string;
  readonly K: string;
}

export interface EncapsulationVector extends Omit<DecapsulationVector, 'seed'> {
  readonly m: string;
}

export interface ExpandedKeyVector extends Omit<DecapsulationVector, 'seed'> {
  readonly dk: string;
}

/** All vectors of a file, whatever group they are in; `.gz` is taken off. */
export function wycheproof<V extends Vector>(file: string): readonly V[] {
  const url = new URL(`../vectors/wycheproof/${file}`, import.meta.url);
  const bytes = readFileSync(url);
  const text = (file.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
  const { numberOfTests, testGroups } = JSON.parse(text) as {
    readonly numberOfTests: number;
    readonly testGroups: readonly { readonly tests: readonly V[] }[];
  };
  const vectors = testGroups.flatMap(({ tests }) => tests);
  if (vectors.length !== numberOfTests)
    throw new Error(`${file} has ${vectors.length} vectors, not ${numberOfTests}`);
  return vectors;
}

export function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}
