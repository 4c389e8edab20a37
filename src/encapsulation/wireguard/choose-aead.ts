/**
 * Which engine seals and opens: OpenSSL by its own functions where the program exports them and they do what they should,
 * checked against known answers before the first packet; else node:crypto.
 */
import { Arena } from '../../sys/arena.ts';
import { type Evp, findEvp } from '../../sys/evp.ts';
import type { AeadEngine } from './aead.ts';
import { KEY_BYTES, TAG_BYTES } from './constants.ts';
import { NodeAead } from './node-aead.ts';
import { OpensslAead } from './openssl-aead.ts';

export interface ChosenAead {
  readonly engine: AeadEngine;
  /** Why it is the slower one; undefined: it is not. */
  readonly fallback: string | undefined;
}

/** `evp`: other than what this program exports in tests. */
export function chooseAead(evp: Evp | undefined = findEvp()): ChosenAead {
  const node = { engine: new NodeAead() };
  if (evp === undefined) return { ...node, fallback: "this Node does not export OpenSSL's functions" };
  const engine = new OpensslAead(evp);
  if (!givesKnownAnswers(engine))
    return { ...node, fallback: "OpenSSL's functions do not give the known answers" };
  return { engine, fallback: undefined };
}

/** Tags of `at * 7` for each byte, under the key 80 81 .. 9f. A tag is over all that was sealed. */
const KNOWN = [
  { counter: 0, bytes: 0, tag: '3ae5d3f2a376d317eaea5aef0215ba54' },
  { counter: 1, bytes: 1, tag: '57a6fdcc4385acb7f4c42dbf0233fe8d' },
  { counter: 2 ** 32 + 5, bytes: 64, tag: 'f97a0fbad93fcf55f87c807306597968' },
  { counter: 2 ** 52 + 3, bytes: 199, tag: '9760a7726e7c4d4de735eb2651df03e1' },
  { counter: 77, bytes: 1_420, tag: '51ef1b09e9e38850a0e47619370812da' },
] as const;
/** Between the two pieces that are sealed as one, and between what is sealed and where it goes. */
const GAP_BYTES = 100;
const ROOM_BYTES = 2_000;

/** Whether `engine` seals as it should, opens that, and opens nothing else. */
export function givesKnownAnswers(engine: AeadEngine): boolean {
  const memory = new Arena(2 * ROOM_BYTES);
  const key = Uint8Array.from({ length: KEY_BYTES }, (_, at) => 0x80 + at);
  try {
    const sealer = engine.sealer(key, memory, memory);
    const opener = engine.opener(key, memory);
    try {
      return KNOWN.every(({ counter, bytes, tag }) => {
        const head = Math.min(bytes, 60);
        const tail = head + GAP_BYTES;
        for (let at = 0; at < bytes; at++) memory.bytes[at < head ? at : at + GAP_BYTES] = at * 7;
        if (!sealer.seal(counter, 0, head, tail, bytes - head, 0, ROOM_BYTES)) return false;
        const end = ROOM_BYTES + bytes;
        const found = Buffer.from(memory.buffer, end, TAG_BYTES);
        if (found.toString('hex') !== tag) return false;
        const sealed = memory.bytes.slice(ROOM_BYTES, end + TAG_BYTES);
        memory.bytes[end]! ^= 1;
        if (opener.open(counter, ROOM_BYTES, sealed.length)) return false;
        memory.bytes.set(sealed, ROOM_BYTES);
        if (!opener.open(counter, ROOM_BYTES, sealed.length)) return false;
        return memory.bytes.subarray(ROOM_BYTES, end).every((byte, at) => byte === ((at * 7) & 0xff));
      });
    } finally {
      sealer.destroy();
      opener.destroy();
    }
  } catch {
    return false;
  }
}
