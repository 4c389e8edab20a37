/**
 * Streams of changes as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html):
 *
 *     id: 17                    the read model's version that the value is of
 *     event: peers              the topic
 *     data: [{"name":...}]      its whole value, as GET /v1/peers gives it
 *
 * First each topic's present value; then a topic's value when it has changed, at most five times a second; and counters
 * anew after each interval, where one is asked for. What a reader is too slow for is left out, never kept: when there is
 * room again it gets the value of then.
 */
import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { type Clock, type Timer, TimerGroup } from '../clock.ts';
import { WarrenError } from '../errors.ts';
import type { ReadModel } from '../readmodel/read-model.ts';
import { COUNTING_TOPICS, type Topic } from '../readmodel/topics.ts';

/** Of the connections of one server, so that streams leave room for questions. */
const MAX_STREAMS = 32;
/** Changes within this time go out together. */
const LEAST_GAP_MS = 200;
/** A comment is sent when nothing else was for so long: a reader knows by it that the agent is there. */
export const KEEP_ALIVE_MS = 15_000;
/** A reader that takes nothing for so long is cut off. */
const STALLED_MS = 60_000;

export interface WatchOptions {
  readonly model: ReadModel;
  readonly clock: Clock;
  readonly onBug: (error: unknown) => void;
  /** Default: MAX_STREAMS. */
  readonly maxStreams?: number;
}

/** The streams of one server. */
export class WatchStreams {
  readonly #options: WatchOptions;
  readonly #open = new Set<WatchStream>();

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /**
   * A stream that will write to `out` once it is started. Throws WATCH_LIMIT, and what making the first values throws.
   * `intervalMs` undefined: counters only with other changes.
   */
  open(topics: readonly Topic[], intervalMs: number | undefined, out: Writable): WatchStream {
    const { maxStreams = MAX_STREAMS } = this.#options;
    if (this.#open.size >= maxStreams) {
      throw new WarrenError('WATCH_LIMIT', `${maxStreams} streams of changes are open already`, {
        hint: 'Close some (`warren status --watch` is one), or ask again now and then.',
      });
    }
    const stream = new WatchStream({ ...this.#options, topics, intervalMs, out });
    this.#open.add(stream);
    out.once('close', () => {
      this.#open.delete(stream);
      stream.stop();
    });
    return stream;
  }

  /** Ends them all; readers see the end of the stream. */
  close(): void {
    for (const stream of this.#open) stream.end();
    this.#open.clear();
  }
}

interface WatchStreamOptions extends WatchOptions {
  readonly topics: readonly Topic[];
  readonly intervalMs: number | undefined;
  readonly out: Writable;
}

export class WatchStream {
  readonly #options: WatchStreamOptions;
  readonly #timers: TimerGroup;
  readonly #counting: readonly Topic[];
  readonly #leastGapMs: number;
  /** What was last sent of each topic, as a hash: values of large clusters are megabytes. */
  readonly #sent = new Map<Topic, string>();
  /** Topics to look at, and whether they go out although they are as they were. */
  readonly #due = new Map<Topic, { readonly isForced: boolean }>();
  /** Of the present values, until they are sent. */
  #first: ReadonlyMap<Topic, string>;
  #firstVersion: number;
  #flushTimer: Timer | undefined;
  #keepAliveTimer: Timer | undefined;
  #stallTimer: Timer | undefined;
  #flushedAtMs = Number.NEGATIVE_INFINITY;
  #isBlocked = false;
  #isStopped = false;
  #unsubscribe: (() => void) | undefined;

  constructor(options: WatchStreamOptions) {
    const { topics, intervalMs, model, clock } = options;
    this.#options = options;
    this.#timers = new TimerGroup(clock);
    this.#counting = topics.filter((topic) => COUNTING_TOPICS.has(topic));
    this.#leastGapMs = Math.min(LEAST_GAP_MS, intervalMs ?? LEAST_GAP_MS);
    this.#firstVersion = model.version;
    this.#first = new Map(topics.map((topic) => [topic, JSON.stringify(model[topic]())]));
  }

  start(): void {
    const { model, topics, intervalMs, out, clock } = this.#options;
    out.on('drain', () => this.#unblock());
    // The reader went while something was on its way to it; `close` follows.
    out.on('error', () => {});
    this.#unsubscribe = model.subscribe(topics, ({ topics: changed }) => this.#note(changed, false));
    for (const [topic, text] of this.#first) {
      if (this.#isBlocked) this.#due.set(topic, { isForced: false });
      else this.#send(topic, text, this.#firstVersion);
    }
    this.#first = new Map();
    this.#flushedAtMs = clock.now();
    if (intervalMs !== undefined && this.#counting.length > 0) this.#repeat(intervalMs);
    this.#armKeepAlive();
  }

  /** Tells the reader that there is no more. */
  end(): void {
    this.stop();
    this.#options.out.end();
  }

  stop(): void {
    this.#isStopped = true;
    this.#unsubscribe?.();
    this.#timers.close();
  }

  #repeat(intervalMs: number): void {
    this.#timers.after(intervalMs, () => {
      this.#repeat(intervalMs);
      this.#note(this.#counting, true);
    });
  }

  #note(topics: readonly Topic[], isForced: boolean): void {
    for (const topic of topics) {
      this.#due.set(topic, { isForced: isForced || this.#due.get(topic)?.isForced === true });
    }
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#isStopped || this.#isBlocked || this.#due.size === 0 || this.#flushTimer) return;
    const waitMs = this.#flushedAtMs + this.#leastGapMs - this.#options.clock.now();
    if (waitMs <= 0) this.#flush();
    else this.#flushTimer = this.#timers.after(waitMs, () => this.#flush());
  }

  #flush(): void {
    const { model, clock, onBug } = this.#options;
    this.#flushTimer = undefined;
    this.#flushedAtMs = clock.now();
    try {
      for (const [topic, { isForced }] of [...this.#due]) {
        if (this.#isBlocked) return;
        this.#due.delete(topic);
        const { version } = model;
        const text = JSON.stringify(model[topic]());
        if (isForced || this.#sent.get(topic) !== hashOf(text)) this.#send(topic, text, version);
      }
    } catch (error) {
      onBug(error);
      this.end();
    }
  }

  #send(topic: Topic, text: string, version: number): void {
    this.#sent.set(topic, hashOf(text));
    this.#write(`id: ${version}\nevent: ${topic}\ndata: ${text}\n\n`);
    this.#armKeepAlive();
  }

  #write(text: string): void {
    if (this.#options.out.write(text)) return;
    this.#isBlocked = true;
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    this.#stallTimer = this.#timers.after(STALLED_MS, () => this.#options.out.destroy());
  }

  #unblock(): void {
    this.#isBlocked = false;
    this.#stallTimer?.cancel();
    this.#flushSoon();
  }

  #armKeepAlive(): void {
    this.#keepAliveTimer?.cancel();
    this.#keepAliveTimer = this.#timers.after(KEEP_ALIVE_MS, () => {
      if (!this.#isBlocked) this.#write(':\n\n');
      this.#armKeepAlive();
    });
  }
}

function hashOf(text: string): string {
  return createHash('sha1').update(text).digest('base64');
}
