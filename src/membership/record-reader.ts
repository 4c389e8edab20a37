/**
 * Decodes and verifies records. The same record arrives many times while it is broadcast, so the latest ones are cached,
 * with the result of verifying them once that was asked for.
 */
import type { Decoded } from '../protobuf/fields.ts';
import { decodeRecord, sameSignedRecord, verifyRecord } from './record.ts';
import type { NodeRecord, SignedRecord } from './types.ts';

interface Read {
  readonly decoded: Decoded<NodeRecord>;
  /** The first of equal ones, so that equal records are one object. */
  readonly signed: SignedRecord;
  isVerified: boolean | undefined;
}

export type Verify = (record: NodeRecord, signed: SignedRecord) => boolean;

/** About 1 KB each. */
const DEFAULT_REMEMBERED = 512;

export class RecordReader {
  readonly #remembered = new Map<string, Read>();
  readonly #maxRemembered: number;
  readonly #verify: Verify;

  /** `verify` and a larger memory are for the simulator, whose nodes share one reader. */
  constructor(maxRemembered = DEFAULT_REMEMBERED, verify: Verify = verifyRecord) {
    this.#maxRemembered = maxRemembered;
    this.#verify = verify;
  }

  read(signed: SignedRecord): { readonly decoded: Decoded<NodeRecord>; readonly signed: SignedRecord } {
    return this.#read(signed);
  }

  /** Whether the record's owner signed it. */
  verify(signed: SignedRecord): boolean {
    const read = this.#read(signed);
    if (!read.decoded.ok) return false;
    read.isVerified ??= this.#verify(read.decoded.value, read.signed);
    return read.isVerified;
  }

  #read(signed: SignedRecord): Read {
    const key = Buffer.from(
      signed.signature.buffer,
      signed.signature.byteOffset,
      signed.signature.length,
    ).toString('latin1');
    const known = this.#remembered.get(key);
    if (known && (known.signed === signed || sameSignedRecord(known.signed, signed))) return known;
    const read = { decoded: decodeRecord(signed.bytes), signed, isVerified: undefined };
    this.#remembered.set(key, read);
    if (this.#remembered.size > this.#maxRemembered) {
      // The one that came first: news is forgotten about as fast as it comes.
      for (const first of this.#remembered.keys()) {
        this.#remembered.delete(first);
        break;
      }
    }
    return read;
  }
}
