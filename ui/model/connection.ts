/**
 * Talks with the agent: one stream of changes, and every few seconds the samples since the last. It goes on for ever, and
 * tries again with growing pauses. The token travels in a header, since addresses end up in logs and histories.
 */
import { eventsOf } from '../../src/api/event-stream.ts';
import type { HistoryReport, LinkReport } from '../../src/readmodel/reports.ts';
import type { Action } from './state.ts';

const WATCHED = 'status,peers,inventory,leases,events';
/** Of the counters. */
const INTERVAL_SECONDS = 2;
const LINKS_PAUSE_MS = 10_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
/** The agent says something every 15 s at least. */
const SILENCE_MS = 35_000;
/** Of one event: 10,000 nodes are a few megabytes. */
const MAX_EVENT_BYTES = 64 * 1024 * 1024;

export interface ConnectionOptions {
  readonly dispatch: (action: Action) => void;
  readonly token: () => string | undefined;
  /** The agent does not take it. */
  readonly dropToken: () => void;
  readonly signal: AbortSignal;
}

export async function connect(options: ConnectionOptions): Promise<void> {
  const { dispatch, signal } = options;
  let pauseMs = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      await follow(options, () => {
        pauseMs = FIRST_PAUSE_MS;
      });
    } catch (error) {
      if (error instanceof Refused) {
        if (error.code === 'TOKEN_WRONG' && options.token() !== undefined) {
          options.dropToken();
          continue;
        }
        dispatch({ type: 'refused', why: error.message });
        return;
      }
    }
    if (signal.aborted) return;
    dispatch({ type: 'lost', atMs: Date.now() });
    await pause(pauseMs, signal);
    pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.6);
  }
}

/** The agent answered, and will not say more until something else is asked. */
class Refused extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

async function follow({ dispatch, token, signal }: ConnectionOptions, onLive: () => void): Promise<void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  signal.addEventListener('abort', end);
  let silence = setTimeout(end, SILENCE_MS);
  try {
    const { names } = (await (await ask('session', token(), ending.signal)).json()) as { names: boolean };
    dispatch({ type: 'session', names });
    const query = `watch?topics=${WATCHED}&interval=${INTERVAL_SECONDS}`;
    const response = await ask(query, token(), ending.signal);
    void sample({ dispatch, token, signal: ending.signal });
    // All nodes are asked for it: not for who may not see them, nor for a page that nobody looks at.
    if (names) void askLinks({ dispatch, token, signal: ending.signal });
    let isLive = false;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(end, SILENCE_MS);
    };
    for await (const { event, data } of eventsOf(chunksOf(response.body!, heard), MAX_EVENT_BYTES)) {
      if (!isLive) {
        isLive = true;
        onLive();
        dispatch({ type: 'live' });
      }
      dispatch({ type: 'topic', topic: event, value: JSON.parse(data), atMs: performance.now() });
    }
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', end);
    end();
  }
}

/** Until the stream ends, with which the agent does. */
async function sample(options: Omit<ConnectionOptions, 'dropToken'>): Promise<void> {
  const { dispatch, token, signal } = options;
  let after = 0;
  while (!signal.aborted) {
    try {
      const value = (await (await ask(`history?after=${after}`, token(), signal)).json()) as HistoryReport;
      dispatch({ type: 'history', value, isWhole: after === 0 });
      after = value.sequence;
      await pause(value.intervalSeconds * 1000, signal);
    } catch {
      await pause(LONGEST_PAUSE_MS, signal);
    }
  }
}

async function askLinks({ dispatch, token, signal }: Omit<ConnectionOptions, 'dropToken'>): Promise<void> {
  while (!signal.aborted) {
    try {
      if (!document.hidden) {
        const value = (await (await ask('links', token(), signal)).json()) as readonly LinkReport[];
        dispatch({ type: 'links', value });
      }
    } catch {
      // Without them the map has this node's links.
    }
    await pause(LINKS_PAUSE_MS, signal);
  }
}

async function ask(path: string, token: string | undefined, signal: AbortSignal): Promise<Response> {
  const response = await fetch(`/ui/api/${path}`, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    credentials: 'omit',
    signal,
  });
  if (response.ok) return response;
  const { code = '', message = '' } = (await response.json()) as { code?: string; message?: string };
  if (response.status === 401 || response.status === 403) throw new Refused(code, message);
  throw new Error(message);
}

/** `for await` over a stream itself is not in all browsers. */
async function* chunksOf(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<Uint8Array> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    heard();
    yield value;
  }
}

function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
