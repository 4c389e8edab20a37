/** What the two sides of a call sign. A context stands before it, so that a signature means nothing anywhere else. */
import { createHash, type Hash } from 'node:crypto';
import { type CallId, callIdBytes } from './codec.ts';

const CALL_CONTEXT = Buffer.from('warren rpc call 1\n');
const ANSWER_CONTEXT = Buffer.from('warren rpc answer 1\n');

export function signedCallBytes(call: Uint8Array): Uint8Array {
  return Buffer.concat([CALL_CONTEXT, call]);
}

export function bodyHash(body: Uint8Array): Uint8Array {
  return createHash('sha256').update(body).digest();
}

/** SHA-256 over the parts of an answer, each preceded by its length (32 bits, network byte order). */
export class PartsHash {
  readonly #hash: Hash = createHash('sha256');

  add(part: Uint8Array): void {
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(part.length);
    this.#hash.update(length).update(part);
  }

  /** What the server signs with the outcome; once. */
  signedBytes(id: CallId, outcome: Uint8Array): Uint8Array {
    return Buffer.concat([ANSWER_CONTEXT, callIdBytes(id), this.#hash.digest(), outcome]);
  }
}
