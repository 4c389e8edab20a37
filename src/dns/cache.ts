/** Answers of the host's resolvers, for as long as they may be kept, and never longer than an hour. */
import type { UpstreamAnswer } from './upstream-message.ts';

export const CACHE_LIMITS = {
  entries: 4096,
  bytes: 4 * 1024 * 1024,
  seconds: 3600,
  /** Of an answer that there is nothing: what is new is to be found soon. */
  negativeSeconds: 300,
} as const;

interface Cached {
  readonly answer: UpstreamAnswer;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly bytes: number;
}

/** What an entry costs beside its answer, about. */
const ENTRY_BYTES = 200;

export class AnswerCache {
  /** The one that was used longest ago comes first. Bounded by CACHE_LIMITS. */
  readonly #entries = new Map<string, Cached>();
  #bytes = 0;

  get size(): number {
    return this.#entries.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(
    key: string,
    nowMs: number,
  ): { readonly answer: UpstreamAnswer; readonly ageSeconds: number } | undefined {
    const found = this.#entries.get(key);
    if (!found) return undefined;
    this.#delete(key, found);
    if (found.untilMs <= nowMs) return undefined;
    this.#set(key, found);
    return { answer: found.answer, ageSeconds: (nowMs - found.sinceMs) / 1000 };
  }

  add(key: string, answer: UpstreamAnswer, nowMs: number): void {
    const most = answer.isNegative ? CACHE_LIMITS.negativeSeconds : CACHE_LIMITS.seconds;
    const seconds = Math.min(answer.ttlSeconds, most);
    const before = this.#entries.get(key);
    if (before) this.#delete(key, before);
    const bytes = ENTRY_BYTES + 2 * key.length + answer.bytes.length + 8 * answer.ttlOffsets.length;
    // A single one is not to push all others out.
    if (seconds <= 0 || bytes > CACHE_LIMITS.bytes / 16) return;
    this.#set(key, { answer, sinceMs: nowMs, untilMs: nowMs + seconds * 1000, bytes });
    for (const [oldest, cached] of this.#entries) {
      if (this.#entries.size <= CACHE_LIMITS.entries && this.#bytes <= CACHE_LIMITS.bytes) break;
      this.#delete(oldest, cached);
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
  }

  #set(key: string, cached: Cached): void {
    this.#entries.set(key, cached);
    this.#bytes += cached.bytes;
  }

  #delete(key: string, cached: Cached): void {
    this.#entries.delete(key);
    this.#bytes -= cached.bytes;
  }
}
