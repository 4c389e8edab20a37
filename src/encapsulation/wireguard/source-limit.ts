/**
 * How many handshake messages one source may send while this node is under load. A source is an IPv4 address, or an IPv6
 * network of 64 bits, since whoever has one address of it has all.
 */
import { RateLimit } from '../../rate-limit.ts';

export const MESSAGES_PER_SECOND = 20;
export const BURST_MESSAGES = 5;
/** Some 150 bytes each. */
const MAX_SOURCES = 16_384;
const IPV4_BYTES = 4;
const IPV6_NETWORK_BYTES = 8;
const PORT_BYTES = 2;

export class SourceLimit {
  readonly #limit = new RateLimit({
    perSecond: MESSAGES_PER_SECOND,
    burst: BURST_MESSAGES,
    maxKeys: MAX_SOURCES,
  });

  /** `source`: address and port, as bytes. */
  takes(source: Uint8Array, nowMs: number): boolean {
    return this.#limit.take(keyOf(source), nowMs);
  }

  get size(): number {
    return this.#limit.size;
  }
}

function keyOf(source: Uint8Array): string {
  const addressBytes = source.length - PORT_BYTES;
  return Buffer.from(source)
    .subarray(0, addressBytes === IPV4_BYTES ? IPV4_BYTES : IPV6_NETWORK_BYTES)
    .toString('latin1');
}
