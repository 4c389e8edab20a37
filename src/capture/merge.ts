/**
 * Captures of several nodes as one, in the order of their times by each node's own clock. A packet waits until every node
 * has told of all that it had up to then; one that lags behind, or whose clock does, is not waited for.
 */
import { BLOCK, type Block, blocksOf, interfaceBlock, interfaceOf, movedTo, placeOf } from './pcapng.ts';
import type { CapturePart } from './source.ts';

/** A node says something five times a second. */
const LATE_MS = 2000;
const CLOCKS_APART_US = 3_000_000;
/** Waiting packets of all nodes; with more of them nobody is waited for. */
export const MAX_WAITING_BYTES = 2 * 1024 * 1024;
/** A node has three interfaces; another version may have a few more. */
const MAX_INTERFACES = 16;

interface Source {
  /** Before the names of its interfaces. */
  readonly prefix: string;
  /** By its own numbers; MAX_INTERFACES at most. */
  readonly interfaces: number[];
  /** Packets in order; bounded by MAX_WAITING_BYTES in all. */
  waiting: { readonly atUs: number; readonly bytes: Uint8Array }[];
  untilUs: number;
  heardMs: number;
  hasEnded: boolean;
}

export class Merger {
  readonly #sources: Source[];
  /** Goes out with the next packets, before them. */
  #interfaces: Uint8Array[] = [];
  #interfaceCount = 0;
  /** For the end; one for each interface. */
  readonly #statistics = new Map<number, Uint8Array>();
  #waitingBytes = 0;

  /** `prefixes`: of each node, such as `node-a:`. */
  constructor(prefixes: readonly string[], nowMs: number) {
    this.#sources = prefixes.map((prefix) => ({
      ...{ prefix, interfaces: [], waiting: [], untilUs: 0, heardMs: nowMs, hasEnded: false },
    }));
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get hasEnded(): boolean {
    return this.#sources.every(({ hasEnded }) => hasEnded);
  }

  /** What a node told of. Throws CAPTURE_MALFORMED; the node is to be `end`ed then. */
  add(index: number, part: CapturePart, nowMs: number): void {
    const source = this.#sources[index]!;
    source.heardMs = nowMs;
    for (const block of blocksOf(part.blocks)) this.#block(source, block);
    source.untilUs = Math.max(source.untilUs, part.untilUs);
  }

  end(index: number): void {
    this.#sources[index]!.hasEnded = true;
  }

  /** What is in order by now. */
  take(nowMs: number): Uint8Array {
    const untilUs = this.#waitingBytes > MAX_WAITING_BYTES ? Number.MAX_SAFE_INTEGER : this.#settledUs(nowMs);
    const due: { atUs: number; bytes: Uint8Array }[] = [];
    for (const source of this.#sources) {
      let count = 0;
      while (count < source.waiting.length && source.waiting[count]!.atUs <= untilUs) count++;
      due.push(...source.waiting.splice(0, count));
    }
    due.sort((a, b) => a.atUs - b.atUs);
    for (const { bytes } of due) this.#waitingBytes -= bytes.length;
    const heads = this.#interfaces;
    this.#interfaces = [];
    return Buffer.concat([...heads, ...due.map(({ bytes }) => bytes)]);
  }

  /** After the last packet. */
  tail(): Uint8Array {
    return Buffer.concat([...this.#statistics.values()]);
  }

  #block(source: Source, block: Block): void {
    if (block.type === BLOCK.interface) {
      if (source.interfaces.length >= MAX_INTERFACES) return;
      const { name, ...rest } = interfaceOf(block);
      this.#interfaces.push(interfaceBlock({ ...rest, name: `${source.prefix}${name}` }));
      source.interfaces.push(this.#interfaceCount++);
      return;
    }
    if (block.type !== BLOCK.packet && block.type !== BLOCK.statistics) return;
    const { interfaceId, atUs } = placeOf(block);
    const to = source.interfaces[interfaceId];
    if (to === undefined) return;
    const bytes = movedTo(block, to);
    if (block.type === BLOCK.statistics) {
      this.#statistics.set(to, bytes);
      return;
    }
    source.waiting.push({ atUs, bytes });
    this.#waitingBytes += bytes.length;
  }

  /** Up to when no node that is waited for has anything to add. */
  #settledUs(nowMs: number): number {
    const latestUs = Math.max(...this.#sources.map(({ untilUs }) => untilUs));
    const awaited = this.#sources.filter(
      ({ hasEnded, heardMs, untilUs }) =>
        !hasEnded && nowMs - heardMs < LATE_MS && (untilUs === 0 || latestUs - untilUs < CLOCKS_APART_US),
    );
    if (awaited.length === 0) return Number.MAX_SAFE_INTEGER;
    return Math.min(...awaited.map(({ untilUs }) => untilUs));
  }
}
