/** Answers what others pull: of this node's own inventory, and of those that it has from others. */
import type { ChangeLog } from './change-log.ts';
import { encodePullAnswer, type PullAnswer, type Want } from './pull-messages.ts';
import type { Snapshot } from './snapshot.ts';

/** What this node has of an inventory; undefined: nothing. */
export type Held = { readonly snapshot: Snapshot; readonly log: ChangeLog } | undefined;

/** Wants beyond so many bytes of answers are left unanswered, for the asker to ask again. One answer may go past it. */
export const ANSWER_BYTES = 1024 * 1024;

export function* answerPull(wants: readonly Want[], held: (node: string) => Held): Generator<Uint8Array> {
  let bytes = 0;
  for (const want of wants) {
    if (bytes >= ANSWER_BYTES) return;
    for (const part of encodePullAnswer(answerTo(want, held(want.node)))) {
      bytes += part.length;
      yield part;
    }
  }
}

export function answerTo({ node, have, version }: Want, held: Held): PullAnswer {
  if (!held || held.snapshot.version < version) {
    return { node, kind: 'absent', version: 0, entries: [], deleted: [] };
  }
  const { snapshot, log } = held;
  const difference = have > 0 ? log.between(have, version) : undefined;
  if (difference && difference.set.length + difference.deleted.length <= snapshot.entries.size) {
    const { set, deleted } = difference;
    return { node, kind: 'difference', version: difference.version, entries: set, deleted };
  }
  const entries = [...snapshot.entries.values()];
  return { node, kind: 'whole', version: snapshot.version, entries, deleted: [] };
}
