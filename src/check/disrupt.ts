/**
 * `warren check --disrupt`: a TCP connection for each pair, held while somebody restarts things, with a byte there and back ten
 * times a second. Each silence is told of as it ends. TCP sends again after growing pauses, so a silence is longer than what
 * caused it, by up to as much again: it is what a program sees.
 */
import type { Socket } from 'node:net';
import type { AgentClient } from '../api/client.ts';
import type { DisruptReport, DisruptResult, Gap } from '../readmodel/check-reports.ts';
import { Dialler } from './dial.ts';
import { PairWatch } from './pair-watch.ts';
import { checkProblems, checkSources, pairNames, type Source } from './pairs.ts';
import { MAX_RESPONDER_SECONDS, type ResponderEndpoint } from './responder-messages.ts';

const INTERVAL_MS = 100;
/** Answers that come later than this leave a gap: some intervals, and a machine that is busy. */
export const LEAST_GAP_MS = 500;
/** After a connection broke off. */
const RETRY_MS = 500;
const MAX_PAIRS = 1000;
/** Of one byte each that nobody has taken. */
const MAX_UNSENT_BYTES = 64;
/** For those that answer to be there before and after. */
const SPARE_SECONDS = 30;

export interface DisruptOptions {
  /** Undefined: until `signal` is aborted, an hour at most. */
  readonly seconds: number | undefined;
  readonly signal: AbortSignal;
  /** All connections are there. */
  readonly onStart: (pairs: number) => void;
  readonly onGap: (pair: readonly [from: string, to: string], gap: Gap) => void;
}

export async function runDisruptCheck(
  client: AgentClient,
  { seconds = MAX_RESPONDER_SECONDS - SPARE_SECONDS, signal, onStart, onGap }: DisruptOptions,
): Promise<DisruptReport> {
  const [status, pods] = await Promise.all([client.status(), client.pods()]);
  const { nodes, unreachable } = await client.respond(
    Math.min(MAX_RESPONDER_SECONDS, seconds + SPARE_SECONDS),
  );
  const node = status.node.name;
  const targets = nodes.flatMap(({ node: toNode, token, endpoints }) =>
    endpoints.map((endpoint) => ({ toNode, token, endpoint })),
  );
  const pairs = checkSources(status, pods).flatMap((source) =>
    targets.map(({ toNode, token, endpoint }) => ({ source, toNode, token, endpoint })),
  );
  const problems = checkProblems(status, pods);
  if (pairs.length > MAX_PAIRS)
    problems.push(`only the first ${MAX_PAIRS} of ${pairs.length} pairs were held`);
  const dialler = new Dialler();
  const sinceMs = performance.now();
  const nowMs = () => performance.now() - sinceMs;
  const held = pairs
    .slice(0, MAX_PAIRS)
    .map(
      (pair) =>
        new HeldPair(dialler, pair, nowMs, (gap) =>
          onGap(pairNames(node, pair.source.name, { toNode: pair.toNode, toPod: pair.endpoint.pod }), gap),
        ),
    );
  try {
    onStart(held.length);
    await over(seconds * 1000, signal);
    const results = held.map((pair) => pair.end());
    const isWhole = problems.length === 0 && unreachable.length === 0;
    return {
      node,
      ok: isWhole && results.every(({ gapCount, broken }) => gapCount === 0 && broken === 0),
      seconds: Math.round(nowMs() / 100) / 10,
      problems,
      unreachable,
      results,
    };
  } finally {
    for (const pair of held) pair.close();
    dialler.close();
  }
}

interface Pair {
  readonly source: Source;
  readonly toNode: string;
  readonly token: string;
  readonly endpoint: ResponderEndpoint;
}

class HeldPair {
  readonly #dialler: Dialler;
  readonly #pair: Pair;
  readonly #nowMs: () => number;
  readonly #watch: PairWatch;
  #socket: Socket | undefined;
  readonly #timer: NodeJS.Timeout;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(dialler: Dialler, pair: Pair, nowMs: () => number, onGap: (gap: Gap) => void) {
    this.#dialler = dialler;
    this.#pair = pair;
    this.#nowMs = nowMs;
    this.#watch = new PairWatch(nowMs(), LEAST_GAP_MS, onGap);
    this.#timer = setInterval(() => this.#send(), INTERVAL_MS);
    void this.#dial();
  }

  end(): DisruptResult {
    const { source, toNode, endpoint } = this.#pair;
    const result = this.#watch.end(this.#nowMs());
    this.close();
    return { from: source.name, toNode, toPod: endpoint.pod, address: endpoint.address, ...result };
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#socket?.destroy();
  }

  #send(): void {
    const socket = this.#socket;
    if (socket?.readyState === 'open' && socket.writableLength < MAX_UNSENT_BYTES) socket.write('x');
  }

  async #dial(): Promise<void> {
    const { source, token, endpoint } = this.#pair;
    try {
      const socket = await this.#dialler.dial(source.netns, endpoint, token, 'echo');
      this.#socket = socket;
      socket.on('data', () => this.#watch.answered(this.#nowMs()));
      socket.on('error', () => {});
      socket.on('close', () => this.#again());
      if (this.#isClosed) socket.destroy();
    } catch {
      // The pod that it was from has gone.
      this.#again();
    }
  }

  #again(): void {
    if (this.#isClosed) return;
    this.#watch.brokeOff();
    this.#retry = setTimeout(() => void this.#dial(), RETRY_MS);
  }
}

/** Resolves after so long, or when `signal` is aborted. */
function over(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    const stop = () => {
      clearTimeout(timer);
      resolve();
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
