/**
 * How many handshake messages one source may send while this node is under load: a bucket of tokens each, which fills with
 * time. A source is an IPv4 address, or an IPv6 network of 64 bits, since whoever has one address of it has all.
 */
export const MESSAGES_PER_SECOND = 20;
export const BURST_MESSAGES = 5;
/** Some 150 bytes each. With more sources than that the one that came first loses its bucket, and begins with a full one. */
const MAX_SOURCES = 16_384;
const IPV4_BYTES = 4;
const IPV6_NETWORK_BYTES = 8;
const PORT_BYTES = 2;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class RateLimit {
  readonly #buckets = new Map<string, Bucket>();

  /** `source`: address and port, as bytes. */
  takes(source: Uint8Array, nowMs: number): boolean {
    const key = keyOf(source);
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      this.#makeRoom();
      this.#buckets.set(key, { tokens: BURST_MESSAGES - 1, atMs: nowMs });
      return true;
    }
    const earned = ((nowMs - bucket.atMs) * MESSAGES_PER_SECOND) / 1_000;
    bucket.tokens = Math.min(BURST_MESSAGES, bucket.tokens + earned);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  get size(): number {
    return this.#buckets.size;
  }

  #makeRoom(): void {
    if (this.#buckets.size < MAX_SOURCES) return;
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest);
      return;
    }
  }
}

function keyOf(source: Uint8Array): string {
  const addressBytes = source.length - PORT_BYTES;
  return Buffer.from(source)
    .subarray(0, addressBytes === IPV4_BYTES ? IPV4_BYTES : IPV6_NETWORK_BYTES)
    .toString('latin1');
}
