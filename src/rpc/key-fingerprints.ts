/** The question of `warren key` to other nodes: which of the cluster's keys do you have? Never the keys themselves. */
import pLimit from 'p-limit';
import { WarrenError } from '../errors.ts';
import { FINGERPRINT_BYTES, MAX_KEYS } from '../link/key-ring-state.ts';
import { check, guarded, idBytesField, listField, type Raw, rawId } from '../protobuf/fields.ts';
import { ASKED_AT_ONCE } from './limits.ts';
import { keysType } from './proto.ts';
import type { Rpc } from './rpc.ts';

const METHOD = 'keys';
const MAX_ANSWER_BYTES = 1024;
const EMPTY = new Uint8Array();

export interface KeyFingerprints {
  /** The one that seals. */
  readonly primary: string;
  readonly all: readonly string[];
}

/** Answers for this node; `fingerprints`: the primary first, undefined where the cluster has no key. */
export function serveKeyFingerprints(rpc: Rpc, fingerprints: () => readonly string[] | undefined): void {
  rpc.serve(METHOD, () => {
    const all = fingerprints();
    if (!all) throw new WarrenError('KEY_NONE', 'that node has no cluster key');
    return [keysType.encode({ primary: rawId(all[0]!), fingerprints: all.map(rawId) }).finish()];
  });
}

/** Rejects with what `Rpc.call` rejects with. */
export async function askKeyFingerprints(rpc: Rpc, memberId: string): Promise<KeyFingerprints> {
  const parts = await rpc.call(memberId, METHOD, EMPTY, { maxAnswerBytes: MAX_ANSWER_BYTES });
  const decoded = guarded(() => {
    check(parts.length === 1);
    const raw = keysType.decode(parts[0]!) as unknown as Raw;
    return {
      primary: idBytesField(raw.primary, FINGERPRINT_BYTES),
      all: listField(raw.fingerprints, MAX_KEYS).map((one) => idBytesField(one, FINGERPRINT_BYTES)),
    };
  });
  if (decoded.ok) return decoded.value;
  throw new WarrenError('RPC_REFUSED', "the node's answer makes no sense");
}

export interface NodeKeys extends KeyFingerprints {
  readonly name: string;
}

/** Asks each of these nodes; `silent`: the names of those that gave no answer. */
export async function askAllKeyFingerprints(
  rpc: Rpc,
  nodes: Iterable<{ readonly id: string; readonly name: string }>,
): Promise<{ readonly answers: readonly NodeKeys[]; readonly silent: readonly string[] }> {
  const answers: NodeKeys[] = [];
  const silent: string[] = [];
  await pLimit(ASKED_AT_ONCE).map(nodes, async ({ id, name }) => {
    try {
      answers.push({ name, ...(await askKeyFingerprints(rpc, id)) });
    } catch {
      silent.push(name);
    }
  });
  return { answers, silent };
}
