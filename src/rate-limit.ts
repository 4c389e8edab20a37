/**
 * How often somebody may do something: so many at once, and so many per second after that, by a bucket of tokens each. With
 * more of them than are kept, the one that was heard longest ago begins with a full bucket again.
 */

interface Bucket {
  tokens: number;
  sinceMs: number;
}

export class RateLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #maxKeys: number;
  /** The one that was used longest ago comes first; bounded by `maxKeys`. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limits: { readonly perSecond: number; readonly burst: number; readonly maxKeys: number }) {
    this.#perSecond = limits.perSecond;
    this.#burst = limits.burst;
    this.#maxKeys = limits.maxKeys;
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Whether `key` may do it once more now. */
  take(key: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, sinceMs: nowMs };
    bucket.tokens = Math.min(
      this.#burst,
      bucket.tokens + ((nowMs - bucket.sinceMs) / 1000) * this.#perSecond,
    );
    bucket.sinceMs = nowMs;
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#maxKeys) this.#buckets.delete(this.#buckets.keys().next().value!);
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }
}
