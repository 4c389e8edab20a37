/**
 * Captures of this node and of others. Others are asked by `capture.run`, whose answer goes on as long as the capture does.
 * A node lets itself be captured from elsewhere only if its own configuration says so: a node that was broken into could
 * otherwise read what all pods say.
 */
import type { Clock } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { UnreachableNode } from '../readmodel/reports.ts';
import type { Rpc, RpcCaller } from '../rpc/rpc.ts';
import type { CaptureFilter } from './filter.ts';
import { MAX_WAITING_BYTES } from './merge.ts';
import { type MergeInput, mergedStream } from './merged-stream.ts';
import { CAPTURE_METHOD } from './method.ts';
import { type CaptureRequest, type NodeRequest, nodeRequest } from './request.ts';
import { type CapturePart, type CaptureStream, decodePart, encodePart } from './source.ts';

/** In a part of an answer: with what was handed over at once it stays below what one may hold. */
const PART_BYTES = 512 * 1024;
/** A node says something five times a second; longer than that, it is gone. */
const IDLE_MS = 10_000;
const MAX_NODES = 64;

export interface CaptureOptions {
  readonly rpc: Pick<Rpc, 'stream'>;
  readonly clock: Clock;
  readonly nodeName: string;
  readonly application: string;
  /** Requests go under a cluster key, this node's configuration lets others capture here, and that one takes part. */
  readonly mayBeAsked: (nodeId: string) => boolean;
  readonly others: () => Iterable<{ readonly id: string; readonly name: string }>;
  /** Names as addresses. Throws POD_UNKNOWN, MEMBER_UNKNOWN. */
  readonly resolve: (request: CaptureRequest) => CaptureFilter;
  /** This node's own packets, until `signal` is aborted. */
  readonly local: (request: NodeRequest, signal: AbortSignal) => CaptureStream;
  readonly onAsked: (caller: RpcCaller, request: NodeRequest) => void;
}

export interface RunningCapture {
  /** A file of pcapng, piece by piece. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Nodes that are not in it, or not up to the end. */
  readonly missing: readonly UnreachableNode[];
}

export class Captures {
  readonly #options: CaptureOptions;

  constructor(options: CaptureOptions) {
    this.#options = options;
  }

  /** Resolves once this node's capture runs. Ends by its limits, or when `signal` is aborted. */
  async run(request: CaptureRequest, signal: AbortSignal): Promise<RunningCapture> {
    const { application, clock, local, nodeName, resolve } = this.#options;
    const { seconds, bytes, snapBytes } = request;
    const wanted: NodeRequest = { seconds, bytes, snapBytes, filter: resolve(request) };
    const onTime = new AbortController();
    const end = new AbortController();
    const missing: UnreachableNode[] = [];
    const inputs: MergeInput[] = [{ name: nodeName, stream: await started(local(wanted, onTime.signal)) }];
    if (request.all) inputs.push(...this.#askOthers(wanted, end.signal, missing));
    const chunks = mergedStream(inputs, {
      ...{ clock, application, seconds, bytes, namesNodes: request.all, signal, missing },
      onTime: () => onTime.abort(),
      onEnd: () => {
        onTime.abort();
        end.abort();
      },
    });
    return { missing, chunks };
  }

  /** What another node gets. */
  async *answer(body: Uint8Array, caller: RpcCaller, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { clock, local, mayBeAsked, onAsked } = this.#options;
    if (!mayBeAsked(caller.id)) {
      throw new WarrenError(
        'CAPTURE_REFUSED',
        'its configuration does not let this node capture its packets',
        {
          hint: 'Set api.remoteCapture there (it takes a cluster key, and nodes that are approved where that is asked for), or run `warren capture` on that node.',
        },
      );
    }
    const request = parseRequest(body);
    onAsked(caller, request);
    const end = new AbortController();
    const stop = () => end.abort();
    signal.addEventListener('abort', stop, { once: true });
    const timer = clock.after(request.seconds * 1000, stop);
    let bytes = 0;
    try {
      for await (const part of local(request, end.signal)) {
        bytes += part.blocks.length;
        yield* inPieces(part);
        if (bytes >= request.bytes) stop();
      }
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', stop);
      stop();
    }
  }

  #askOthers(wanted: NodeRequest, signal: AbortSignal, missing: UnreachableNode[]): MergeInput[] {
    const { others, rpc } = this.#options;
    const asked = [...others()];
    for (const { name } of asked.slice(MAX_NODES)) {
      missing.push({ node: name, reason: `${MAX_NODES} nodes are captured at once at most` });
    }
    const body = Buffer.from(JSON.stringify(wanted));
    return asked.slice(0, MAX_NODES).map(({ id, name }) => ({
      name,
      stream: askedOf(
        rpc.stream(id, CAPTURE_METHOD, body, {
          timeoutMs: wanted.seconds * 1000 + IDLE_MS,
          idleTimeoutMs: IDLE_MS,
          maxAnswerBytes: 2 * wanted.bytes + MAX_WAITING_BYTES,
        }),
        signal,
      ),
    }));
  }
}

/** The same stream, once it has said something; throws what it ends with before that. */
async function started(stream: CaptureStream): Promise<CaptureStream> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = await iterator.next();
  return (async function* () {
    if (first.done) return;
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => iterator };
  })();
}

/** Ended by this node it simply ends: what was on its way is not waited for. */
async function* askedOf(
  answer: AsyncIterableIterator<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<CapturePart> {
  const stop = () => void answer.return?.();
  signal.addEventListener('abort', stop, { once: true });
  try {
    for await (const part of answer) yield decodePart(part);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function* inPieces({ untilUs, blocks }: CapturePart): Generator<Uint8Array> {
  // Blocks stay whole: a piece that is cut within one would make no sense by itself.
  if (blocks.length <= PART_BYTES) yield encodePart({ untilUs, blocks });
  else {
    let start = 0;
    const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.length);
    for (let at = 0; at < blocks.length; ) {
      at += view.getUint32(at + 4, true);
      if (at - start < PART_BYTES && at < blocks.length) continue;
      const isLast = at >= blocks.length;
      yield encodePart({ untilUs: isLast ? untilUs : 0, blocks: blocks.subarray(start, at) });
      start = at;
    }
  }
}

function parseRequest(body: Uint8Array): NodeRequest {
  try {
    return nodeRequest.parse(JSON.parse(Buffer.from(body).toString('utf8')));
  } catch (cause) {
    throw new WarrenError('BAD_REQUEST', 'it does not understand what is to be captured', {
      hint: 'Its agent may be of another version.',
      cause,
    });
  }
}
