/** The messages of `post-quantum.key` and `post-quantum.agree` (proto/post-quantum.proto), every field checked. */
import {
  bytesField,
  check,
  type Decoded,
  guarded,
  integerField,
  type Raw,
  UINT32_MAX,
} from '../protobuf/fields.ts';
import { messageTypeOf } from '../protobuf/message-type.ts';
import { PROOF_BYTES } from './pair-key.ts';
import { CIPHERTEXT_BYTES, KEY_HASH_BYTES, PUBLIC_KEY_BYTES } from './x-wing.ts';

const type = (name: string) => messageTypeOf('post-quantum.proto', `warren.postquantum.v1.${name}`);
const publicKeyType = type('PublicKey');
const agreeType = type('Agree');
const agreedType = type('Agreed');

/** Keys, ciphertexts, and what protobuf puts around them. */
const MAX_MESSAGE_BYTES = 1300;
const OUTCOME = { agreed: 1, outdated: 2, asking: 3 } as const;

export interface Agree {
  readonly keyHash: Uint8Array;
  readonly ciphertext: Uint8Array;
  readonly proof: Uint8Array;
  /** From 1; grows with each call of the asker's run. */
  readonly attempt: number;
}

export type Outcome = keyof typeof OUTCOME;

export function encodePublicKey(key: Uint8Array): Uint8Array {
  return new Uint8Array(publicKeyType.encode({ key }).finish());
}

export function decodePublicKey(bytes: unknown): Decoded<Uint8Array> {
  return guarded(() => {
    const raw = publicKeyType.decode(bytesField(bytes, 1, MAX_MESSAGE_BYTES)) as unknown as Raw;
    return bytesField(raw.key, PUBLIC_KEY_BYTES, PUBLIC_KEY_BYTES);
  });
}

export function encodeAgree(agree: Agree): Uint8Array {
  return new Uint8Array(agreeType.encode({ ...agree }).finish());
}

export function decodeAgree(bytes: unknown): Decoded<Agree> {
  return guarded(() => {
    const raw = agreeType.decode(bytesField(bytes, 1, MAX_MESSAGE_BYTES)) as unknown as Raw;
    return {
      keyHash: bytesField(raw.keyHash, KEY_HASH_BYTES, KEY_HASH_BYTES),
      ciphertext: bytesField(raw.ciphertext, CIPHERTEXT_BYTES, CIPHERTEXT_BYTES),
      proof: bytesField(raw.proof, PROOF_BYTES, PROOF_BYTES),
      attempt: integerField(raw.attempt, 1, UINT32_MAX),
    };
  });
}

export function encodeAgreed(outcome: Outcome): Uint8Array {
  return new Uint8Array(agreedType.encode({ outcome: OUTCOME[outcome] }).finish());
}

export function decodeAgreed(bytes: unknown): Decoded<Outcome> {
  return guarded(() => {
    const raw = agreedType.decode(bytesField(bytes, 1, MAX_MESSAGE_BYTES)) as unknown as Raw;
    const outcome = (Object.keys(OUTCOME) as Outcome[]).find((name) => OUTCOME[name] === raw.outcome);
    check(outcome !== undefined);
    return outcome!;
  });
}
