/**
 * Sealing and opening of data, as the packet path needs it: ChaCha20-Poly1305 with a counter as its nonce and nothing
 * associated, between places in memory, without an object per datagram.
 *
 * A Sealer or Opener holds one key for one thread, in memory that is not JavaScript's; whoever made it destroys it.
 */
import type { Arena } from '../../sys/arena.ts';

export interface AeadEngine {
  /** As `warren status` shows it. */
  readonly name: string;
  /** `source` is what is read, `output` what is written; both may be the same. The key is copied. */
  sealer(key: Uint8Array, source: Arena, output: Arena): Sealer;
  opener(key: Uint8Array, memory: Arena): Opener;
}

export interface Sealer {
  /**
   * Seals `headBytes` at `head`, `tailBytes` at `tail` and `padding` zeros, at most 15, as one piece to `to`, and puts its tag
   * behind it. `to` may be `head` itself, but must not lie within what is yet to be read. False: OpenSSL could not, and what
   * is at `to` must not leave.
   */
  seal(
    counter: number,
    head: number,
    headBytes: number,
    tail: number,
    tailBytes: number,
    padding: number,
    to: number,
  ): boolean;
  destroy(): void;
}

export interface Opener {
  /**
   * Opens `bytes`, tag included, at `at` in place. False: it was not sealed so, and what is there now means nothing.
   */
  open(counter: number, at: number, bytes: number): boolean;
  destroy(): void;
}

/** `0000`, then the counter: a nonce of WireGuard. */
export const COUNTER_NONCE_BYTES = 12;

const WORD_SPAN = 0x1_0000_0000;

export function writeNonce(view: DataView, at: number, counter: number): void {
  view.setUint32(at, 0, true);
  view.setUint32(at + 4, counter >>> 0, true);
  view.setUint32(at + 8, Math.floor(counter / WORD_SPAN), true);
}
