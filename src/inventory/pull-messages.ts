/** The messages of `inventory.pull` (proto/inventory.proto), every field checked. */

import { ATTACHMENT_TEXT } from '../names.ts';
import {
  bytesField,
  check,
  type Decoded,
  guarded,
  idField,
  integerField,
  listField,
  messageField,
  type Raw,
  rawId,
  textField,
} from '../protobuf/fields.ts';
import { decodeEntry, MAX_ENTRIES, MAX_ENTRY_BYTES, MAX_VERSION, type StoredEntry } from './entry.ts';
import { pullPartType, pullRequestType } from './proto.ts';

/** In one request. */
export const MAX_WANTS = 256;
/** Entries of a part, serialized: a part is closed by the one that passes this. */
const PART_BYTES = 16 * 1024;
const MAX_REQUEST_BYTES = 32 * MAX_WANTS;

export interface Want {
  readonly node: string;
  /** 0: nothing. */
  readonly have: number;
  readonly version: number;
}

const KINDS = { difference: 1, whole: 2, absent: 3 } as const;

/** What one node answers about the inventory of another, or about its own. */
export interface PullAnswer {
  readonly node: string;
  readonly kind: keyof typeof KINDS;
  /** That the asker has when it has applied this; 0 with `absent`. */
  readonly version: number;
  readonly entries: readonly StoredEntry[];
  readonly deleted: readonly string[];
}

export type DecodeEntry = (bytes: Uint8Array) => Decoded<StoredEntry>;

export function encodePullRequest(wants: readonly Want[]): Uint8Array {
  const raw = wants.map(({ node, have, version }) => ({
    node: rawId(node),
    ...(have > 0 && { have }),
    version,
  }));
  return new Uint8Array(pullRequestType.encode({ wants: raw }).finish());
}

export function decodePullRequest(bytes: Uint8Array): Decoded<readonly Want[]> {
  return guarded(() => {
    check(bytes.length <= MAX_REQUEST_BYTES);
    const raw = pullRequestType.decode(bytes) as unknown as Raw;
    return listField(raw.wants, MAX_WANTS).map((item) => {
      const want = messageField(item);
      return {
        node: idField(want.node),
        have: integerField(want.have, 0, MAX_VERSION),
        version: integerField(want.version, 1, MAX_VERSION),
      };
    });
  });
}

/** One or more parts. */
export function* encodePullAnswer(answer: PullAnswer): Generator<Uint8Array> {
  const node = rawId(answer.node);
  let entries: Uint8Array[] = [];
  let deleted: string[] = [];
  let bytes = 0;
  const part = (more: boolean) => {
    const raw = {
      node,
      kind: KINDS[answer.kind],
      ...(answer.version > 0 && { version: answer.version }),
      entries,
      deleted,
      ...(more && { more }),
    };
    entries = [];
    deleted = [];
    bytes = 0;
    return new Uint8Array(pullPartType.encode(raw).finish());
  };
  for (const { bytes: entry } of answer.entries) {
    if (bytes >= PART_BYTES) yield part(true);
    entries.push(entry);
    bytes += entry.length;
  }
  for (const id of answer.deleted) {
    if (bytes >= PART_BYTES) yield part(true);
    deleted.push(id);
    bytes += id.length;
  }
  yield part(false);
}

/** Puts parts together again. Bounded by the answer's bytes, which the caller of the request bounds, and by entries. */
export class PullAnswerReader {
  readonly #decodeEntry: DecodeEntry;
  #open:
    | { node: string; kind: PullAnswer['kind']; version: number; entries: StoredEntry[]; deleted: string[] }
    | undefined;

  constructor(decode: DecodeEntry = decodeEntry) {
    this.#decodeEntry = decode;
  }

  /** `ok` with undefined: there is more to come. What follows something that was refused makes no sense. */
  read(bytes: Uint8Array): Decoded<PullAnswer | undefined> {
    return guarded(() => {
      const raw = pullPartType.decode(bytes) as unknown as Raw;
      const node = idField(raw.node);
      const kind = kindField(raw.kind);
      const version = integerField(raw.version, kind === 'absent' ? 0 : 1, MAX_VERSION);
      const entries = listField(raw.entries, MAX_ENTRIES).map((item) => {
        const decoded = this.#decodeEntry(bytesField(item, 1, MAX_ENTRY_BYTES));
        check(decoded.ok);
        return decoded.value;
      });
      const deleted = listField(raw.deleted, MAX_ENTRIES).map((id) =>
        textField(id, 1, ATTACHMENT_TEXT.maxId),
      );
      this.#open ??= { node, kind, version, entries: [], deleted: [] };
      const answer = this.#open;
      check(answer.node === node && answer.kind === kind && answer.version === version);
      answer.entries.push(...entries);
      answer.deleted.push(...deleted);
      // A difference may name as many that go as there are that come.
      check(answer.entries.length <= MAX_ENTRIES && answer.deleted.length <= 2 * MAX_ENTRIES);
      if (raw.more === true) return undefined;
      this.#open = undefined;
      return answer;
    });
  }
}

function kindField(value: unknown): PullAnswer['kind'] {
  const found = Object.entries(KINDS).find(([, number]) => number === value);
  check(found !== undefined);
  return found[0] as PullAnswer['kind'];
}
