/** A file of pcapng out of what several nodes send as they capture: bounded in bytes and in time. */
import type { Clock } from '../clock.ts';
import { errorMessage } from '../errors.ts';
import type { UnreachableNode } from '../readmodel/reports.ts';
import { MAX_WAITING_BYTES, Merger } from './merge.ts';
import { BLOCK, sectionBlock } from './pcapng.ts';
import type { CaptureStream } from './source.ts';

/** After the time that is asked for, until nodes have sent what they still have. */
const GRACE_MS = 2000;
const LOOK_MS = 100;

export interface MergeInput {
  readonly name: string;
  readonly stream: CaptureStream;
}

export interface MergeOptions {
  readonly clock: Clock;
  readonly application: string;
  readonly seconds: number;
  readonly bytes: number;
  /** Whether interfaces are named after their nodes as well. */
  readonly namesNodes: boolean;
  /** Aborted by whoever reads: at once. */
  readonly signal: AbortSignal;
  /** Told of nodes whose part is not complete. */
  readonly missing: UnreachableNode[];
  /** The time is up: those that can are to end by themselves. */
  readonly onTime: () => void;
  /** Nothing more is taken of anybody. */
  readonly onEnd: () => void;
}

export async function* mergedStream(
  inputs: readonly MergeInput[],
  options: MergeOptions,
): AsyncGenerator<Uint8Array> {
  const [only] = inputs;
  if (only && inputs.length === 1 && !options.namesNodes) {
    yield* passedOn(only, options);
    return;
  }
  const { clock, application, bytes, signal } = options;
  const prefixes = inputs.map(({ name }) => (options.namesNodes ? `${name}:` : ''));
  const merger = new Merger(prefixes, clock.now());
  const limitMs = clock.now() + options.seconds * 1000;
  let isClosed = false;
  let isOnTime = false;
  const isOver = () => isClosed || signal.aborted;
  // The kernel's queues are where packets wait, and are lost, if whoever reads this is too slow.
  const hasRoom = () => merger.waitingBytes < 2 * MAX_WAITING_BYTES || isOver();
  const pumps = inputs.map((input, index) => pump(input, index));

  async function pump({ name, stream }: MergeInput, index: number): Promise<void> {
    try {
      for await (const part of stream) {
        if (!isOver()) merger.add(index, part, clock.now());
        while (!hasRoom()) await pause(clock);
      }
    } catch (error) {
      options.missing.push({ node: name, reason: errorMessage(error) });
    }
    merger.end(index);
  }

  try {
    const head = sectionBlock(application);
    let written = head.length;
    yield head;
    while (!merger.hasEnded && written < bytes && !isOver() && clock.now() < limitMs + GRACE_MS) {
      await pause(clock);
      if (!isOnTime && clock.now() >= limitMs) {
        isOnTime = true;
        options.onTime();
      }
      const chunk = merger.take(clock.now());
      if (chunk.length === 0) continue;
      written += chunk.length;
      yield chunk;
    }
    if (written < bytes && !isOver()) yield merger.take(Number.MAX_SAFE_INTEGER);
    yield merger.tail();
  } finally {
    isClosed = true;
    options.onEnd();
    await Promise.all(pumps);
  }
}

/** One node's, as it comes: its blocks are in order, and its interfaces have their numbers. */
async function* passedOn({ name, stream }: MergeInput, options: MergeOptions): AsyncGenerator<Uint8Array> {
  const { clock, application, seconds, bytes, signal, missing, onTime, onEnd } = options;
  const timer = clock.after(seconds * 1000, onTime);
  signal.addEventListener('abort', onEnd, { once: true });
  try {
    const head = sectionBlock(application);
    let written = head.length;
    yield head;
    for await (const { blocks } of stream) {
      if (signal.aborted) break;
      // Over the limit there is the end of it left, which says what was lost.
      if (blocks.length === 0 || (written >= bytes && !isStatistics(blocks))) continue;
      written += blocks.length;
      if (written >= bytes) onTime();
      yield blocks;
    }
  } catch (error) {
    missing.push({ node: name, reason: errorMessage(error) });
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onEnd);
    onEnd();
  }
}

function isStatistics(blocks: Uint8Array): boolean {
  return blocks.length >= 4 && blocks[0] === BLOCK.statistics && blocks[1] === 0;
}

function pause(clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    clock.after(LOOK_MS, resolve);
  });
}
