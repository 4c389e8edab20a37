/**
 * Questions about names that are not the overlay's go to the host's resolvers: one after the other, UDP first and TCP for
 * what is too long, with a random id and a port of its own for each. Answers are kept (cache.ts), what is asked twice at
 * once is asked once, and no more than so many wait at a time.
 */
import { randomInt } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { AnswerCache } from './cache.ts';
import { RCODE } from './constants.ts';
import type { DnsCounters } from './counters.ts';
import type { Query } from './query.ts';
import { questionKey, readUpstream, type UpstreamAnswer, upstreamQuery } from './upstream-message.ts';

/**
 * Sends `query` to `resolver` and resolves with each answer for which `isAnswer` says so; others are not for us. Rejects
 * where none comes within `timeoutMs`, or the resolver cannot be reached.
 */
export type Exchange = (request: ExchangeRequest) => Promise<Uint8Array>;

export interface ExchangeRequest {
  readonly resolver: string;
  readonly via: 'udp' | 'tcp';
  readonly query: Uint8Array;
  readonly isAnswer: (bytes: Uint8Array) => boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface ForwarderOptions {
  readonly clock: Clock;
  readonly exchange: Exchange;
  /** The host's resolvers as they are now, the first to be asked first. */
  readonly resolvers: () => Promise<readonly string[]>;
  readonly counters: DnsCounters;
}

/** All of them together, and what waits for the same answers. */
const MAX_IN_FLIGHT = 256;
const MAX_WAITING = 1024;
/** A stub resolver gives up after 5 s, and asks again. */
const TOTAL_MS = 4500;
const UDP_TIMEOUT_MS = 1500;
const TCP_TIMEOUT_MS = 2500;
const ROUNDS = 2;
/** A resolver that did not answer is asked last for so long. */
const SHUN_MS = 10_000;
/** A failure is remembered, so that whoever asks over and over does not make us do so (RFC 9520). */
const FAILURE_MS = 1000;
const MAX_FAILURES = 1024;

export interface Forwarded {
  /** Undefined: nobody could be asked, or nobody answered. */
  readonly answer: UpstreamAnswer | undefined;
  readonly ageSeconds: number;
}

const FAILED: Forwarded = { answer: undefined, ageSeconds: 0 };

export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #cache = new AnswerCache();
  /** Bounded by MAX_IN_FLIGHT. */
  readonly #inFlight = new Map<string, Promise<Forwarded>>();
  #waiting = 0;
  /** By resolver: until when it is asked last. Bounded by what the host's file names, and cleared with it. */
  #shunned = new Map<string, number>();
  /** By question: until when it has failed. Bounded by MAX_FAILURES. */
  readonly #failed = new Map<string, number>();
  readonly #abort = new AbortController();

  constructor(options: ForwarderOptions) {
    this.#options = options;
  }

  get cache(): { readonly size: number; readonly bytes: number } {
    return this.#cache;
  }

  /** Never rejects. */
  async ask(query: Query): Promise<Forwarded> {
    const { clock, counters } = this.#options;
    const key = questionKey(query);
    const cached = this.#cache.get(key, clock.now());
    counters.cache[cached ? 'hits' : 'misses']++;
    if (cached) return cached;
    const failedUntil = this.#failed.get(key) ?? Number.NEGATIVE_INFINITY;
    if (clock.now() < failedUntil) return FAILED;
    const same = this.#inFlight.get(key);
    if (
      this.#abort.signal.aborted ||
      this.#waiting >= MAX_WAITING ||
      (!same && this.#inFlight.size >= MAX_IN_FLIGHT)
    ) {
      counters.forwards.refused++;
      return FAILED;
    }
    this.#waiting++;
    const asking = same ?? this.#start(key, query);
    try {
      return await asking;
    } finally {
      this.#waiting--;
    }
  }

  /** What waits gets no answer. */
  close(): void {
    this.#abort.abort();
    this.#cache.clear();
  }

  #start(key: string, query: Query): Promise<Forwarded> {
    const asking = this.#forward(key, query)
      .catch(() => FAILED)
      .finally(() => this.#inFlight.delete(key));
    this.#inFlight.set(key, asking);
    return asking;
  }

  async #forward(key: string, query: Query): Promise<Forwarded> {
    const { clock, resolvers, counters } = this.#options;
    const endMs = clock.now() + TOTAL_MS;
    const known = await resolvers();
    for (const one of this.#shunned.keys()) if (!known.includes(one)) this.#shunned.delete(one);
    let last: UpstreamAnswer | undefined;
    for (let round = 0; round < ROUNDS; round++) {
      for (const resolver of this.#inOrder(known)) {
        const leftMs = endMs - clock.now();
        if (leftMs < 100 || this.#abort.signal.aborted) break;
        const answer = await this.#askOne(resolver, query, leftMs);
        if (!answer) {
          this.#shunned.set(resolver, clock.now() + SHUN_MS);
          continue;
        }
        this.#shunned.delete(resolver);
        last = answer;
        // Another one may know more than that this one cannot tell.
        if (answer.rcode !== RCODE.noError && answer.rcode !== RCODE.nameError) continue;
        counters.forwards.answered++;
        this.#cache.add(key, answer, clock.now());
        return { answer, ageSeconds: 0 };
      }
      // All of them have answered, and none could tell.
      if (last) break;
    }
    counters.forwards.failed++;
    this.#remember(key);
    return { answer: last, ageSeconds: 0 };
  }

  async #askOne(resolver: string, query: Query, leftMs: number): Promise<UpstreamAnswer | undefined> {
    const { counters } = this.#options;
    const sent = upstreamQuery(query, randomInt(0x10000));
    const over = async (via: 'udp' | 'tcp', timeoutMs: number) => {
      counters.forwards[via]++;
      const bytes = await this.#options.exchange({
        ...{ resolver, via, query: sent, timeoutMs, signal: this.#abort.signal },
        isAnswer: (candidate) => readUpstream(candidate, sent) !== undefined,
      });
      return readUpstream(bytes, sent);
    };
    const startMs = this.#options.clock.now();
    try {
      const answer = await over('udp', Math.min(UDP_TIMEOUT_MS, leftMs));
      if (!answer?.isTruncated) return answer;
      const restMs = leftMs - (this.#options.clock.now() - startMs);
      // What came over UDP is still of use: whoever asks sees that there is more.
      return (
        (await over('tcp', Math.max(100, Math.min(TCP_TIMEOUT_MS, restMs))).catch(() => answer)) ?? answer
      );
    } catch {
      return undefined;
    }
  }

  #inOrder(resolvers: readonly string[]): string[] {
    const nowMs = this.#options.clock.now();
    const isShunned = (one: string) => (this.#shunned.get(one) ?? 0) > nowMs;
    return [...resolvers.filter((one) => !isShunned(one)), ...resolvers.filter(isShunned)];
  }

  #remember(key: string): void {
    const nowMs = this.#options.clock.now();
    this.#failed.delete(key);
    this.#failed.set(key, nowMs + FAILURE_MS);
    for (const [oldest, untilMs] of this.#failed) {
      if (this.#failed.size <= MAX_FAILURES && untilMs > nowMs) break;
      this.#failed.delete(oldest);
    }
  }
}
