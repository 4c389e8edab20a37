/** Reads what `trace-gc.cjs` makes an agent print: how much each of its threads has allocated. */

export interface ThreadGarbage {
  readonly collections: number;
  /** Bytes that were allocated up to the last collection; rounded by V8 to 0.1 MB a collection. */
  readonly allocatedBytes: number;
}

const BEGIN = /^gc-thread-(\d+)-begin$/;
/** `[pid:0xisolate] 42 ms: Scavenge 6.6 (7.0) -> 5.6 (7.0) MB, ...` */
const COLLECTION = /^\[\d+:(0x[0-9a-f]+)\S* +\d+ ms: .*? ([\d.]+) \([\d.]+\) -> ([\d.]+) \([\d.]+\) MB/;
const FORCED = 'GC in old space requested';

/** By thread number (0 is the main thread), over the whole log. Threads that never said their number are left out. */
export function readGarbage(log: string): Map<number, ThreadGarbage> {
  const lines = log.split('\n');
  const threadOf = new Map<string, number>();
  let speaking: number | undefined;
  for (const line of lines) {
    const begin = BEGIN.exec(line);
    if (begin !== null) speaking = Number(begin[1]);
    const isolate = COLLECTION.exec(line)?.[1];
    // Another thread may collect at this very moment, but not because it was asked to.
    if (speaking === undefined || isolate === undefined || !line.includes(FORCED)) continue;
    threadOf.set(isolate, speaking);
    speaking = undefined;
  }
  const found = new Map<number, { collections: number; allocatedBytes: number; afterMb: number }>();
  for (const line of lines) {
    const match = COLLECTION.exec(line);
    const thread = threadOf.get(match?.[1] ?? '');
    if (match === null || thread === undefined) continue;
    const [beforeMb, afterMb] = [Number(match[2]), Number(match[3])];
    const last = found.get(thread) ?? { collections: 0, allocatedBytes: 0, afterMb: 0 };
    found.set(thread, {
      collections: last.collections + 1,
      allocatedBytes: last.allocatedBytes + (beforeMb - last.afterMb) * 1e6,
      afterMb,
    });
  }
  return found;
}
