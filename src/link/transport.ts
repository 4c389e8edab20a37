/**
 * The port between the protocol and a network. The real one is UDP and TCP (udp-tcp-transport.ts); tests and
 * the simulator have one in memory. It moves frames and knows nothing of what is in them.
 *
 * Callbacks, not promises: the protocol reacts within one turn of the event loop, and a simulated cluster
 * runs without waiting for microtasks.
 */
import type { Endpoint } from '../ip/endpoint.ts';

/** A datagram larger than this may be cut in pieces on the underlay: 1500 less IPv6 and UDP, with some room. */
export const MAX_DATAGRAM_BYTES = 1400;

export interface Transport {
  /** Binds and begins to call `handlers`. Rejects with a WarrenError when the address cannot be bound. */
  open(handlers: TransportHandlers): Promise<void>;
  /** Best effort, at most `MAX_DATAGRAM_BYTES`. The bytes are the transport's from now on. */
  send(to: Endpoint, datagram: Uint8Array): void;
  /**
   * Opens a stream, sends `frames` and hands what comes back to `handler`, whose `closed` is called exactly
   * once, never before `exchange` has returned.
   */
  exchange(
    to: Endpoint,
    frames: readonly Uint8Array[],
    timeoutMs: number,
    handler: ExchangeHandler,
  ): Exchange;
  /** Ends everything; no handler is called afterwards, except `closed` of exchanges under way. */
  close(): Promise<void>;
}

export interface TransportHandlers {
  /** `bytes` are valid during the call only. */
  datagram(from: Endpoint, bytes: Uint8Array): void;
  /** Another node opened a stream. */
  accept(from: Endpoint): InboundExchange;
}

export interface InboundExchange {
  /** Takes the next frame; returns the whole answer when this was the last, undefined to wait for more. */
  frame(bytes: Uint8Array): readonly Uint8Array[] | undefined;
}

export interface ExchangeHandler {
  /** Takes the next frame of the answer; true when it was the last. */
  frame(bytes: Uint8Array): boolean;
  /** The exchange is over: without an error if `frame` returned true. */
  closed(error: Error | undefined): void;
}

export interface Exchange {
  /** Ends the exchange; `closed` is not called. */
  cancel(): void;
}
